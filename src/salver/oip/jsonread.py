"""The envelope around tensors in JSON: small bodies by msgspec, large ones by simdjson."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy.typing as npt
import simdjson

from salver.oip import simdata
from salver.oip.binary import HEADER, Blobs
from salver.oip.datatypes import BYTES, count_of, datatype_named
from salver.oip.errors import InvalidMessageError, InvalidTensorError, MalformedBodyError
from salver.oip.jsondata import from_base64, read_data
from salver.oip.nojson import why_no_json
from salver.oip.types import Parameters, Tensor, check_number
from salver.spec.learnt import learnt

__all__ = ("JsonReader", "RequestEnvelope", "ResponseEnvelope")

Body = bytes | memoryview
ReadData = Callable[..., npt.NDArray[Any]]

_KEPT_PARSER: Final = 16 << 20  # a parser keeps some three times its largest body
_KEPT_PARSERS: Final = 16
_AT: Final = re.compile(r"^(.*?)(?: - at `(\$.*)`)?$", re.DOTALL)
_NON_FINITE: Final = re.compile(
    rb'"(?:[^"\\]|\\.)*+"?|-?(?:NaN|Infinity)',
    re.DOTALL,  # an open string ends with the text
)


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: Any = msgspec.UNSET
    parameters: Parameters | None = None


class _UnreadTensor(_Tensor):
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Output(msgspec.Struct):
    name: str
    parameters: Parameters | None = None


class _Envelope(msgspec.Struct, kw_only=True):
    id: str | None = None
    parameters: Parameters | None = None


@learnt
class RequestEnvelope(_Envelope):
    inputs: list[_Tensor]
    outputs: list[_Output] | None = None


class _UnreadRequest(RequestEnvelope):
    inputs: list[_UnreadTensor]  # type: ignore[assignment]


@learnt
class ResponseEnvelope(_Envelope):
    outputs: list[_Tensor]
    model_name: str | None = None
    model_version: str | None = None


class _UnreadResponse(ResponseEnvelope):
    outputs: list[_UnreadTensor]  # type: ignore[assignment]


class JsonReader:
    """Reads one kind of envelope; keeps parsers, so as not to fault in their memory each time."""

    def __init__(self, kind: type[RequestEnvelope] | type[ResponseEnvelope]) -> None:
        request = kind is RequestEnvelope
        self._kind = kind
        self._field = "inputs" if request else "outputs"
        self._exact = msgspec.json.Decoder(_UnreadRequest if request else _UnreadResponse)
        self._parsers: list[simdjson.Parser] = []

    def read(self, text: Body, blobs: Blobs | None) -> tuple[Any, list[Tensor]]:
        """The envelope, and its tensors."""
        try:
            if len(text) > simdata.LARGE:
                found = self._read_large(text, blobs)
                if found is not None:
                    return found
            return self._read_exact(text, blobs)
        except msgspec.ValidationError as error:
            raise _located(error) from None
        except RecursionError:
            raise MalformedBodyError("the JSON is nested too deeply") from None

    def _read_exact(self, text: Body, blobs: Blobs | None) -> tuple[Any, list[Tensor]]:
        try:
            envelope = self._exact.decode(text)
        except msgspec.ValidationError:
            raise
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            mended = _quote_non_finite(text)
            if mended is None:
                why, path = why_no_json(text, error)
                raise MalformedBodyError(why, path and f"${path}") from None
            return self.read(mended, blobs)
        return envelope, self._tensors(envelope, blobs, read_data)

    def _read_large(self, text: Body, blobs: Blobs | None) -> tuple[Any, list[Tensor]] | None:
        """By simdjson; None where only the exact reader can tell."""
        try:
            parser = self._parsers.pop()
        except IndexError:
            parser = simdjson.Parser()
        found = self._parsed(parser, text, blobs)
        # No proxy is left here. After an error its traceback may hold some: that parser is dropped.
        if len(text) <= _KEPT_PARSER and len(self._parsers) < _KEPT_PARSERS:
            self._parsers.append(parser)
        return found

    def _parsed(
        self, parser: simdjson.Parser, text: Body, blobs: Blobs | None
    ) -> tuple[Any, list[Tensor]] | None:
        members = simdata.parse(parser, text)
        if members is None:
            return None
        envelope: Any = msgspec.convert(members, self._kind)
        items = getattr(envelope, self._field)
        expected = 1 + isinstance(members.get("outputs"), list) * (self._field == "inputs")
        expected += sum(simdata.brackets(item.data, item.shape) + 1 for item in items)
        # A list too many may hide among the numbers of a tensor, and simdjson flattens it.
        regular = simdata.lists_in(text) == expected
        tensors = self._tensors(
            envelope, blobs, simdata.read_array if regular else simdata.read_exactly
        )
        for item in items:
            item.data = None
        return envelope, tensors

    def _tensors(self, envelope: Any, blobs: Blobs | None, read: ReadData) -> list[Tensor]:
        field = self._field
        items = getattr(envelope, field)
        if len(items) != 1:
            check_number(len(items), field)
            _check_names(items, field)
        tensors: list[Tensor] = []
        for item in items:
            try:
                tensors.append(_tensor(item, blobs, read))
            except InvalidMessageError as error:
                raise error.under(f"$.{field}[{len(tensors)}]") from None
        if blobs is not None:
            blobs.finish()
        return tensors


def _check_names(items: list[_Tensor], field: str) -> None:
    names: set[str] = set()
    for index, item in enumerate(items):
        if item.name in names:
            raise InvalidTensorError(f"{item.name!r:.60} appears twice", f"$.{field}[{index}].name")
        names.add(item.name)


def _tensor(item: _Tensor, blobs: Blobs | None, read: ReadData) -> Tensor:
    kind = datatype_named(item.datatype)
    shape = tuple(item.shape)
    count = count_of(shape, kind)
    parameters = item.parameters or {}
    size = parameters.pop("binary_data_size", None)
    if "shared_memory_region" in parameters:
        if item.data is not msgspec.UNSET or size is not None:
            why = "a tensor lies either in shared memory or here, not in both"
            raise InvalidTensorError(why, ".parameters.shared_memory_region")
        return Tensor(item.name, kind.name, shape, None, parameters)
    if size is not None:
        return _binary(item, size, blobs, parameters)
    if item.data is msgspec.UNSET:
        raise InvalidTensorError("data is missing", ".data")
    array = read(item.data, kind, shape, count)
    if kind is BYTES and parameters.get("encoding") == "base64":
        array = from_base64(array)
        del parameters["encoding"]
    return Tensor(item.name, kind.name, shape, array, parameters)


def _binary(item: _Tensor, size: object, blobs: Blobs | None, parameters: Parameters) -> Tensor:
    at = ".parameters.binary_data_size"
    if blobs is None:
        raise InvalidMessageError(f"binary data need the header {HEADER}, which is missing", at)
    if item.data is not msgspec.UNSET:
        raise InvalidMessageError("a tensor has either data or binary_data_size, not both", at)
    try:
        tensor = Tensor.raw(item.name, item.datatype, item.shape, blobs.take(size))
    except InvalidTensorError as error:
        raise error if error.path else error.under(at) from None
    tensor.parameters = parameters
    return tensor


def _quote_non_finite(text: Body) -> bytes | None:
    """Bare NaN and Infinity as strings: no JSON, yet some clients write them; None if none is."""
    body = bytes(text)
    if b"NaN" not in body and b"Infinity" not in body:
        return None
    mended = _NON_FINITE.sub(_quoted, body)
    return mended if len(mended) != len(body) else None


def _quoted(found: re.Match[bytes]) -> bytes:
    token = found[0]
    return token if token.startswith(b'"') else b'"' + token + b'"'


def _located(error: msgspec.ValidationError) -> InvalidMessageError:
    found = _AT.match(str(error))
    assert found is not None  # noqa: S101 - the pattern matches every text
    return InvalidMessageError(found[1], found[2] or "$")
