"""YAML (and JSON) as plain data that remembers where each piece of it stands in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from salver.errors import ConfigError, Problem

__all__ = ("Document", "Path", "dotted", "read_document")

Path = tuple[str | int, ...]
Place = tuple[int, int]  # line and column, from 1

MAX_BYTES: Final = 4 << 20
MAX_PIECES: Final = 100_000  # of what aliases are expanded to
_MERGE: Final = "tag:yaml.org,2002:merge"
_TEXT: Final = "tag:yaml.org,2002:str"
_PLAIN: Final = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")}
_IDENTIFIER: Final = re.compile(r"[\w-]+")


class _Loader(yaml.SafeLoader):
    """Safe YAML with `1e5` a number, as in JSON, and dates and times of day left as text."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag.rpartition(":")[2] not in ("timestamp", "int", "float")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
               r"|\.[0-9][0-9_]*([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))$|\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)  # fmt: skip


def dotted(path: Path) -> str:
    """`applications[0].deployments[1].num_replicas`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _IDENTIFIER.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


class Document(msgspec.Struct):
    """The data of a file, and the places of its keys and values by their paths."""

    name: str
    value: Any
    keys: dict[Path, Place]
    values: dict[Path, Place]
    problems: list[Problem]

    def problem(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Note what is wrong at a path, at its value or at its key."""
        self.problems.append(self.problem_at(path, message, at_key=at_key))

    def problem_at(self, path: Path, message: str, *, at_key: bool = False) -> Problem:
        """A problem with the place of this path, or of the nearest thing that is in the file."""
        places = self.keys if at_key else self.values
        near = path
        while near not in places and near:
            near = near[:-1]
        line, column = places.get(near, (1, 1))
        return Problem(dotted(path), message, line, column)

    def raise_problems(self) -> None:
        """ConfigError with all that was noted, in the order of the file."""
        if self.problems:
            raise ConfigError(self.name, sorted(self.problems, key=lambda p: (p.line, p.column)))


def read_document(name: str, content: bytes) -> Document:
    """Parse; ConfigError says where it is no YAML. Other mistakes are noted in the document."""
    text = _decoded(name, content)
    document = Document(name, None, {}, {}, [])
    try:
        node = yaml.compose(text, _Loader)
        if node is None:
            raise ConfigError(name, [Problem("", "the file is empty: expected `applications:`.")])
        document.value = _Reader(document).value(node, ())
    except yaml.YAMLError as error:
        raise ConfigError(name, [_syntax(error)]) from None
    except RecursionError:
        raise ConfigError(name, [Problem("", "nested too deeply to be a configuration.")]) from None
    return document


def _decoded(name: str, content: bytes) -> str:
    if len(content) > MAX_BYTES:
        message = f"{len(content)} bytes: expected a configuration of at most {MAX_BYTES}."
        raise ConfigError(name, [Problem("", message)])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        message = f"byte 0x{content[error.start]:02x} is not UTF-8. Save the file as UTF-8."
        raise ConfigError(name, [Problem("", message, line, column)]) from None
    # JSON may be indented by tabs, which cannot stand in its texts; YAML may not.
    return text.replace("\t", " ") if text.lstrip().startswith(("{", "[")) else text


def _syntax(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    context = getattr(error, "context", None)
    if "'\\t'" in what:
        what = "a tab: YAML is indented by spaces"
    elif context and context not in what:
        what = f"{context}, {what}"
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    return Problem("", f"this is not valid YAML: {what}.", line, column)


class _Reader:
    """From nodes to data, with an eye on what YAML would let pass silently."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._scalars = _Loader("")
        self._open: set[int] = set()
        self._pieces = 0

    def value(self, node: Node, path: Path) -> Any:
        """The data of a node; its place is noted under its path."""
        self._document.values.setdefault(path, _place(node))
        self._pieces += 1
        if self._pieces > MAX_PIECES:
            self._stop(path, f"more than {MAX_PIECES} values, aliases counted as what they expand "
                             "to. Write a smaller file.")  # fmt: skip
        if id(node) in self._open:
            self._stop(path, "an alias of something that contains it: it would never end.")
        self._open.add(id(node))
        try:
            return self._content(node, path)
        finally:
            self._open.discard(id(node))

    def _stop(self, path: Path, message: str) -> None:
        raise ConfigError(self._document.name, [self._document.problem_at(path, message)])

    def _content(self, node: Node, path: Path) -> Any:
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if isinstance(node, SequenceNode) and node.tag.endswith(":seq"):
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, MappingNode) and node.tag.endswith(":map"):
            return self._mapping(node, path)
        self._document.problem(path, f"the tag {node.tag!r} is not known here. Leave it out.")
        return None

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        if node.tag not in _PLAIN:
            self._document.problem(path, f"the tag {node.tag!r} is not known here. Leave it out.")
            return None
        try:
            return self._scalars.construct_object(node)
        except (ValueError, yaml.YAMLError, LookupError):
            self._document.problem(path, f"{node.value!r} is no {node.tag.rpartition(':')[2]}.")
            return None

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in self._merged(node, path):
            found[key.value] = self._entry(key, value, path)
        seen: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                continue
            if not isinstance(key, ScalarNode) or key.tag != _TEXT:
                self._odd_key(key, path)
            elif key.value in seen:
                here = (*path, key.value)
                self._document.problems.append(Problem(
                    dotted(here), f"given twice: it is in line {seen[key.value]} already.",
                    *_place(key),
                ))  # fmt: skip
            else:
                seen[key.value] = _place(key)[0]
                found[key.value] = self._entry(key, value, path)
        return found

    def _entry(self, key: ScalarNode, value: Node, path: Path) -> Any:
        here = (*path, key.value)
        self._document.keys[here] = _place(key)
        self._document.values.pop(here, None)
        return self.value(value, here)

    def _odd_key(self, key: Node, path: Path) -> None:
        what = repr(key.value) if isinstance(key, ScalarNode) else "a list or a mapping"
        self._document.problems.append(Problem(
            dotted(path), f"{what} is not text, and a key must be: put it in quotes.", *_place(key)
        ))  # fmt: skip

    def _merged(self, node: MappingNode, path: Path) -> Iterator[tuple[ScalarNode, Node]]:
        """The entries that `<<: *defaults` brings in; of several, the first one's count."""
        sources: list[Node] = []
        for key, value in node.value:
            if key.tag == _MERGE:
                sources += value.value if isinstance(value, SequenceNode) else [value]
        for source in reversed(sources):
            if not isinstance(source, MappingNode):
                self._document.problem(path, "`<<` takes a mapping, or a list of them.")
                continue
            if id(source) in self._open:
                self._stop(path, "an alias of something that contains it: it would never end.")
            self._open.add(id(source))
            yield from self._merged(source, path)
            self._open.discard(id(source))
            for key, value in source.value:
                if isinstance(key, ScalarNode) and key.tag == _TEXT:
                    yield key, value


def _place(node: Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1
