"""A bound app as an ordered list of named parts: callees first, each once, no cycles."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ("CycleError", "DuplicateNameError", "Graph")

T = TypeVar("T")


class CycleError(ValueError):
    """A part needs itself to be there first."""


class DuplicateNameError(ValueError):
    """Two parts were given the same name on purpose."""


@dataclass
class Graph(Generic[T]):
    """Parts in the order in which they must start, found while each is built.

    `add` is called for the root; building a part calls `add` again for each part that it needs.
    """

    parts: list[T] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)  # new name -> the name that was taken
    _names: dict[int, str] = field(default_factory=dict)
    _keep: list[object] = field(default_factory=list)  # so that no identity is used twice
    _open: list[tuple[int, str]] = field(default_factory=list)
    _origins: dict[str, Hashable] = field(default_factory=dict)

    def add(
        self, node: object, name: str, build: Callable[[str], T], origin: Hashable | None = None
    ) -> str:
        """The name of a node's part, which is built the first time the node is met.

        `origin` says who chose the name on purpose: two choices of one name are refused, all other
        meetings get a number (`name_1`).
        """
        key = id(node)
        if any(key == other for other, _ in self._open):
            way = " -> ".join([*(n for _, n in self._open), name])
            raise CycleError(
                f"These deployments are bound in a circle: {way}. "
                "A deployment cannot be an argument of itself; pass a name and use "
                "`get_deployment_handle(name)` inside the call instead."
            )
        if key in self._names:
            return self._names[key]
        self._keep.append(node)
        self._open.append((key, name))
        taken = self._free(name, origin)
        part = build(taken)
        self._open.pop()
        self._names[key] = taken
        self.parts.append(part)
        return taken

    def _free(self, name: str, origin: Hashable | None) -> str:
        if name not in self._origins:
            self._origins[name] = origin
            return name
        first = self._origins[name]
        if origin is not None and first is not None and origin != first:
            raise DuplicateNameError(
                f"Two deployments of this app are both named {name!r}. "
                "Give one of them another name: `.options(name=...)`."
            )
        number = 1
        while f"{name}_{number}" in self._origins:
            number += 1
        unique = f"{name}_{number}"
        self._origins[unique] = None
        self.renamed[unique] = name
        return unique
