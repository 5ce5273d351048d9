"""Methods that every inference protocol answers: how they are marked, and what is known of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar, cast, overload

import msgspec

__all__ = ("EndpointOptions", "EndpointSpec", "Field", "endpoint", "endpoints_of", "options_of")

F = TypeVar("F", bound=Callable[..., Any])

_MARK: Final = "__salver_endpoint__"


class Field(msgspec.Struct, frozen=True):
    """What a type cannot say: `Annotated[np.ndarray, Field("FP32", (-1, 4))]`.

    `writable=False` hands over received arrays without a copy, to be read only.
    """

    datatype: str | None = None
    shape: tuple[int, ...] | None = None
    name: str | None = None
    content_type: str | None = None
    description: str = ""
    writable: bool = True

    def __post_init__(self) -> None:
        if self.shape is not None:
            msgspec.structs.force_setattr(self, "shape", _sizes(self.shape))
        if self.name is not None and not (isinstance(self.name, str) and self.name):
            raise ValueError(f"name={self.name!r} of a Field is not valid: expected text.")


def _sizes(shape: object) -> tuple[int, ...]:
    right = isinstance(shape, tuple | list) and all(
        type(size) is int and size >= -1 for size in shape
    )
    if not right:
        raise ValueError(
            f"shape={shape!r} of a Field is not valid: expected the sizes as integers, -1 for any: "
            "(-1, 4)."
        )
    return tuple(cast("tuple[int, ...]", shape))


class EndpointOptions(msgspec.Struct, frozen=True):
    """What `@endpoint(...)` was given."""

    name: str = ""
    version: str = ""
    labels: tuple[str, ...] = ()  # of classes, for the classification extension
    platform: str = "salver_python"


class EndpointSpec(msgspec.Struct, frozen=True):
    """One method as a model: the name and version by which the protocols know it."""

    model: str
    method: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.model!r} version {self.version!r}" if self.version else repr(self.model)


@overload
def endpoint(_function: F, /) -> F: ...


@overload
def endpoint(
    _function: None = None,
    /,
    *,
    name: str | None = None,
    version: str = "",
    labels: tuple[str, ...] | list[str] = (),
    platform: str = "salver_python",
) -> Callable[[F], F]: ...


def endpoint(
    _function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    version: str = "",
    labels: tuple[str, ...] | list[str] = (),
    platform: str = "salver_python",
) -> Any:
    """Let a method of a deployment, or a function, answer the Open Inference Protocol, V1 and JSON.

    Its typed arguments are the model's inputs, what it returns are the outputs.

    Args:
        name: of the model. Without it: the deployment's for the first endpoint of a class,
            `deployment.method` for every further one.
        version: any text; models of one name may have several.
        labels: what the classes are called, for clients that ask for a classification.
        platform: what metadata say that the model is made with.
    """
    options = EndpointOptions(
        "" if name is None else _checked("name", name),
        _checked("version", version) if version else "",
        _labels(labels),
        _text("platform", platform),
    )

    def decorate(function: Any) -> Any:
        lost = isinstance(function, staticmethod | classmethod) or hasattr(function, "bind")
        if lost or inspect.isclass(function) or not callable(function):
            raise TypeError(
                f"@endpoint takes a method of a class or a function, got {function!r}. Put it on "
                "the method, below @staticmethod or @classmethod; on a function, below @deployment."
            )
        setattr(function, _MARK, options)
        return function

    return decorate if _function is None else decorate(_function)


def _labels(labels: object) -> tuple[str, ...]:
    if not isinstance(labels, tuple | list):
        raise TypeError(
            f"labels={labels!r} of an endpoint is not valid: expected a list of str, a label for "
            "each class."
        )
    return tuple(_text("labels", label) for label in labels)


def _text(what: str, text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(
            f"{what}={text!r} of an endpoint is not valid: expected a str, "
            f"got {type(text).__name__}."
        )
    return text


def _checked(what: str, given: object) -> str:
    text = _text(what, given)
    if not text.strip(".") or "/" in text or ":" in text or text != text.strip():
        raise ValueError(
            f"{what}={text!r} of an endpoint is not valid: expected text without / or :, and not "
            "of dots alone, as it is part of a URL."
        )
    return text


def options_of(function: object) -> EndpointOptions | None:
    """What a function, or one that it wraps, was marked with; None: it is no endpoint."""
    while function is not None:
        found = getattr(function, _MARK, None)
        if isinstance(found, EndpointOptions):
            return found
        function = getattr(function, "__wrapped__", None)
    return None


def endpoints_of(code: Callable[..., Any], deployment: str) -> tuple[EndpointSpec, ...]:
    """The endpoints of a deployment's class or function, in the order of their definition."""
    if not inspect.isclass(code):
        options = options_of(code)
        if options is None:
            return ()
        return (EndpointSpec(options.name or deployment, "__call__", options.version),)
    found = []
    for at, (method, options) in enumerate(_marked(code)):
        name = options.name or (deployment if at == 0 else f"{deployment}.{method}")
        found.append(EndpointSpec(name, method, options.version))
    return tuple(found)


def _marked(cls: type) -> Iterator[tuple[str, EndpointOptions]]:
    """A class's own before those of its bases; what it overrides counts as it is there."""
    seen = set()
    for kind in cls.__mro__:
        for name in vars(kind):
            if name not in seen:
                seen.add(name)
                options = options_of(getattr(cls, name, None))
                if options is not None:
                    yield name, options
