"""A Python signature as a model: its inputs and outputs, their tensors and their JSON schemas."""

from __future__ import annotations

import inspect
from collections import abc
from collections.abc import Callable, Iterator
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec

from salver.oip.codecs.foreign import is_instance
from salver.oip.codecs.registry import GroupCodec, Registry, built_in
from salver.oip.errors import InvalidMessageError, UnservableError
from salver.oip.hints import is_root, record_fields, slot_for, split_hint, unread_field
from salver.oip.json_slots import JsonSlot
from salver.oip.jsontypes import spelled
from salver.oip.metadata import ModelMetadata, TensorMetadata
from salver.oip.rules import constrain, described, rules_of
from salver.oip.slots import Slot
from salver.oip.types import InferRequest, InferResponse
from salver.spec.endpoint import Field

__all__ = ("Argument", "Output", "Signature")

_STREAMS: Final = (abc.Iterator, abc.Generator, abc.AsyncIterator, abc.AsyncGenerator,
                   abc.AsyncIterable)  # fmt: skip
_SKIPPED: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Argument(msgspec.Struct, frozen=True):
    """One argument: carried by a slot or a group codec, or (neither) the request itself."""

    name: str  # in Python
    tensor: str  # in the protocol
    slot: Slot | None = None
    group: GroupCodec | None = None
    required: bool = True
    nullable: bool = False  # None is a value; given when it is left out and has no default
    has_default: bool = False  # of its own
    description: str = ""


class Output(msgspec.Struct, frozen=True):
    """One result; several come from a tuple, or from the fields of a record."""

    tensor: str
    slot: Slot
    field: str | None = None
    nullable: bool = False  # None is a value: the tensor is left out
    whole: bool = False  # though it is a field, it is the result by itself


class Signature(msgspec.Struct, frozen=True):
    """What a function takes and gives, in the words of the protocol."""

    name: str  # of the function, with that of its class
    arguments: tuple[Argument, ...]
    outputs: tuple[Output, ...]
    registry: Registry
    streams: bool = False
    several: bool = False  # a tuple is returned
    direct: bool = False  # an InferResponse is returned
    group: GroupCodec | None = None  # a value that makes its own set of tensors is returned
    nullable: bool = False  # None may be returned
    only: Output | None = None  # which the result is as it is, and never None
    description: str = ""

    @property
    def requests(self) -> list[str]:
        """The arguments that are the request itself."""
        return [a.name for a in self.arguments if a.slot is None and a.group is None]

    @property
    def named(self) -> bool:
        """Whether the result in plain JSON is an object of the outputs."""
        return self.several or any(o.field is not None and not o.whole for o in self.outputs)

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        batched: bool = False,
    ) -> Signature:
        """The signature of a function or method; `self` is skipped.

        `batched`: it takes and gives lists, and its callers single items.
        """
        registry = built_in()
        hints = _hints(function)
        if batched:
            hints = {name: _item_of(hint) for name, hint in hints.items()}
        arguments = tuple(_arguments(function, hints, registry))
        if sum(argument.group is not None for argument in arguments) > 1:
            raise UnservableError(f"{_name(function)} takes more than one frame or dict of arrays.")
        hint = hints.get("return", Any)
        item = _streamed(function, hint)
        returned = hint if item is None else item
        bare, _, nullable = split_hint(returned)
        text_input = any(argument.tensor == "text_input" for argument in arguments)
        outputs = tuple(_outputs(function, returned, registry, text_input))
        _refuse_twins(f"{_name(function)}: two arguments", [a.tensor for a in arguments])
        _refuse_twins(f"{_name(function)}: two outputs", [output.tensor for output in outputs])
        return cls(
            _name(function),
            arguments,
            outputs,
            registry,
            streams=item is not None,
            several=_is_several(bare),
            direct=bare is InferResponse,
            group=registry.group_for_hint(bare),
            nullable=nullable,
            only=outputs[0] if _is_only(outputs, bare, nullable) else None,
            description=inspect.getdoc(function) or "",
        )

    @property
    def carried(self) -> tuple[Argument, ...]:
        """The arguments that come from the caller."""
        return tuple(a for a in self.arguments if a.slot is not None or a.group is not None)

    def metadata(
        self, name: str, versions: list[str] | None = None, platform: str = "salver_python"
    ) -> ModelMetadata:
        """The model that this function is."""
        return ModelMetadata(
            name,
            platform,
            [_input_metadata(argument) for argument in self.carried],
            [_output_metadata(output) for output in self.outputs] or self._unknown(),
            versions or [],
        )

    def _unknown(self) -> list[TensorMetadata]:
        """Tensors whose names only a result shows: those of a frame, or of a dict of arrays."""
        if self.group is None:
            return []
        return [
            _group_metadata("output-0", self.group, {"optional": True} if self.nullable else {})
        ]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return get_type_hints(target, include_extras=True)
    except (NameError, TypeError) as error:
        raise UnservableError(
            f"The annotations of {_name(function)} cannot be resolved: {error}. Import the types "
            "that they name at the top of its module, outside of TYPE_CHECKING."
        ) from None


