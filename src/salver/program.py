"""The words of a program: `@deployment`, `.bind()`, `.options()`, `@ingress`."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol, TypeVar, Unpack, overload

from salver.origin import leads_to
from salver.spec.endpoint import options_of
from salver.spec.given import OptionsDict, merged_options, read_options
from salver.spec.ids import name_fault
from salver.spec.logging import LoggingConfig
from salver.spec.options import DeploymentOptions

__all__ = (
    "INGRESS_MARK",
    "Application",
    "Deployment",
    "answers_http",
    "deployment",
    "ingress",
    "page_of",
)

C = TypeVar("C", bound=type)

# What is looked for on a deployment, in old programs or by mistake, and where it is.
_INSTEAD: Final = {
    "deploy": " Run an app of it: `salver.run({0}.bind(...))`.",
    "delete": " Apps are deleted, by name: `salver.delete(name)`.",
    "get_handle": " `salver.run({0}.bind(...))` returns the handle.",
    "remote": " A handle has it: `salver.run({0}.bind(...)).remote(...)`.",
    "set_options": " `{0}.options(...)` returns a copy that has them.",
    "route_prefix": " An app has one: `salver.run({0}.bind(...), route_prefix=...)`.",
    "url": " An app has one: `salver.run({0}.bind(...), route_prefix=...)`.",
}


class Application:
    """A deployment with its arguments: what `run` takes. Made by `Deployment.bind`."""

    __slots__ = ("__weakref__", "args", "deployment", "kwargs")

    def __init__(
        self, deployment: Deployment, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.deployment = deployment
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        return f"Application(of={self.deployment.name})"


class Deployment:
    """A class or function with options. Made by `@deployment`; changes nothing, only copies."""

    __slots__ = ("_given", "func_or_class", "name", "named_by", "settings")

    func_or_class: Callable[..., Any]
    name: str
    named_by: object | None  # who chose the name on purpose; None: it is the code's own
    settings: DeploymentOptions
    _given: dict[str, Any]

    def __init__(self, *args: object, **_kwargs: object) -> None:
        # `class Name(base)` with a deployment for a base calls this with its name and bases.
        bases = args[1] if len(args) == 3 and isinstance(args[1], tuple) else ()
        for base in bases:
            if isinstance(base, Deployment):
                raise RuntimeError(
                    f"Class {args[0]} cannot inherit from the deployment {base.name}. Inherit from "
                    f"the class in it, `{base.name}.func_or_class`, and decorate that."
                )
        raise RuntimeError(
            "A Deployment is not made by its constructor. Decorate a class or a function with "
            "@deployment instead."
        )

    def __call__(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise RuntimeError(
            f"Deployment {self.name} cannot be called or constructed here: its replicas do that. "
            f"Make an app with `{self.name}.bind(...)`, run it with `salver.run(app)` and call "
            f"the handle; for the plain class or function use `{self.name}.func_or_class`."
        )

    def bind(self, *args: Any, **kwargs: Any) -> Application:
        """An app whose replicas are constructed with these arguments.

        Apps anywhere in the arguments are handles once the replica runs.
        """
        if (args or kwargs) and not inspect.isclass(self.func_or_class):
            raise ValueError(
                f"Deployment {self.name} is a function, and a function takes its arguments when it "
                f"is called. Use `{self.name}.bind()`, or make it a class with a constructor."
            )
        for value in (*args, *kwargs.values()):
            _refuse_unbound(self, value)
        return Application(self, args, kwargs)

    def options(
        self, func_or_class: Callable[..., Any] | None = None, **options: Unpack[OptionsDict]
    ) -> Deployment:
        """A copy with these options; what is not named stays as it is."""
        return _make(
            func_or_class or self.func_or_class,
            dict(options),
            given=self._given,
            name=self.name,
            named_by=self.named_by,
        )

    def set_logging_config(self, config: LoggingConfig | dict[str, Any] | None) -> None:
        """Its apps log like this from now on. (Nothing else changes a deployment in place.)"""
        self._given = {**self._given, **read_options({"logging_config": config})}
        self.settings = DeploymentOptions(**self._given)

    def __getattr__(self, option: str) -> Any:
        """`deployment.num_replicas` and every other option."""
        if option in DeploymentOptions.__struct_fields__:
            return getattr(self.settings, option)
        instead = _INSTEAD.get(option, "").format(self.name)
        raise AttributeError(f"Deployment {self.name} has no attribute {option!r}.{instead}")

    @property
    def version(self) -> None:
        """Made by Salver for every run."""
        return

    @property
    def init_args(self) -> tuple[Any, ...]:
        """None: arguments belong to an app (`app.args`), of which there may be several."""
        return ()

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """None, for the same reason (`app.kwargs`)."""
        return {}

    @property
    def ray_actor_options(self) -> dict[str, Any]:
        """What a replica's process asks for, as Ray Serve spells it."""
        names = ("num_cpus", "num_gpus", "memory", "resources", "accelerator_type",
                 "label_selector", "fallback_strategy")  # fmt: skip
        asked = {name: getattr(self.settings, name) for name in names}
        environment = ("env_vars", "working_dir", "py_modules", "pip")
        wanted = {name: getattr(self.settings, name) for name in environment}
        asked["runtime_env"] = {name: value for name, value in wanted.items() if value}
        return {name: value for name, value in asked.items() if value}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Deployment):
            return NotImplemented
        return self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash((self.name, self.func_or_class))

    def _facts(self) -> tuple[Any, ...]:
        return self.name, self.func_or_class, self.settings

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.func_or_class, self._given, self.name, self.named_by is not None)

    def __repr__(self) -> str:
        return f"Deployment(name={self.name})"


