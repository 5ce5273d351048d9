"""From requests to arguments and from results to responses, by a function's signature."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from salver.oip.codecs.json import parse_as, to_json
from salver.oip.errors import (
    ContentError,
    InvalidMessageError,
    MismatchError,
)
from salver.oip.json_slots import JsonSlot
from salver.oip.nojson import why_no_json
from salver.oip.packing import packed, plain_of
from salver.oip.signature import Argument, Signature
from salver.oip.slots import AnySlot
from salver.oip.tables import column_of, columns_of
from salver.oip.types import InferRequest, InferResponse, Tensor

__all__ = ("Binder",)

Read: TypeAlias = Callable[[Argument, Any, str], Any]


class Binder:
    """Binds requests of every form to one function's arguments, and packs what it returns."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self._by_tensor = {a.tensor: a for a in signature.arguments if a.slot is not None}
        whole = signature.direct or signature.group  # which outputs it has shows when it has run
        self._outputs = () if whole else tuple(output.tensor for output in signature.outputs)
        self._optional = frozenset(o.tensor for o in signature.outputs if o.nullable)
        self._group = next((a for a in signature.arguments if a.group is not None), None)

    # Open Inference Protocol

    def bind(self, request: InferRequest) -> dict[str, Any]:
        """The keyword arguments in a request."""
        if request.parameters or request.outputs:
            self._check_request(request)
        given: dict[str, Any] = {}
        left: list[Tensor] = []
        for index, tensor in enumerate(request.inputs):
            argument = self._by_tensor.get(tensor.name)
            if argument is not None:
                if tensor.parameters:
                    self._check_content_type(tensor, index)
                given[argument.name] = _decoded(argument, tensor, index)
            elif self._group is not None:
                left.append(tensor)
            else:
                raise self._unknown(tensor.name, f"$.inputs[{index}].name")
        if left and self._group is not None and self._group.group is not None:
            try:
                given[self._group.name] = self._group.group.decode_all(left)
            except InvalidMessageError as error:
                raise error.under("$.inputs") from None
        if len(given) < len(self.signature.arguments):
            self._complete(given, request)
        return given

    def _check_request(self, request: InferRequest) -> None:
        """Refuse before the function runs what could only be refused after it."""
        content_type = request.parameters.get("content_type")
        if content_type is not None:
            try:
                self.signature.registry.check(str(content_type))
            except InvalidMessageError as error:
                raise error.under("$") from None
        names: set[str] = set()
        for index, output in enumerate(request.outputs):
            path = f"$.outputs[{index}].name"
            if output.name in names:
                raise MismatchError(f"{output.name!r:.60} is asked for twice", path)
            names.add(output.name)
            if self._outputs and output.name not in self._outputs:
                known = ", ".join(map(repr, self._outputs))
                raise MismatchError(
                    f"the model gives no output {output.name!r:.60}; it gives {known}", path
                )

    def _check_content_type(self, tensor: Tensor, index: int) -> None:
        given = tensor.parameters.get("content_type")
        if given is not None:
            try:
                self.signature.registry.named(str(given))
            except InvalidMessageError as error:
                raise error.under(f"$.inputs[{index}]") from None

    def _complete(self, given: dict[str, Any], request: InferRequest) -> None:
        for argument in self.signature.arguments:
            if argument.name in given:
                continue
            if argument.slot is None and argument.group is None:
                given[argument.name] = request
            elif argument.slot and argument.slot.scalar and argument.tensor in request.parameters:
                value = request.parameters[argument.tensor]
                given[argument.name] = _plain(argument, value, f"$.parameters.{argument.tensor}")
            else:
                self._absent(argument, given, "$.inputs")

    def _absent(self, argument: Argument, given: dict[str, Any], path: str) -> None:
        if argument.required:
            wanted = ", ".join(repr(a.tensor) for a in self.signature.carried if a.required)
            raise MismatchError(f"input {argument.tensor!r} is missing; required: {wanted}", path)
        if argument.nullable and not argument.has_default:
            given.setdefault(argument.name, None)

    def _unknown(self, name: str, path: str) -> MismatchError:
        known = [argument.tensor for argument in self.signature.carried]
        near = difflib.get_close_matches(name[:60], known, 1)
        there = f"the inputs are {', '.join(known)}" if known else "the model takes none"
        hint = f"did you mean {near[0]!r}?" if near else there
        return MismatchError(f"unknown input {name!r:.60}; {hint}", path)

    def pack(self, result: Any, request: InferRequest | None = None) -> InferResponse:
        """The response that a result is; only the requested outputs, if any were named."""
        response = packed(self.signature, result)
        if request is None:
            return response
        if not response.id:
            response.id = request.id
        if not request.outputs:
            return response
        missing = self._optional.difference(tensor.name for tensor in response.outputs)
        if not missing:
            return response.select(request.outputs)
        wanted = [output for output in request.outputs if output.name not in missing]
        if not wanted:  # all that was asked for is None
            response.outputs = []
        return response.select(wanted)

    # Plain JSON

    def bind_json(self, body: bytes | memoryview) -> dict[str, Any]:
        """The keyword arguments in a JSON body: an object with a member for each argument.

        For a function that needs one argument the body may also be that argument itself.
        """
        text = bytes(body) or b"{}"
        members: dict[str, msgspec.Raw] | None = None
        try:
            members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        except msgspec.ValidationError:
            pass  # no object
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            why, place = why_no_json(text, error)
            raise ContentError(why, f"${place}") from None
        return self._bound(members, text, _text, "$")

    def bind_plain(self, value: Any, path: str = "$") -> dict[str, Any]:
        """The keyword arguments in something that came from JSON."""
        return self._bound(value if isinstance(value, dict) else None, value, _plain, path)

    def _bound(
        self, members: dict[str, Any] | None, whole: Any, read: Read, path: str
    ) -> dict[str, Any]:
        main = self._main()
        if main is not None and (members is None or not self._has_members(members, main)):
            return {main.name: read(main, whole, path)} | self._specials()
        carried = self.signature.carried
        names = {argument.tensor: argument for argument in carried}
        given: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        if members is None:
            rows = parse_as(whole, Any) if self._group is not None and read is _text else whole
            if self._group is None or not isinstance(rows, list):
                raise ContentError(f"expected an object with {', '.join(names) or 'nothing'}", path)
            given[self._group.name] = self._grouped(rows, path)
            members = {}
        for name, member in members.items():
            argument = names.get(name)
            if argument is not None and argument.slot is not None:
                given[argument.name] = read(argument, member, f"{path}.{name}")
            elif self._group is not None:
                rest[name] = parse_as(bytes(member), Any) if read is _text else member
            else:
                raise self._unknown(name, path)
        if rest and self._group is not None:
            given[self._group.name] = self._grouped(rest, path)
        for argument in carried:
            if argument.name not in given:
                self._absent(argument, given, path)
        return given | self._specials()

    def _main(self) -> Argument | None:
        """The one argument that a function needs, and that may stand for all."""
        carried = self.signature.carried
        needed = [argument for argument in carried if argument.required]
        one = carried if len(carried) == 1 else needed if len(needed) == 1 else ()
        return one[0] if one and one[0].slot is not None else None

    def _has_members(self, members: dict[str, Any], main: Argument) -> bool:
        """Whether an object names arguments, and is not itself the value of the only one."""
        if len(self.signature.carried) > 1 or main.tensor in members:
            return True
        if not isinstance(main.slot, AnySlot | JsonSlot):  # whose values are no objects
            return True
        return not members and not main.required

    def _grouped(self, table: Mapping[str, Any] | list[Any], path: str) -> Any:
        """A frame or dict of arrays: rows or columns, by themselves or under its own name."""
        group = self._group
        assert group is not None and group.group is not None  # noqa: S101, PT018
        if isinstance(table, Mapping) and len(table) == 1:
            inner = table.get(group.tensor)
            if isinstance(inner, dict | list):
                table, path = inner, f"{path}.{group.tensor}"
        columns = columns_of(table, path) if isinstance(table, list) else table
        whole = group.group.content_type == "pd"  # whose cells can be anything
        tensors = [
            column_of(name, cells, whole, f"{path}.{name}") for name, cells in columns.items()
        ]
        try:
            return group.group.decode_all(tensors)
        except InvalidMessageError as error:
            raise ContentError(f"no table: {error}", path) from None

    def _specials(self) -> dict[str, Any]:
        """An empty request for arguments that want one where none came."""
        return {name: InferRequest([]) for name in self.signature.requests}

    def pack_json(self, result: Any) -> bytes:
        """The JSON of a result: arrays as nested lists, NaN as null, bytes as base64."""
        return to_json(plain_of(self.signature, result))


def _decoded(argument: Argument, tensor: Tensor, index: int) -> Any:
    slot = argument.slot
    assert slot is not None  # noqa: S101 - only these are looked up by tensor
    try:
        slot.check(tensor)
        return slot.decode(tensor)
    except InvalidMessageError as error:
        raise error.under(f"$.inputs[{index}]") from None


def _plain(argument: Argument, value: Any, path: str) -> Any:
    slot = argument.slot
    if value is None and argument.nullable:
        return None
    assert slot is not None  # noqa: S101 - the caller looked
    try:
        return slot.from_plain(value)
    except InvalidMessageError as error:
        raise error.under(path) from None


def _text(argument: Argument, text: bytes | msgspec.Raw, path: str) -> Any:
    slot = argument.slot
    if argument.nullable and bytes(memoryview(text)[:8]).strip() == b"null":
        return None
    assert slot is not None  # noqa: S101 - the caller looked
    try:
        return slot.from_text(text)
    except InvalidMessageError as error:
        raise error.under(path) from None
