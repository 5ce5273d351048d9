"""Which codec: by content type, by type annotation, or by the value."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from salver.oip.codecs.elements import ELEMENT_CODECS
from salver.oip.codecs.frame import FrameCodec, SeriesCodec
from salver.oip.codecs.numpy import DictCodec, NumberCodec, NumpyCodec
from salver.oip.codecs.torch import TorchCodec
from salver.oip.errors import ContentError, InvalidMessageError, InvalidResultError
from salver.oip.types import Tensor

__all__ = ("Codec", "GroupCodec", "Registry", "built_in")

_Found = TypeVar("_Found", bound="Codec | GroupCodec")


class Codec(Protocol):
    """One value to one tensor."""

    content_type: str

    def fits(self, hint: object) -> bool:
        """Whether values of this annotation are this codec's."""

    def can_encode(self, value: object) -> bool:
        """Whether this value is this codec's."""

    def encode(self, name: str, value: Any) -> Tensor:
        """The tensor of a value."""

    def decode(self, tensor: Tensor) -> Any:
        """The value of a tensor."""


class GroupCodec(Protocol):
    """One value to all tensors of a message."""

    content_type: str

    def fits(self, hint: object) -> bool:
        """Whether values of this annotation are this codec's."""

    def can_encode(self, value: object) -> bool:
        """Whether this value is this codec's."""

    def encode_all(self, value: Any) -> list[Tensor]:
        """The tensors of a value."""

    def decode_all(self, tensors: Sequence[Tensor]) -> Any:
        """The value of these tensors."""


class Registry:
    """The codecs in force, in the order in which they are asked."""

    def __init__(self, codecs: Sequence[Codec], groups: Sequence[GroupCodec] = ()) -> None:
        self.codecs = tuple(codecs)
        self.groups = tuple(groups)
        self._by_type = {codec.content_type: codec for codec in self.codecs}
        self._groups_by_type = {codec.content_type: codec for codec in self.groups}

    def named(self, content_type: str) -> Codec:
        """The codec of a content type."""
        return _named(self._by_type, content_type)

    def group_named(self, content_type: str) -> GroupCodec:
        """The codec of a content type of whole messages."""
        return _named(self._groups_by_type, content_type)

    def check(self, content_type: str) -> None:
        """ContentError: no codec has that content type, neither of tensors nor of messages."""
        _named(self._by_type | self._groups_by_type, content_type)

    def for_hint(self, hint: object) -> Codec | None:
        """The codec of values of that annotation."""
        return next((codec for codec in self.codecs if codec.fits(hint)), None)

    def group_for_hint(self, hint: object) -> GroupCodec | None:
        """The whole-message codec of values of that annotation."""
        return next((codec for codec in self.groups if codec.fits(hint)), None)

    def decode(self, tensor: Tensor, default: Codec | None = None) -> Any:
        """The value of a tensor by its content type, else by the default, else its array."""
        content_type = tensor.parameters.get("content_type")
        if content_type is not None:
            try:
                return self.named(str(content_type)).decode(tensor)
            except InvalidMessageError as error:
                raise ContentError(error.message, error.path) from None
        return default.decode(tensor) if default is not None else tensor.array()

    def encode(self, name: str, value: object, codec: Codec | None = None) -> Tensor:
        """The tensor of a value, by that codec or else by the value's type."""
        chosen = codec or next((c for c in self.codecs if c.can_encode(value)), None)
        if chosen is None:
            raise InvalidResultError(
                f"A value of type {type(value).__name__} has no codec; return an array, str, "
                "bytes, number, DataFrame, image, or something JSON can say."
            )
        return chosen.encode(name, value)


def _named(codecs: dict[str, _Found], content_type: str) -> _Found:
    found = codecs.get(content_type)
    if found is None:
        near = difflib.get_close_matches(content_type[:40], codecs, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(codecs))}"
        raise ContentError(
            f"unknown content type {content_type!r:.60}; {hint}", ".parameters.content_type"
        )
    return found


def built_in() -> Registry:
    """A registry of everything that comes with Salver."""
    return Registry(
        (NumpyCodec(), NumberCodec(), TorchCodec(), SeriesCodec(), *ELEMENT_CODECS),
        (FrameCodec(), DictCodec()),
    )
