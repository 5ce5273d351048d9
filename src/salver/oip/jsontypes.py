"""Which annotations JSON can say: what it cannot is refused before anything is served."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import inspect as types

from salver.oip.codecs.pydantic import json_schema_of, uses_pydantic
from salver.oip.errors import UnservableError

__all__ = ("check_json", "spelled")

_INSTEAD = (
    "Use arrays, numbers, str, bytes, lists and dicts of them, a dataclass, a TypedDict or a model "
    "of pydantic; or Any, and read the value in the method."
)


def check_json(hint: Any, is_held: Callable[[type], bool]) -> None:
    """UnservableError: values of this annotation have no form in JSON; `is_held` says which types
    have one that JSON knows nothing of."""
    if uses_pydantic(hint):
        _check_pydantic(hint)
        return
    try:
        found = types.type_info(hint)
    except NameError as error:
        raise UnservableError(
            f"{error}. Import what its fields name at the top of its module, outside of "
            "TYPE_CHECKING."
        ) from None
    except (TypeError, AttributeError) as error:
        raise UnservableError(f"{str(error).rstrip('.')}. {_INSTEAD}") from None
    for kind in _foreign(found, set()):
        if not is_held(kind):
            raise UnservableError(f"{spelled(kind)} has no form in JSON. {_INSTEAD}")


def _check_pydantic(hint: Any) -> None:
    pydantic = sys.modules["pydantic"]
    try:
        json_schema_of(hint, lambda _: {})
    except pydantic.errors.PydanticInvalidForJsonSchema as error:
        if "IsInstance" in str(error):  # others are read by code of the user's own
            raise UnservableError(
                "it holds what pydantic takes from Python alone, and what is neither an array nor "
                f"an image. {_INSTEAD}"
            ) from None
    except pydantic.errors.PydanticUserError as error:
        raise UnservableError(f"{str(error).splitlines()[0].rstrip('.')}. {_INSTEAD}") from None


def _foreign(found: Any, seen: set[int]) -> Iterator[type]:
    """Every type that msgspec leaves to others, within lists and records too."""
    if isinstance(found, types.CustomType):
        yield found.cls
    elif isinstance(found, tuple):
        for one in found:
            yield from _foreign(one, seen)
    elif isinstance(found, types.Type | types.Field) and id(found) not in seen:
        seen.add(id(found))
        for name in found.__struct_fields__:
            if name not in ("cls", "default", "default_factory", "tag"):
                yield from _foreign(getattr(found, name), seen)


def spelled(hint: Any) -> str:
    """An annotation as it is written."""
    return hint.__qualname__ if isinstance(hint, type) else str(hint)
