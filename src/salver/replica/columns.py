"""The arguments of single calls as columns: a list for each parameter of a batched function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, get_args, get_origin

__all__ = ("Columns",)

_LIST: Final = re.compile(r"(?:typing\.)?[Ll]ist(?:\[(.*)\])?")


class Columns:
    """The parameters of a function that get lists; of a method, all but the object."""

    __slots__ = ("_function", "_name", "_plain", "signature")

    def __init__(self, function: Callable[..., Any], name: str, *, method: bool) -> None:
        self._function = function
        self._name = name
        self.signature = _for_callers(inspect.signature(function), method=method)
        parameters = self.signature.parameters.values()
        if not parameters:
            raise TypeError(
                f"@batch: {name} takes no list. It needs one argument at least"
                f"{' besides its object' if method else ''}: the items."
            )
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
            raise TypeError(
                f"@batch: {name}{self.signature} does not name all it takes. Name each parameter: "
                "each of them gets a list."
            )
        by_name = any(p.kind is p.KEYWORD_ONLY for p in parameters)
        self._plain = -1 if by_name else len(parameters)

    def row(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """One call's arguments in the order of the parameters, however they were passed."""
        if not kwargs and len(args) == self._plain:
            return args
        try:
            given = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._name}(): {error}") from None
        given.apply_defaults()
        return tuple(given.arguments.values())

    def call(self, first: tuple[Any, ...], rows: Sequence[tuple[Any, ...]]) -> Any:
        """Call the function on all rows at once; `first` is the method's object."""
        if self._plain == 1:
            return self._function(*first, [item for (item,) in rows])
        lists = [list(column) for column in zip(*rows, strict=True)]
        if self._plain > 1:
            return self._function(*first, *lists)
        by_name = dict(zip(self.signature.parameters, lists, strict=True))
        given = inspect.BoundArguments(self.signature, by_name)
        return self._function(*first, *given.args, **given.kwargs)


def _for_callers(signature: inspect.Signature, *, method: bool) -> inspect.Signature:
    """Callers pass one item where the function takes a list."""
    parameters = list(signature.parameters.values())[method:]
    return inspect.Signature(
        [p.replace(annotation=_item_of(p.annotation)) for p in parameters],
        return_annotation=_item_of(signature.return_annotation),
    )


def _item_of(annotation: Any) -> Any:
    """The type of one item of an annotated list; what is no list is left as it is."""
    if isinstance(annotation, str):
        found = _LIST.fullmatch(annotation)
        return (found[1] or Any) if found else annotation
    is_list = annotation is list or get_origin(annotation) is list
    return (*get_args(annotation), Any)[0] if is_list else annotation