def _item_of(hint: Any) -> Any:
    """`list[T]` is of T; a stream of lists is a stream of T."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is list:
        return arguments[0]
    if origin in _STREAMS:
        return abc.AsyncIterator[_item_of(arguments[0])]  # type: ignore[misc]
    return hint if origin is not None else Any


def _name(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__qualname__', type(function).__name__)}()"


def _arguments(
    function: Callable[..., Any], hints: dict[str, Any], registry: Registry
) -> Iterator[Argument]:
    parameters = list(inspect.signature(function).parameters.values())
    if parameters and parameters[0].name == "self":
        parameters = parameters[1:]
    for parameter in parameters:
        if parameter.kind in _SKIPPED or parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise UnservableError(
                f"{_name(function)} takes {parameter}, but inputs have names; "
                "write each argument out."
            )
        whole = hints.get(parameter.name, Any)
        hint, field, nullable = split_hint(whole)
        rules = rules_of(whole)
        name = parameter.name
        has_default = parameter.default is not parameter.empty
        required = not has_default and not nullable
        group = registry.group_for_hint(hint)
        if hint is InferRequest:
            yield Argument(name, name)
            continue
        what = f"{_name(function)}: argument {name!r}"
        _refuse_default(what, parameter.default)
        if group is not None:
            _refuse_field(what, hint, field)
            _refuse_rules(what, rules)
            yield Argument(name, name, None, group, required, nullable, has_default,
                           field.description)  # fmt: skip
        else:
            slot = _slot(what, hint, registry, field, rules)
            _refuse_unread(what, hint, slot)
            tensor = field.name or name
            yield Argument(tensor=tensor, name=name, slot=slot, required=required,
                           nullable=nullable, has_default=has_default,
                           description=field.description or described(rules))  # fmt: skip


def _refuse_twins(what: str, names: list[str]) -> None:
    twin = next((name for name in names if names.count(name) > 1), None)
    if twin is not None:
        raise UnservableError(f"{what} are called {twin!r}; name one otherwise in its Field.")


def _refuse_default(what: str, default: Any) -> None:
    if is_instance(default, "pydantic", "FieldInfo"):
        raise UnservableError(
            f"{what}: its default is what pydantic is to look for, {default!r:.60}; write "
            "Annotated[int, pydantic.Field(ge=0)] = 3."
        )


def _refuse_rules(what: str, rules: tuple[Any, ...]) -> None:
    if constrain(rules):
        raise UnservableError(f"{what}: {rules[0]!r} is no rule for columns; look at them in it.")


def _refuse_unread(what: str, hint: Any, slot: Slot) -> None:
    unread = unread_field(hint) if isinstance(slot, JsonSlot) else ""
    if unread:
        raise UnservableError(
            f"{what}: {unread} has a Field, which within a record only models of pydantic "
            "follow. Annotate it numpy.typing.NDArray[numpy.float32] or the like, or make "
            "the record a model of pydantic."
        )


def _slot(
    what: str, hint: Any, registry: Registry, field: Field, rules: tuple[Any, ...] = ()
) -> Slot:
    try:
        slot = slot_for(hint, registry, field, rules)
    except InvalidMessageError as error:  # what its Field says
        raise UnservableError(f"{what}: {error.message}.") from None
    except UnservableError as error:
        raise UnservableError(f"{what} is annotated {spelled(hint)}: {error}") from None
    _refuse_field(what, hint, field, slot)
    return slot


def _refuse_field(what: str, hint: Any, field: Field, slot: Slot | None = None) -> None:
    """Refuse a Field that says what only arrays can be; `slot`: what carries one value."""
    for name in ("datatype", "shape"):
        said = getattr(field, name)
        if said is not None and (slot is None or said != getattr(slot, name)):
            told = f"is {getattr(slot, name)}" if slot is not None else "has those of its columns"
            raise UnservableError(
                f"{what}: its Field says {name}={said!r}, but {spelled(hint)} {told}. Datatype and "
                "shape are for arrays: annotate it numpy.ndarray or torch.Tensor."
            )
    if slot is None and field.content_type is not None:
        raise UnservableError(
            f"{what}: its Field says content_type={field.content_type!r}, which "
            f"{spelled(hint)} cannot have."
        )


def _streamed(function: Callable[..., Any], hint: Any) -> Any:
    """What each item of the stream is; None if the function does not stream."""
    generates = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    origin = get_origin(hint) or hint
    if origin in _STREAMS or (generates and origin is abc.Iterable):
        return (*get_args(hint), Any)[0]
    return Any if generates else None


def _outputs(
    function: Callable[..., Any], hint: Any, registry: Registry, text_input: bool
) -> Iterator[Output]:
    where = _name(function)
    bare, field, _ = split_hint(hint)
    if bare is InferResponse or bare is type(None) or bare is None:
        return
    if registry.group_for_hint(bare) is not None:
        _refuse_field(f"{where}: the result", bare, field)
        return
    fields = record_fields(bare)
    if _is_several(bare):
        for index, item in enumerate(get_args(bare)):
            yield _output(where, f"output-{index}", item, registry)
    elif fields and is_root(bare):
        name, _, kind = fields[0]
        yield msgspec.structs.replace(_output(where, "output-0", kind, registry, name), whole=True)
    elif fields:
        for name, told, kind in fields:
            yield _output(where, told, kind, registry, name)
    else:
        # What the generate extension calls the text that answers `text_input`.
        name = "text_output" if text_input and bare is str else "output-0"
        yield _output(where, name, hint, registry)


def _is_several(hint: Any) -> bool:
    """Whether it is a tuple of so many values; `tuple[T, ...]` is one value, as a list is."""
    items = get_args(hint) if get_origin(hint) is tuple else ()
    return bool(items) and Ellipsis not in items


def _is_only(outputs: tuple[Output, ...], bare: Any, nullable: bool) -> bool:
    plain = len(outputs) == 1 and outputs[0].field is None and not outputs[0].nullable
    return plain and not nullable and not _is_several(bare)


def _output(
    where: str, name: str, hint: Any, registry: Registry, field_name: str | None = None
) -> Output:
    bare, field, nullable = split_hint(hint)
    tensor = field.name or name
    rules = () if field_name else rules_of(hint)  # a record's own are looked after by it
    slot = _slot(f"{where}: output {tensor!r}", bare, registry, field, rules)
    return Output(tensor, slot, field_name, nullable)


def _input_metadata(argument: Argument) -> TensorMetadata:
    parameters: dict[str, Any] = {} if argument.required else {"optional": True}
    if argument.slot is not None:
        return _tensor_metadata(argument.tensor, argument.slot, parameters)
    assert argument.group is not None  # noqa: S101 - it comes from the caller
    return _group_metadata(argument.tensor, argument.group, parameters)


def _group_metadata(name: str, group: GroupCodec, more: dict[str, Any]) -> TensorMetadata:
    """One entry that stands for tensors of any names and datatypes."""
    parameters = {"content_type": group.content_type, "any_tensors": True} | more
    return TensorMetadata(name, "BYTES", [-1], parameters)


def _output_metadata(output: Output) -> TensorMetadata:
    parameters = {"optional": True} if output.nullable else {}
    return _tensor_metadata(output.tensor, output.slot, parameters)


def _tensor_metadata(name: str, slot: Slot, parameters: dict[str, Any]) -> TensorMetadata:
    if slot.content_type:
        parameters = {"content_type": slot.content_type} | parameters
    if slot.text:
        parameters = parameters | {"dtype": "str"}
    # What metadata cannot say otherwise: that a client need not hold to what is written there.
    if slot.any:
        parameters = parameters | {"any_datatype": True}
    if slot.shape is None:
        parameters = parameters | {"any_shape": True}
    shape = list(slot.shape) if slot.shape is not None else [-1]
    return TensorMetadata(name, slot.datatype, shape, parameters)