def _refuse_unbound(outer: Deployment, value: Any) -> None:
    """A deployment where its app was meant, which is soon forgotten, and late noticed."""
    inside = value.values() if isinstance(value, dict) else value
    several = isinstance(value, list | tuple | dict)
    for one in inside if several else (value,):
        if isinstance(one, Deployment):
            raise TypeError(
                f"{outer.name}.bind() got the deployment {one.name}: expected an app. Pass "
                f"`{one.name}.bind(...)` for a handle, or `{one.name}.func_or_class` for the code."
            )


def _make(
    code: Callable[..., Any],
    options: dict[str, Any],
    *,
    given: dict[str, Any],
    name: str,
    named_by: object | None,
) -> Deployment:
    chosen = options.pop("name", None)
    if chosen is not None:
        name, named_by = _checked_name(chosen), object()
    made = object.__new__(Deployment)
    made.func_or_class = code
    made.name = name
    made.named_by = named_by
    made._given = merged_options(given, read_options(options))
    made.settings = DeploymentOptions(**made._given)
    return made


def _restore(code: Callable[..., Any], given: dict[str, Any], name: str, named: bool) -> Deployment:
    return _make(code, {}, given=given, name=name, named_by=object() if named else None)


def _checked_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"name={name!r} is not valid: expected a str, got {type(name).__name__}.")
    if fault := name_fault(name, "#/"):
        raise ValueError(f"name={name!r} is not valid: {fault}")
    return name


@overload
def deployment(_func_or_class: Callable[..., Any], /) -> Deployment: ...


@overload
def deployment(
    _func_or_class: None = None, /, **options: Unpack[OptionsDict]
) -> Callable[[Callable[..., Any]], Deployment]: ...


def deployment(
    _func_or_class: Callable[..., Any] | None = None, /, **options: Unpack[OptionsDict]
) -> Deployment | Callable[[Callable[..., Any]], Deployment]:
    """Make a deployment of a class or a function: bare, or with options by name."""

    def decorate(code: Callable[..., Any]) -> Deployment:
        if isinstance(code, Deployment):
            raise TypeError(
                f"{code.name} is a deployment already. Use `{code.name}.options(...)` for another "
                "with other options."
            )
        if not callable(code) or not hasattr(code, "__name__"):
            raise TypeError(
                f"@deployment takes a class or a function, got {code!r}. "
                "Options are given by name: @deployment(num_replicas=2)."
            )
        return _make(code, dict(options), given={}, name=code.__name__, named_by=None)

    if _func_or_class is not None:
        return decorate(_func_or_class)
    read_options({key: value for key, value in options.items() if key != "name"})
    return decorate


