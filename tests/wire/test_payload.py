"""Objects and exceptions survive the way, whatever users make of them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver import errors
from salver.errors import SalverError
from salver.wire.frames import LARGE
from salver.wire.payload import (
    Segments,
    dump_error,
    dumps,
    dumps_call,
    load_error,
    loads,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


def there_and_back(obj: Any) -> Any:
    inline, buffers = dumps(obj)
    return loads(Segments(inline, buffers) if buffers else inline)


@given(PLAIN)
def test_plain_data_comes_back(obj: Any) -> None:
    assert there_and_back(obj) == obj
    inline, buffers = dumps_call((obj,), {"k": obj})
    assert not buffers
    assert loads(inline) == ((obj,), {"k": obj})


def test_large_arrays_go_apart_and_small_ones_do_not() -> None:
    large, small = np.arange(LARGE, dtype=np.uint8), np.arange(10)
    inline, buffers = dumps({"large": large, "small": small, "turned": large.reshape(256, -1).T})
    assert [b.nbytes for b in buffers] == [LARGE, LARGE]
    assert len(inline) < 1000
    back = loads(Segments(inline, buffers))
    assert (back["large"] == large).all()
    assert (back["small"] == small).all()
    assert (back["turned"] == large.reshape(256, -1).T).all()
    assert np.shares_memory(back["large"], large)


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_large_bytes_go_apart(kind: type[Any]) -> None:
    data = kind(b"x" * LARGE)
    inline, buffers = dumps(data)
    assert len(inline) < 200
    assert loads(Segments(inline, buffers)) == data
    assert type(loads(Segments(inline, buffers))) is kind
    inline, buffers = dumps_call((1, data), {"b": data})
    assert len(buffers) == 2
    assert loads(Segments(inline, buffers)) == ((1, data), {"b": data})


def test_a_function_made_on_the_spot_goes_by_value() -> None:
    secret = 3
    assert there_and_back(lambda x: x + secret)(4) == 7


def test_what_a_script_defines_arrives_elsewhere(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from salver.wire.payload import dumps, dump_error\n"
        "class Mine:\n    def __init__(self): self.x = 5\n"
        "class Broken(Exception):\n    def __init__(self, *, code): self.code = code\n"
        "sys.stdout.write(dumps(Mine())[0].hex() + ' ' + dump_error(Broken(code=4)).hex())\n"
    )
    out = subprocess.run([sys.executable, str(script)], capture_output=True, check=True, env=env())
    value, error = (bytes.fromhex(part) for part in out.stdout.decode().split())
    assert loads(value).x == 5
    raised = load_error(error)
    assert (type(raised).__name__, raised.code) == ("Broken", 4)  # type: ignore[attr-defined]


def test_what_nothing_can_pickle_is_an_error_at_once() -> None:
    with pytest.raises(TypeError, match="lock"):
        dumps(threading.Lock())


class NeedsKeyword(Exception):
    def __init__(self, *, code: int, why: str) -> None:
        super().__init__(f"{why} ({code})")
        self.code = code


class NeedsTwo(ValueError):
    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class HoldsLock(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class CannotSay(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Point(msgspec.Struct):
    x: int


class Model(pydantic.BaseModel):
    x: int


@dataclasses.dataclass
class Declared(Exception):
    code: int


def invalid(make: Any) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        make()
    return caught.value


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as again:  # noqa: BLE001
        return again


@pytest.mark.parametrize(
    "error",
    [
        ValueError("wrong", 3),
        KeyError("k"),
        SystemExit(3),
        NeedsKeyword(code=7, why="because"),
        NeedsTwo(7, "because"),
        Declared(3),
        errors.BackPressureError(3, 2),
        errors.RequestTimeoutError(1.5, "request_timeout_s"),
        errors.ReplicaDiedError("app#d#1", "killed"),
        invalid(lambda: msgspec.convert({"x": "y"}, Point)),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
        OSError(2, "No such file"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_an_exception_arrives_as_it_was(error: BaseException) -> None:
    back = load_error(dump_error(raised(error)))
    assert type(back) is type(error)
    assert back.args == error.args
    assert str(back) == str(error)
    fields = {k: v for k, v in back.__dict__.items() if k in error.__dict__ and k != "__notes__"}
    assert fields == error.__dict__
    assert "in raised" in back.__notes__[-1]


def test_a_validation_error_of_pydantic_says_what_was_wrong() -> None:
    error = invalid(lambda: Model(x="y"))  # type: ignore[arg-type]
    back = load_error(dump_error(error))
    assert "Input should be a valid integer" in str(back)
    assert type(back) is type(error) or isinstance(back, SalverError)


def test_a_group_arrives_with_its_members() -> None:
    group = ExceptionGroup("both", [ValueError(1), NeedsTwo(2, "x"), KeyError("k")])
    back = load_error(dump_error(group))
    assert isinstance(back, ExceptionGroup)
    assert back.message == "both"
    assert [type(e) for e in back.exceptions] == [ValueError, NeedsTwo, KeyError]


@pytest.mark.parametrize("error", [HoldsLock(), CannotSay()])
def test_what_cannot_be_carried_arrives_as_an_error_that_names_it(error: Exception) -> None:
    back = load_error(dump_error(raised(error)))
    assert type(back) in (SalverError, type(error))
    assert type(error).__qualname__ in back.__notes__[-1]
    if isinstance(back, SalverError):
        assert str(back) == f"{__name__}.HoldsLock: holds a lock"


def test_the_remote_traceback_is_shown_once_however_often_it_travels() -> None:
    import traceback

    error: BaseException = raised(ValueError("first"))
    for _ in range(3):
        error = raised(load_error(dump_error(error)))
    text = "".join(traceback.format_exception(error))
    assert len([n for n in error.__notes__ if "traceback where it was raised" in n]) == 1
    assert text.count("raise error") >= 4  # every hop
    assert len(text) < 6000


def env() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
