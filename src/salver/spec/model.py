"""What Ray Serve's users do with its configuration objects, which are pydantic models there."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from copy import deepcopy
from typing import Any, NoReturn, Self, dataclass_transform

import msgspec

from salver.spec.fields import check_field
from salver.spec.mistakes import unknown
from salver.spec.structs import default, fields_of

__all__ = ("ConfigModel", "Fields", "KnownFields", "LikeModel")

Fields = dict[str, Any]


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class KnownFields(msgspec.StructMeta):
    """A keyword that does not exist is answered with the nearest that does."""

    def __call__(cls, *args: Any, **given: Any) -> Any:  # noqa: N805 - a class is its "self"
        for name in given:
            if name not in cls.__struct_fields__:
                cls.refuse(name)
        return super().__call__(*args, **given)

    def refuse(cls, name: str) -> NoReturn:  # noqa: N805
        """Classes that once had others say where these are now."""
        raise TypeError(unknown(name, cls.__struct_fields__, f"a field of {cls.__name__}"))


class LikeModel:
    """The methods of a pydantic model, in its new spelling and its old one."""

    __slots__ = ()

    @classmethod
    def model_validate(cls, obj: object) -> Self:
        """Make one from a mapping of its fields; one that is made already is taken as it is."""
        if isinstance(obj, cls):
            return obj
        if not isinstance(obj, Mapping):
            raise TypeError(f"{cls.__name__} is made from a dict of its fields, got {obj!r}.")
        return cls(**obj)

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """Make one from JSON."""
        return cls.model_validate(json.loads(text))

    @classmethod
    def parse_obj(cls, obj: object) -> Self:
        """`model_validate`, as it was called before."""
        return cls.model_validate(obj)

    @classmethod
    def parse_raw(cls, text: str | bytes) -> Self:
        """`model_validate_json`, as it was called before."""
        return cls.model_validate_json(text)

    def model_dump(
        self,
        *,
        mode: str = "python",
        include: Collection[str] | None = None,
        exclude: Collection[str] = (),
        exclude_unset: bool = False,
        exclude_defaults: bool = False,
        exclude_none: bool = False,
    ) -> Fields:
        """The fields as plain data. What is as its default counts as not set."""
        plain = {
            name: value
            for name, value in _fields(self, given=exclude_unset or exclude_defaults).items()
            if (include is None or name in include) and name not in exclude
            if not (exclude_none and value is None)
        }
        return plain if mode == "python" else dict(msgspec.to_builtins(plain))

    def model_dump_json(self, **options: Any) -> str:
        """The same as JSON."""
        return json.dumps(self.model_dump(mode="json", **options))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Another one, in which these fields are others: they are checked, too."""
        fields = {**self._set(), **(update or {})}
        return type(self)(**(deepcopy(fields) if deep else fields))

    def _set(self) -> Fields:
        """The fields that differ from their defaults, as they are."""
        raise NotImplementedError

    def _all(self) -> Fields:
        raise NotImplementedError

    json = model_dump_json
    copy = model_copy
    dict = model_dump


class ConfigModel(
    LikeModel, msgspec.Struct, frozen=True, forbid_unknown_fields=True, metaclass=KnownFields
):
    """What users configure something by: an immutable record that knows its fields."""

    def _check_fields(self, *, without: str = "") -> None:
        """Each is what its type makes of what was given. TypeError, ValueError: it cannot be."""
        for name in self.__struct_fields__:
            if name != without:
                value = check_field(type(self), name, getattr(self, name))
                msgspec.structs.force_setattr(self, name, value)

    def _set(self) -> Fields:
        return {
            name: value
            for name, value in self._all().items()
            if fields_of(type(self))[name].required or value != default(type(self), name)
        }

    def _all(self) -> Fields:
        return msgspec.structs.asdict(self)


def _fields(model: LikeModel, *, given: bool) -> Fields:
    whole = model._set() if given else model._all()
    return {name: _plain(value, given=given) for name, value in whole.items()}


def _plain(value: Any, *, given: bool) -> Any:
    if isinstance(value, LikeModel):
        return _fields(value, given=given)
    if isinstance(value, list | tuple):
        return type(value)(_plain(item, given=given) for item in value)
    return value
