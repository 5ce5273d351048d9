"""The binary tensor data extension: a JSON header, then the tensors' bytes in the same order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from salver.oip.datatypes import datatype_named
from salver.oip.errors import InvalidMessageError, MalformedBodyError, MismatchError
from salver.oip.framing import as_objects
from salver.oip.metadata import ModelMetadata
from salver.oip.types import InferRequest, Tensor

__all__ = ("HEADER", "Blobs", "Pieces", "raw_request", "split")

HEADER: Final = "Inference-Header-Content-Length"


class Blobs:
    """The bytes after the JSON header, given out in order."""

    def __init__(self, contents: bytes | memoryview) -> None:
        self.contents = memoryview(contents)
        self._at = 0

    def take(self, size: object) -> memoryview:
        """The next `size` bytes; a view."""
        if type(size) is not int or size < 0:
            raise InvalidMessageError(
                f"expected a number of bytes, got {size!r}", ".parameters.binary_data_size"
            )
        end = self._at + size
        if end > len(self.contents):
            raise InvalidMessageError(
                f"{size} bytes are claimed, but {len(self.contents) - self._at} are left",
                ".parameters.binary_data_size",
            )
        view = self.contents[self._at : end]
        self._at = end
        return view

    def finish(self) -> None:
        """Refuse bytes that no tensor claimed."""
        left = len(self.contents) - self._at
        if left:
            raise MalformedBodyError(
                f"{left} bytes are left over after the last tensor; the binary_data_size of each "
                "must add up to what follows the JSON"
            )


class Pieces(Blobs):
    """The same where the bytes lie in pieces, each tensor mostly in one of its own."""

    def __init__(self, pieces: Iterable[memoryview]) -> None:
        super().__init__(b"")
        self._pieces = iter(pieces)

    def take(self, size: object) -> memoryview:
        """The next `size` bytes; a view, unless they lie in several pieces."""
        while type(size) is int and size > len(self.contents) - self._at:
            piece = next(self._pieces, None)
            if piece is None:
                break
            rest = self.contents[self._at :]
            self.contents = memoryview(b"".join((rest, piece))) if len(rest) else piece
            self._at = 0
        return super().take(size)

    def finish(self) -> None:
        """Refuse bytes that no tensor claimed."""
        for piece in self._pieces:
            self.contents = memoryview(b"".join((self.contents[self._at :], piece)))
            self._at = 0
        super().finish()


def split(
    body: bytes | memoryview, header_length: str | int | None
) -> tuple[bytes | memoryview, Blobs | None]:
    """The JSON part and what follows it; None where the header was not sent."""
    if header_length is None:
        return body, None
    text = str(header_length).strip()
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise MalformedBodyError(f"header {HEADER} must be a number of bytes, got {text[:40]!r}")
    length = int(text)
    if length > len(body):
        raise MalformedBodyError(
            f"header {HEADER} is {length}, but the body has only {len(body)} bytes"
        )
    view = memoryview(body)
    return view[:length], Blobs(view[length:])


def raw_request(blobs: Blobs, metadata: ModelMetadata | None) -> InferRequest:
    """The request whose whole body is the contents of the one input that the model needs."""
    inputs = [] if metadata is None else metadata.inputs
    needed = inputs if len(inputs) == 1 else [one for one in inputs if not one.optional]
    if len(needed) != 1:
        count = "unknown" if metadata is None else len(needed)
        raise MismatchError(
            "a raw request is for a model that needs exactly one input; "
            f"the count of those that this one needs is {count}"
        )
    wanted = needed[0]
    tensor: Tensor
    if wanted.datatype == "BYTES":
        elements = as_objects([bytes(blobs.contents)])
        shape = tuple(1 for _ in wanted.shape) or (1,)
        tensor = Tensor(wanted.name, "BYTES", shape, elements.reshape(shape))
    else:
        shape = _raw_shape(wanted.shape, len(blobs.contents), datatype_named(wanted.datatype).width)
        tensor = Tensor.raw(wanted.name, wanted.datatype, shape, blobs.contents)
    return InferRequest([tensor], parameters={"binary_data_output": True})


def _raw_shape(shape: list[int], size: int, width: int) -> tuple[int, ...]:
    """The declared shape with its one variable size found from the number of bytes."""
    known = width
    for extent in shape:
        known *= extent if extent >= 0 else 1
    variable = shape.count(-1)
    if variable > 1 and shape[0] == -1:  # the first is the batch, and a raw request is one
        shape, variable = [1, *shape[1:]], variable - 1
    if variable > 1:
        raise MismatchError(
            f"a raw request can have one variable size, but the model's shape is {shape}"
        )
    if not variable:
        return tuple(shape)
    if not known or size % known:
        raise MismatchError(f"{size} bytes do not fill a tensor of shape {shape}")
    return tuple(size // known if extent == -1 else extent for extent in shape)