INGRESS_MARK: Final = "__salver_asgi__"
_BUILDER: Final = "__serve_build_asgi_app__"


class _Decorate(Protocol):
    @overload
    def __call__(self, cls: C, /) -> C: ...

    @overload
    def __call__(self) -> type: ...


class ASGIIngressDeployment:
    """A deployment that is its ASGI app and nothing else. It may be bound to any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs


def ingress(app: Any = None) -> _Decorate:
    """Let a class answer HTTP by an ASGI app: a FastAPI app whose routes are the class's methods,
    any other ASGI app, a function that builds one in the replica, or (None) the class's own
    `__serve_build_asgi_app__`. Where the app is all there is: `deployment(ingress(app)())`."""

    def decorate(cls: Any = None) -> Any:
        if cls is None:  # one of its own for each app, which belongs to whoever asks for it
            module = sys._getframe(1).f_globals["__name__"]
            bare = ASGIIngressDeployment
            cls = type(bare.__name__, (bare,), {"__module__": module})
        if isinstance(cls, Deployment):
            raise ValueError(
                f"@ingress got the deployment {cls.name}: put @deployment above @ingress."
            )
        if not inspect.isclass(cls):
            raise ValueError(
                f"@ingress takes a class, got {cls!r}. Put a function's route on the FastAPI app "
                "and decorate a class, or deploy the function without @ingress."
            )
        if "__call__" in vars(cls):
            raise ValueError(
                f"{cls.__name__} has both @ingress and __call__: the ASGI app answers requests. "
                "Make __call__ a route of the app, or leave out @ingress."
            )
        if app is None and not hasattr(cls, _BUILDER):
            raise ValueError(
                f"@ingress() without an app needs {cls.__name__} to define {_BUILDER}(self), "
                "which returns an ASGI app."
            )
        if app is not None and not callable(app):
            raise TypeError(
                f"@ingress({app!r}): expected an ASGI app or a function that returns one."
            )
        return _with_app(cls, app)

    return decorate


def _with_app(cls: type, app: Any) -> type:
    """The class itself while it is being defined; of one that others know already, a subclass.

    Other processes know it by its import path, too, and would find it without the app.
    """
    if not _is_known(cls):
        setattr(cls, INGRESS_MARK, app)
        return cls
    named = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    return types.new_class(
        cls.__name__, (cls,), exec_body=lambda body: body.update(named, **{INGRESS_MARK: app})
    )


def _is_known(cls: type) -> bool:
    """Whether its name leads to it, in a module whose own code has run to its end."""
    module = sys.modules.get(cls.__module__)
    spec = getattr(module, "__spec__", None)
    if spec is None or getattr(spec, "_initializing", False):
        return False
    return leads_to(cls.__module__, cls.__qualname__, cls)


def answers_http(code: Any) -> bool:
    """Whether it is a function or a class with `__call__` or an ASGI app, not endpoints alone."""
    if hasattr(code, INGRESS_MARK):
        return True
    if not inspect.isclass(code):
        return options_of(code) is None
    calls = any("__call__" in vars(kind) for kind in code.__mro__)
    return calls and options_of(code.__call__) is None


def page_of(code: Any) -> str:
    """Where a FastAPI app without a page at `/` shows its routes; empty: `/` is as good."""
    app: Any = getattr(code, INGRESS_MARK, None)
    docs = getattr(app, "docs_url", None)
    if not isinstance(docs, str):
        return ""
    # What has no methods, as a mounted app, may answer anything.
    first = (route for route in app.routes if getattr(route, "path", "") in ("", "/"))
    return "" if any("GET" in (getattr(r, "methods", None) or ("GET",)) for r in first) else docs
