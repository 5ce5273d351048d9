"""`import ray` and `from ray import serve` mean Salver, in this process and those it starts.

    salver run --like ray program:app
    python -m salver.like.ray script.py [arguments]
    python -m salver.like.ray -m pytest tests/

A finder in front of all others answers `ray` and what is below it, whether Ray is installed or not.
An instance that this process starts has the finder in all its processes (`launch.py`).
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Final

from salver.errors import SalverError, TargetError
from salver.like.refusals import refusal

__all__ = ("install", "main")

# Where the names are.
_OURS: Final = {
    "ray": "salver.like.names",
    "ray.exceptions": "salver.like.exceptions",
    "ray.serve._private": "salver.like.private",
    "ray.serve._private.autoscaling_state": "salver.like.private",
    "ray.serve._private.common": "salver.like.private",
    "ray.serve._private.constants": "salver.like.private",
    "ray.runtime_env": "salver.like.runtime_env",
    "ray.util": "salver.like.node",
    "ray.util.metrics": "salver.serve.metrics",
    "ray.cloudpickle": "cloudpickle",
}
_SERVE: Final = "ray.serve"
_USAGE: Final = "Usage: python -m salver.like.ray (script.py | -m module) [arguments]"


def install() -> None:
    """From now on `ray` is Salver. Again: nothing happens."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    if "ray" in sys.modules:
        raise SalverError(
            "Ray itself has been imported in this process already. Start the program with "
            "`python -m salver.like.ray` or `salver run --like ray`."
        )
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Knows `ray` and everything below it, and refuses by name what is not there."""

    salver_prelude = "salver.like.ray:install"  # for the processes of an instance

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for names that are not Ray's."""
        if fullname != "ray" and not fullname.startswith("ray."):
            return None
        return ModuleSpec(fullname, _Loader(), is_package=True)


class _Loader(Loader):
    """Puts a module of ours in the place of one of Ray's."""

    def exec_module(self, module: ModuleType) -> None:
        """Which the import system has put into `sys.modules` under Ray's name."""
        name = module.__name__
        ours = _home(name)
        try:
            found = import_module(ours)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{ours}.".startswith(f"{error.name}."):
                raise
            raise ImportError(refusal(name)) from None
        if name == "ray":  # what else is asked of it comes by its name, and back to the finder
            public = {key: getattr(found, key) for key in (*found.__all__, "__getattr__")}
            module.__dict__.update(public, __doc__=found.__doc__, __version__=found.RAY_VERSION)
        else:
            sys.modules[name] = found


def _home(name: str) -> str:
    if name not in _OURS and f"{name}.".startswith(f"{_SERVE}."):
        return f"salver.serve{name[len(_SERVE) :]}"
    return _OURS.get(name, f"salver.like.{name.partition('.')[2]}!")


def main(arguments: list[str]) -> None:
    """Run a script or a module as the interpreter would, with `ray` answered by Salver."""
    if arguments[:1] == ["-m"] and len(arguments) > 1:
        _run_module(arguments[1:])
    elif not arguments or arguments[0].startswith("-"):
        sys.exit(_USAGE)
    else:
        _run_script(Path(arguments[0]), arguments)


def _run_module(arguments: list[str]) -> None:
    name = arguments[0]
    install()
    sys.argv = arguments
    sys.path[0] = str(Path.cwd())
    try:
        found = find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(f"{error.name}."):
            raise
        found = None
    if found is None:
        raise TargetError(f"There is no module {name!r}. {_USAGE}")
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _run_script(script: Path, arguments: list[str]) -> None:
    try:
        source = script.read_bytes()
    except OSError as error:
        raise TargetError(f"{script} cannot be read: {error.strerror}. {_USAGE}") from None
    install()
    program = ModuleType("__main__")
    program.__dict__.update(__file__=str(script), __builtins__=__builtins__, __spec__=None)
    sys.modules["__main__"] = program
    sys.argv = arguments
    sys.path[0] = str(script.absolute().parent)
    exec(compile(source, str(script), "exec"), program.__dict__)  # noqa: S102 - the user's own


if __name__ == "__main__":
    try:
        # By its name, so that there is one finder and not one of `__main__` besides.
        import_module("salver.like.ray").main(sys.argv[1:])
    except TargetError as error:
        sys.exit(f"Error: {error}")
