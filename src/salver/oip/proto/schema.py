"""Reads a .proto file into a descriptor: the part of the language that ours is written in.

So the file that users give to their code generators is the very one the server runs by, and
nothing generated has to be kept beside it. A test compares the result with protoc's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    ServiceDescriptorProto,
)

__all__ = ("read_proto",)

_TOKEN: Final = re.compile(r'//[^\n]*|"[^"]*"|[A-Za-z_][\w.]*|\d+|[{}<>=;(),]')
_Field = FieldDescriptorProto
_SCALARS: Final = {
    name: getattr(_Field, f"TYPE_{name.upper()}")
    for name in ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")
}


class _Tokens:
    def __init__(self, text: str) -> None:
        found: Iterator[str] = (match[0] for match in _TOKEN.finditer(text))
        self._left = [token for token in found if not token.startswith("//")][::-1]

    def __bool__(self) -> bool:
        return bool(self._left)

    def next(self) -> str:
        return self._left.pop()

    def expect(self, *tokens: str) -> None:
        for token in tokens:
            found = self.next()
            if found != token:
                raise ValueError(f"Expected {token!r} in the .proto file, got {found!r}.")

    def skip(self, token: str) -> bool:
        """Take the next token if it is this one."""
        if self._left and self._left[-1] == token:
            self._left.pop()
            return True
        return False


def read_proto(text: str, name: str) -> FileDescriptorProto:
    """The descriptor of a proto3 file of that name."""
    tokens = _Tokens(text)
    file = FileDescriptorProto(name=name, syntax="proto3")
    tokens.expect("syntax", "=", '"proto3"', ";", "package")
    file.package = tokens.next()
    tokens.expect(";")
    while tokens:
        keyword = tokens.next()
        if keyword == "message":
            _message(tokens, file.message_type.add())
        elif keyword == "enum":
            _enum(tokens, file.enum_type.add())
        elif keyword == "service":
            _service(tokens, file.service.add(), file.package)
        else:
            raise ValueError(f"Unexpected {keyword!r} in the .proto file.")
    package = f".{file.package}"
    visible = {message.name: f"{package}.{message.name}" for message in file.message_type}
    enums = {enum.name: f"{package}.{enum.name}" for enum in file.enum_type}
    for message in file.message_type:
        _resolve(message, visible, enums)
    return file


def _message(tokens: _Tokens, message: DescriptorProto) -> None:
    message.name = tokens.next()
    tokens.expect("{")
    while not tokens.skip("}"):
        kind = tokens.next()
        if kind == "message":
            _message(tokens, message.nested_type.add())
        elif kind == "oneof":
            message.oneof_decl.add(name=tokens.next())
            tokens.expect("{")
            while not tokens.skip("}"):
                field = _field(tokens, message, tokens.next(), _Field.LABEL_OPTIONAL)
                field.oneof_index = len(message.oneof_decl) - 1
        elif kind == "repeated":
            _field(tokens, message, tokens.next(), _Field.LABEL_REPEATED)
        elif kind == "map":
            _map(tokens, message)
        else:
            _field(tokens, message, kind, _Field.LABEL_OPTIONAL)


def _field(
    tokens: _Tokens, message: DescriptorProto, kind: str, label: _Field.Label.ValueType
) -> FieldDescriptorProto:
    field = message.field.add(name=tokens.next(), label=label)
    _typed(field, kind)
    tokens.expect("=")
    field.number = int(tokens.next())
    tokens.expect(";")
    field.json_name = _camel(field.name)
    return field


def _map(tokens: _Tokens, message: DescriptorProto) -> None:
    """A map is a repeated message of key and value, by protobuf's own definition."""
    tokens.expect("<")
    key = tokens.next()
    tokens.expect(",")
    value = tokens.next()
    tokens.expect(">")
    field = _field(tokens, message, "", _Field.LABEL_REPEATED)
    entry = message.nested_type.add(name=field.json_name[0].upper() + field.json_name[1:] + "Entry")
    entry.options.map_entry = True
    for number, (name, kind) in enumerate((("key", key), ("value", value)), start=1):
        part = entry.field.add(
            name=name, number=number, label=_Field.LABEL_OPTIONAL, json_name=name
        )
        _typed(part, kind)
    field.type = _Field.TYPE_MESSAGE
    field.type_name = entry.name


def _typed(field: FieldDescriptorProto, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type_name = kind


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


def _enum(tokens: _Tokens, enum: EnumDescriptorProto) -> None:
    enum.name = tokens.next()
    tokens.expect("{")
    while not tokens.skip("}"):
        value = enum.value.add(name=tokens.next())
        tokens.expect("=")
        value.number = int(tokens.next())
        tokens.expect(";")


def _service(tokens: _Tokens, service: ServiceDescriptorProto, package: str) -> None:
    service.name = tokens.next()
    tokens.expect("{")
    while not tokens.skip("}"):
        tokens.expect("rpc")
        method = service.method.add(name=tokens.next())
        for side in ("input", "output"):
            tokens.expect("(")
            streams = tokens.skip("stream")
            setattr(method, f"{side}_type", f".{package}.{tokens.next()}")
            if streams:
                setattr(method, "client_streaming" if side == "input" else "server_streaming", True)
            tokens.expect(")")
            if side == "input":
                tokens.expect("returns")
        tokens.expect(";")


def _resolve(message: DescriptorProto, visible: dict[str, str], enums: dict[str, str]) -> None:
    """Full names and kinds for the types that fields name; nested messages hide outer ones."""
    here = visible[message.name]
    visible = visible | {inner.name: f"{here}.{inner.name}" for inner in message.nested_type}
    for field in message.field:
        if field.type_name:
            is_enum = field.type_name in enums
            field.type = _Field.TYPE_ENUM if is_enum else _Field.TYPE_MESSAGE
            field.type_name = (enums if is_enum else visible)[field.type_name]
    for inner in message.nested_type:
        _resolve(inner, visible, enums)
