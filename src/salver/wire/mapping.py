"""A peer's arena, mapped read-only here; a slab stays lent while anything here reads it."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet, WeakValueDictionary

from salver.wire import memfd
from salver.wire.messages import ArenaNote

__all__ = ("Mapping", "Mappings", "address_of")


class Mapping:
    """One arena of a peer. Unmapped when the last lease, link and view of it are gone."""

    __slots__ = ("__weakref__", "_map", "base", "heard_by", "note")

    def __init__(self, note: ArenaNote) -> None:
        """OSError, ValueError: it cannot be reached, or is not an arena."""
        with memfd.open_peer(note.pid, note.fd, "arena", note.arena, note.size) as file:
            self._map = mmap.mmap(file.fd, note.size, prot=mmap.PROT_READ)
        self.note = note
        self.base = address_of(self._map)
        self.heard_by: WeakSet[Any] = WeakSet()  # the links that announced it: their `Lending`s

    def lease(
        self, number: int, offset: int, length: int, give_back: Callable[[int], None]
    ) -> memoryview:
        """A view of a slab. `give_back(number)` is called, in whatever thread, when it and all
        that was made from it (slices, arrays) are gone. ValueError: outside the arena."""
        size = self.note.size
        if offset > size or length > size - offset:
            raise ValueError(f"a lease of {length} bytes at {offset} in an arena of {size}")
        order = (length - 1).bit_length()
        fits = order < len(_KINDS) and 1 << order <= size - offset
        kind = _KINDS[order] if fits else _kind(length)
        lease = kind.from_address(self.base + offset)
        lease.mapping = self
        lease.number = number
        lease.give_back = give_back
        return memoryview(lease).cast("B").toreadonly()[:length]

    def offset_of(self, address: int, length: int) -> int | None:
        """Where in this arena that memory lies, if it does."""
        offset = address - self.base
        return offset if 0 <= offset <= self.note.size - length else None


class Mappings:
    """The arenas that this process has mapped, each once."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: WeakValueDictionary[int, Mapping] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._open)

    def open(self, note: ArenaNote) -> Mapping | None:
        """The arena, mapped now or before; None when it cannot be reached from here."""
        mapping = self._open.get(note.arena)
        if mapping is not None:
            return mapping if mapping.note.size == note.size else None
        try:
            mapping = Mapping(note)
        except (OSError, ValueError):
            return None
        self._open[note.arena] = mapping
        return mapping

    def find(self, view: memoryview) -> tuple[Mapping, int] | None:
        """The arena that a buffer lies in, and where."""
        if not self._open:
            return None
        address = address_of(view)
        for mapping in list(self._open.values()):
            offset = mapping.offset_of(address, view.nbytes)
            if offset is not None:
                return mapping, offset
        return None


# A memoryview tells nobody when it goes, and its slices share one managed buffer. So the object
# that exports the buffer must be one of ours, cost nothing per byte and know when it is freed: a
# ctypes union over the address. (Of all ctypes, only unions export plain bytes, format "B".) Unions
# have fixed sizes, hence one type per power of two; the view is then cut to length.


class _Lease(ctypes.Union):
    mapping: Mapping
    number: int
    give_back: Callable[[int], None]

    def __del__(self) -> None:
        self.give_back(self.number)


def _kind(size: int) -> type[_Lease]:
    return type(f"_Lease{size}", (_Lease,), {"_fields_": [("bytes", ctypes.c_ubyte * size)]})


_KINDS: Final = tuple(_kind(1 << order) for order in range(27))


class _Buffer(ctypes.Structure):
    """CPython's Py_buffer."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def address_of(exporter: Any) -> int:
    """Where the bytes of a buffer are. (ctypes itself only tells it of writable ones.)"""
    buffer = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(
        ctypes.py_object(exporter), ctypes.byref(buffer), ctypes.c_int(0)
    )
    try:
        return int(buffer.buf or 0)
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
