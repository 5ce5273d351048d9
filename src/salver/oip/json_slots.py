"""Anything else that JSON can say: records, dicts, unions, nested lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from salver.oip.codecs.json import (
    convert,
    held,
    parse_as,
    schema_of,
    to_json,
)
from salver.oip.codecs.pydantic import uses_pydantic, within
from salver.oip.errors import ContentError, InvalidMessageError, InvalidResultError
from salver.oip.framing import as_objects
from salver.oip.slots import Slot, check_elements, promised
from salver.oip.types import Tensor
from salver.spec.learnt import learnt

__all__ = ("JsonSlot",)


class JsonSlot(Slot):
    """BYTES that hold JSON; a list of records is an element for each."""

    content_type = "json"

    def __init__(self, hint: Any, item: Any, slot_of: Callable[[Any], Slot]) -> None:
        """`slot_of` is asked for what JSON does not know by itself, such as arrays in records."""
        if not uses_pydantic(hint):
            learnt(hint)  # calls are read in threads
        self.hint = hint
        self._slot_of = slot_of
        self._slots: dict[Any, Slot] = {}  # once asked for
        self.item = item  # of a list; None where the whole value is one element
        self.many = item is not None
        self.shape = (-1,) if self.many else (1,)
        self.scalar = not self.many

    def check(self, tensor: Tensor) -> None:
        check_elements(tensor, many=self.many)

    def decode(self, tensor: Tensor) -> Any:
        values = []
        for index, element in enumerate(tensor.array().ravel().tolist()):
            try:
                values.append(parse_as(element, self.item if self.many else self.hint, self._inner))
            except InvalidMessageError as error:
                raise error.under(f".data[{index}]") from None
        return values if self.many else values[0]

    def encode(self, name: str, value: Any) -> Tensor:
        return self.tensor(name, self.to_plain(name, value))

    def tensor(self, name: str, plain: Any) -> Tensor:
        """The tensor of what JSON has for a value."""
        elements = [to_json(item) for item in (plain if self.many else (plain,))]
        return Tensor(
            name, "BYTES", (len(elements),), as_objects(elements), {"content_type": "json"}
        )

    def from_text(self, text: bytes | msgspec.Raw) -> Any:
        return parse_as(bytes(text), self.hint, self._inner)

    def from_plain(self, value: Any) -> Any:
        return convert(value, self.hint, self._inner)

    def to_plain(self, name: str, value: Any) -> Any:
        if self.many and isinstance(value, list) and self._are_items(value):
            return value
        try:
            return held(value, self.hint, self._inner)
        except (ContentError, InvalidResultError) as error:
            what = getattr(self.hint, "__name__", None) if isinstance(self.hint, type) else None
            raise promised(name, what or self.hint, f"{value!r:.60}", str(error)) from None

    def _are_items(self, values: list[Any]) -> bool:
        """Whether all are records of the very class: as a single one, they need no second look."""
        return all(self.item in type(value).__mro__ for value in values)

    def schema(self) -> dict[str, Any]:
        return schema_of(self.hint, lambda kind: self._slot(kind).schema())

    def _slot(self, kind: Any) -> Slot:
        slot = self._slots.get(kind)
        if slot is None:
            slot = self._slots[kind] = self._slot_of(kind)
        return slot

    def _inner(self, kind: Any, value: Any) -> Any:
        try:
            return self._slot(kind).from_plain(value)
        except InvalidMessageError as error:
            raise within(error) from None
