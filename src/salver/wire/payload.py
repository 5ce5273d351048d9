"""Python objects as bytes and buffers, and back. Pickle 5: only between our own processes."""

from __future__ import annotations

import contextlib
import io
import pickle
import traceback
from collections.abc import Sequence
from typing import Any, Final

from salver.errors import SalverError
from salver.wire.frames import LARGE

__all__ = (
    "Segments",
    "dump_error",
    "dumps",
    "dumps_call",
    "load_error",
    "loads",
)

_NO_ARGUMENTS: Final = pickle.dumps(((), {}), 5)
_FLAT: Final = frozenset((bytes, bytearray))
# Nothing of these is apart or by value: most arguments and results are.
_PLAIN: Final = frozenset((int, float, bool, str, type(None)))
_NOTE: Final = "\nThe traceback where it was raised:\n"


class Segments:
    """A payload of which parts were received apart: pickled bytes and the buffers they refer to.

    A buffer that lies in shared memory stays lent for as long as anything refers to it.
    """

    __slots__ = ("buffers", "inline")

    def __init__(self, inline: bytes, buffers: list[memoryview]) -> None:
        self.inline = inline
        self.buffers = buffers

    def __len__(self) -> int:
        return len(self.inline) + sum(buffer.nbytes for buffer in self.buffers)


def dumps(obj: Any) -> tuple[bytes, list[memoryview]]:
    """The object as pickled bytes, and its large buffers apart, not copied.

    Objects that plain pickle cannot hold, or that a script defines in its `__main__` (there is
    nothing of that name to import elsewhere), go by value.
    """
    kind = type(obj)
    if kind in _PLAIN or (kind in _FLAT and len(obj) < LARGE):
        return pickle.dumps(obj, 5), []
    return _dumps(_apart(obj))


def _dumps(obj: object) -> tuple[bytes, list[memoryview]]:
    buffers: list[memoryview] = []

    def apart(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < LARGE:
            return True
        buffers.append(view)
        return False

    try:
        data = pickle.dumps(obj, 5, buffer_callback=apart)
        if b"__main__" not in data:
            return data, buffers
    except Exception:  # noqa: BLE001, S110 - of a user's `__reduce__`: the second try reports it
        pass
    buffers.clear()
    return _by_value(obj, apart), buffers


def dumps_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, list[memoryview]]:
    """`dumps((args, kwargs))`, with large `bytes` among the arguments apart, too."""
    if not args and not kwargs:
        return _NO_ARGUMENTS, []
    plain = True
    for value in (*args, *kwargs.values()) if kwargs else args:
        kind = type(value)
        if kind in _FLAT and len(value) >= LARGE:
            args = tuple([_apart(v) for v in args])
            kwargs = {k: _apart(v) for k, v in kwargs.items()}
            plain = False
            break
        plain = plain and (kind in _PLAIN or kind in _FLAT)
    if plain:
        return pickle.dumps((args, kwargs), 5), []
    return _dumps((args, kwargs))


def loads(payload: bytes | Segments) -> Any:
    """The object again. Arrays over received buffers are read-only."""
    if isinstance(payload, bytes):
        return pickle.loads(payload)
    return pickle.loads(payload.inline, buffers=payload.buffers)


class _Bytes:
    """Stands for bytes in a pickle: left alone, pickle would copy them into the stream."""

    __slots__ = ("value",)

    def __init__(self, value: bytes | bytearray) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self.value), (pickle.PickleBuffer(self.value),)


def _apart(value: Any) -> Any:
    return _Bytes(value) if type(value) in _FLAT and len(value) >= LARGE else value


def _by_value(obj: object, apart: Any = None) -> bytes:
    import cloudpickle  # a fifth of a second of memory and time that most processes never need

    data: bytes = cloudpickle.dumps(obj, 5, buffer_callback=apart)
    return data


# ------------------------------------------------------------------------------------- errors


def dump_error(error: BaseException) -> bytes:
    """An exception with its type, arguments, fields and traceback, as bytes. Never raises."""
    text = _format(error)
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    return pickle.dumps((_portable(error), kind, _message(error), text), 5)


def load_error(payload: bytes | Segments) -> BaseException:
    """The exception again, the remote traceback in its notes. What cannot be rebuilt here comes
    as a SalverError that names the type and the message."""
    inline = payload if isinstance(payload, bytes) else payload.inline
    data, kind, message, text = pickle.loads(inline)
    error: BaseException | None = None
    if data is not None:
        with contextlib.suppress(Exception):  # a user's constructor or module; told below
            error = pickle.loads(data)
    if not isinstance(error, BaseException):
        error = SalverError(f"{kind}: {message}")
    _attach(error, text)
    return error


def _portable(error: BaseException) -> bytes | None:
    """A pickle that was seen to give the same type of exception back; None if there is none."""
    for dump in (_plain, _by_value, _without_constructors):
        try:
            data = dump(error)
            if type(pickle.loads(data)) is type(error):
                return data
        except Exception:  # noqa: BLE001, S112 - users' types; the next way may hold them
            continue
    return None


def _plain(obj: object) -> bytes:
    data = pickle.dumps(obj, 5)
    if b"__main__" in data:
        raise pickle.PicklingError("must go by value")
    return data


def _without_constructors(error: BaseException) -> bytes:
    """For exceptions, also within others, whose constructors do not take their own `args`."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, BaseException) and type(obj).__module__ != "builtins":
                return _rebuild, (type(obj), obj.args, dict(obj.__dict__))
            return super().reducer_override(obj)

    out = io.BytesIO()
    Pickler(out, 5).dump(error)
    return out.getvalue()


def _rebuild(
    kind: type[BaseException], args: Sequence[Any], fields: dict[str, Any]
) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = tuple(args)
    error.__dict__.update(fields)
    return error


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a user's `__str__` may fail; the type still tells
        return "(its message cannot be shown)"


def _format(error: BaseException) -> str:
    try:
        out = io.StringIO()
        traceback.print_exception(error, file=out)
        return out.getvalue().rstrip()
    except Exception:  # noqa: BLE001 - as above
        return f"{type(error).__qualname__}: {_message(error)}"


def _attach(error: BaseException, text: str) -> None:
    with contextlib.suppress(AttributeError, TypeError):  # types that take no attributes
        notes = [n for n in getattr(error, "__notes__", ()) if not str(n).startswith(_NOTE)]
        indented = "\n".join("  " + line for line in text.splitlines())
        error.__notes__ = [*notes, _NOTE + indented]
