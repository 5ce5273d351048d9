"""Anything else that JSON can say: records, dicts, unions, nested lists."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from salver.oip.codecs.json import convert, held, parse_as, schema_of, to_json
from salver.oip.errors import ContentError, InvalidMessageError, InvalidResultError
from salver.oip.framing import as_objects
from salver.oip.slots import Slot, check_elements, promised
from salver.oip.types import Tensor
from salver.spec.learnt import learnt

__all__ = ("JsonSlot",)


class JsonSlot(Slot):
    """BYTES that hold JSON; a list of records is an element for each."""

    content_type = "json"

    def __init__(self, hint: Any, item: Any = None) -> None:
        with suppress(TypeError, NameError):  # of what msgspec cannot read, whoever reads it tells
            learnt(hint)  # calls are read in threads
        self.hint = hint
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
                values.append(parse_as(element, self.item if self.many else self.hint))
            except InvalidMessageError as error:
                raise error.under(f".data[{index}]") from None
        return values if self.many else values[0]

    def encode(self, name: str, value: Any) -> Tensor:
        found = self.to_plain(name, value)
        elements = [to_json(item) for item in (found if self.many else (found,))]
        return Tensor(
            name, "BYTES", (len(elements),), as_objects(elements), {"content_type": "json"}
        )

    def from_text(self, text: bytes | msgspec.Raw) -> Any:
        return parse_as(bytes(text), self.hint)

    def from_plain(self, value: Any) -> Any:
        return convert(value, self.hint)

    def to_plain(self, name: str, value: Any) -> Any:
        try:
            return held(value, self.hint)
        except (ContentError, InvalidResultError) as error:
            what = getattr(self.hint, "__name__", None) if isinstance(self.hint, type) else None
            raise promised(name, what or self.hint, f"{value!r:.60}", str(error)) from None

    def schema(self) -> dict[str, Any]:
        return schema_of(self.hint)
