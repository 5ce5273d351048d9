"""What an annotation says of its values beside their type: `Annotated[int, pydantic.Field(ge=0)]`.

The rules of pydantic, annotated_types and msgspec are followed: whatever carries a value, it is
held to them afterwards.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, NewType, get_args, get_origin

import msgspec

from salver.oip.codecs.foreign import attribute, is_instance, loaded
from salver.oip.codecs.json import convert, schema_of
from salver.oip.codecs.pydantic import is_mark, uses_pydantic
from salver.oip.errors import ContentError, InvalidMessageError, UnservableError
from salver.oip.slots import CarriedSlot, Slot, promised
from salver.oip.types import Tensor
from salver.spec.endpoint import Field
from salver.spec.learnt import learnt

__all__ = ("RuledSlot", "constrain", "described", "meant", "rules_of", "without_rules")

_BOUNDS: Final = (
    "gt",
    "ge",
    "lt",
    "le",
    "multiple_of",
    "pattern",
    "min_length",
    "max_length",
    "tz",
)


class RuledSlot(CarriedSlot):
    """Another slot, whose values are held to rules."""

    def __init__(self, carrier: Slot, hint: Any) -> None:
        if uses_pydantic(hint):
            loaded("pydantic")  # annotated_types can be there without it
        else:
            learnt(hint)  # calls are read in threads
        super().__init__(carrier, hint)

    def decode(self, tensor: Tensor) -> Any:
        try:
            return self._ruled(self.carrier.decode(tensor))
        except ContentError as error:
            if error.path.startswith(".data"):
                raise
            raise error.under(".data" if self.many else ".data[0]") from None

    def encode(self, name: str, value: Any) -> Tensor:
        tensor = self.carrier.encode(name, value)
        self._promise(name, value, self.carrier.decode(tensor))
        return tensor

    def from_text(self, text: bytes | msgspec.Raw) -> Any:
        return self._ruled(self.carrier.from_text(text))

    def from_plain(self, value: Any) -> Any:
        return self._ruled(self.carrier.from_plain(value))

    def to_plain(self, name: str, value: Any) -> Any:
        plain = self.carrier.to_plain(name, value)
        told = list(plain) if isinstance(plain, tuple) else plain  # as JSON has it
        self._promise(name, value, self.carrier.from_plain(told))
        return plain

    def schema(self) -> dict[str, Any]:
        bare = self.carrier.schema()
        if self.carrier.content_type not in ("number", "str", "json"):
            return bare
        told = schema_of(self.hint)
        return bare | told if "minimum" in bare else told or bare  # also what the datatype can hold

    def _ruled(self, value: Any) -> Any:
        return convert(value, self.hint)

    def _promise(self, name: str, value: Any, read: Any) -> None:
        try:
            self._ruled(read)
        except InvalidMessageError as error:
            what = getattr(self.carrier, "hint", self.carrier.content_type)
            what = getattr(what, "__name__", what)
            raise promised(name, what, f"{value!r:.60}", str(error)) from None


def meant(hint: Any) -> Any:
    """What a `NewType`, or a name from a `type` statement, stands for."""
    while True:
        if isinstance(hint, NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":  # of typing, or of typing_extensions
            hint = hint.__value__
        else:
            return hint


def rules_of(hint: Any) -> tuple[Any, ...]:
    """The rules that stand beside a type, or beside what is optional, and not within it."""
    hint = meant(hint)
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        return rules_of(arguments[0]) + tuple(filter(_is_rule, arguments[1:]))
    if type(None) in arguments and len(arguments) == 2:
        return rules_of(arguments[arguments[0] is type(None)])
    return ()


def described(rules: tuple[Any, ...]) -> str:
    """What they say in words."""
    return next((rule.description for rule in rules if getattr(rule, "description", None)), "")


def constrain(rules: tuple[Any, ...]) -> bool:
    """Whether they say anything of values. UnservableError: one says what is said elsewhere."""
    for rule in rules:
        for name in ("alias", "default", "default_factory"):
            if _is_field(rule) and getattr(rule, name) not in (None, _undefined()):
                raise UnservableError(
                    f"its pydantic.Field says {name}, which only fields of models have: a default "
                    "stands behind the annotation, a name in salver.Field(name=...)."
                )
    return any(map(_constrains, rules))


def without_rules(hint: Any) -> Any:
    """Lists of what has rules, as lists of the bare thing, which tensors carry."""
    if get_origin(hint) is not list or not (items := get_args(hint)):
        return hint
    bare = item = items[0]
    if get_origin(item) is Annotated and not any(isinstance(m, Field) for m in get_args(item)):
        bare = get_args(item)[0]
    bare = without_rules(bare)
    return hint if bare is item else list[bare]  # type: ignore[valid-type]


def _is_rule(mark: Any) -> bool:
    return isinstance(mark, msgspec.Meta) or is_mark(mark)


def _constrains(rule: Any) -> bool:
    if isinstance(rule, msgspec.Meta):
        return any(getattr(rule, name) is not None for name in _BOUNDS)
    return not _is_field(rule) or bool(rule.metadata or rule.discriminator)


def _is_field(rule: Any) -> bool:
    return is_instance(rule, "pydantic", "FieldInfo")


def _undefined() -> Any:
    return attribute("pydantic_core", "PydanticUndefined")
