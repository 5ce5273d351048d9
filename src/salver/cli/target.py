"""From `module:name` to an app. Every way in which that can fail has a message of its own."""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from salver.api import session
from salver.build import build
from salver.cli.arguments import as_asked_for
from salver.cli.run import look_first_in
from salver.errors import TargetError
from salver.program import Application, Deployment
from salver.spec.app import AppSpec

__all__ = ("load", "load_spec")


def load_spec(
    target: str,
    args: Mapping[str, Any],
    app_dir: str,
    name: str = "default",
    route_prefix: str | None = "/",
) -> AppSpec:
    """What is to run. SalverError says what is wrong with the target or with the app."""
    app = load(target, args, app_dir)
    try:
        return session.ran(app, name, route_prefix) or build(app, name, route_prefix)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise TargetError(str(error)) from error


def load(target: str, args: Mapping[str, Any], app_dir: str) -> Application:
    """Import what the target names and make an app of it. TargetError says what is wrong."""
    module_name, attribute = _split(target)
    look_first_in(app_dir)
    with session.building():
        module = _import(module_name, app_dir)
        found = _find(module, attribute, target)
        return _as_app(found, target, args)


def _split(target: str) -> tuple[str, str]:
    module, colon, attribute = target.partition(":")
    odd = module.startswith(".") or module.endswith(".py") or "/" in module
    if colon and module and attribute and not odd:
        return module, attribute
    if Path(target).exists() and not module.endswith(".py"):
        raise TargetError(
            f"{target!r} is a file or a folder: expected 'module:name', such as 'hello:app' (or, "
            "of run and check, a configuration file that ends in .yaml, .yml or .json)."
        )
    stem = Path(module).stem if module.endswith(".py") else module.strip("/.").replace("/", ".")
    package, dot, name = stem.rpartition(".")
    other = f" or '{package}:{name}'" if dot and not colon else ""
    raise TargetError(
        f"{target!r} does not name an app: expected 'module:name', for example "
        f"'{stem or 'hello'}:{attribute or 'app'}'{other}."
    )


def _import(name: str, app_dir: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise TargetError(_no_module(name, error.name, app_dir)) from None
        raise _import_failed(name, error) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's module may raise anything
        raise _import_failed(name, error) from None


def _no_module(name: str, missing: str, app_dir: str) -> str:
    directory = Path(app_dir).absolute()
    parent = directory.joinpath(*missing.split(".")[:-1])
    stems = {p.stem for p in parent.glob("*.py")} | {p.parent.name for p in parent.glob("*/*.py")}
    near = get_close_matches(missing.split(".")[-1], stems, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    part = "" if missing == name else f" (there is no {missing!r})"
    return (
        f"No module named {name!r}{part} in {directory} or elsewhere on the path.{hint} "
        "Use --app-dir to say where it is."
    )


def _import_failed(name: str, error: BaseException) -> TargetError:
    return TargetError(f"Importing {name!r} failed:\n{_seen(error)}")


def _seen(error: BaseException) -> str:
    return user_traceback(error) + _like(error)


def _like(error: BaseException) -> str:
    """What helps a program that is written for another system, which is not installed."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if (missing or "").partition(".")[0] != "ray":
        return ""
    return "\nSalver answers for Ray with --like ray, as in `salver run --like ray program:app`."


def user_traceback(error: BaseException) -> str:
    """The traceback without the frames of Salver and of the import system."""
    ours = (
        str(Path(__file__).parents[1]),
        str(Path(importlib.__file__).parent),
        "<frozen importlib",
    )
    summary = traceback.TracebackException.from_exception(error)
    frames = [frame for frame in summary.stack if not frame.filename.startswith(ours)]
    summary.stack = traceback.StackSummary.from_list(frames)
    return "".join(summary.format()).rstrip()


def _find(module: ModuleType, attribute: str, target: str) -> Any:
    found: Any = module
    place, mark = target.partition(":")[0], ":"
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise TargetError(_no_attribute(found, part, place, mark))
        found = getattr(found, part)
        place, mark = f"{place}{mark}{part}", "."
    return found


def _no_attribute(holder: Any, part: str, place: str, mark: str) -> str:
    names = [name for name in dir(holder) if not name.startswith("_")]
    apps = [name for name in names if isinstance(getattr(holder, name, None), Application)]
    own = [name for name in names if not isinstance(getattr(holder, name, None), ModuleType)]
    near = get_close_matches(part, own, 1) or apps[:1]
    hint = ""
    if near:
        hint = f" Did you mean '{place}{mark}{near[0]}'?"
    elif isinstance(holder, ModuleType):
        hint = " There is no app in it: make one with `app = SomeDeployment.bind()`."
    return f"{place!r} has no {part!r}.{hint}"


def _as_app(found: Any, target: str, args: Mapping[str, Any]) -> Application:
    if isinstance(found, Application):
        if args:
            raise TargetError(
                f"{target!r} is an app, which takes no arguments; got {', '.join(args)}. "
                "Name a function that takes them and returns an app."
            )
        return found
    if isinstance(found, Deployment):
        raise TargetError(
            f"{target!r} is a deployment, not an app. Add `app = {found.name}.bind()` to the "
            f"module and run '{target.partition(':')[0]}:app'."
        )
    if inspect.isfunction(found):
        return _call_builder(found, target, args)
    raise TargetError(
        f"{target!r} is {_article(type(found).__name__)}: expected an app, which "
        "`SomeDeployment.bind()` makes, or a function that returns one."
    )


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _call_builder(builder: Any, target: str, args: Mapping[str, Any]) -> Application:
    try:
        app = builder(*as_asked_for(builder, args, target))
    except TargetError:
        raise
    except Exception as error:  # noqa: BLE001 - the user's function may raise anything
        raise TargetError(f"Building {target!r} failed:\n{_seen(error)}") from None
    if not isinstance(app, Application):
        raise TargetError(
            f"{target!r} returned {app!r}: expected an app, which `SomeDeployment.bind()` makes."
        )
    return app
