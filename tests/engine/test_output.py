"""Lines on their way to the log, with pipes that this test holds both ends of."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.engine.output import LINE, Output, Source
from salver.engine.selecting import Loop


@pytest.fixture
def target() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        yield file


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_the_end_of_one_process_never_closes_the_pipe_of_another(
    loop: Loop, target: IO[bytes]
) -> None:
    """A descriptor's number is used again as soon as it is free: by the next process's pipe."""
    output = Output(loop, target.fileno())
    first_in, first_out = os.pipe()
    first = output.add(first_in, "first")
    os.close(first_out)
    output._read(first)  # its end is seen before its death is
    second_in, second_out = os.pipe()
    assert second_in == first_in
    output.add(second_in, "second")
    output.end(first)
    os.write(second_out, b"lives\n")
    os.close(second_out)
    output.flush(1)
    target.seek(0)
    assert target.read() == b"[second] lives\n"


@given(st.binary(max_size=200), st.lists(st.integers(1, 50), max_size=20))
def test_any_split_of_the_bytes_gives_the_same_lines(data: bytes, cuts: list[int]) -> None:
    data = data * 3
    whole = Source(-1, "p")
    expected = whole.lines(data) + whole.rest()
    split, found = Source(-1, "p"), b""
    for cut in cuts:
        found += split.lines(data[:cut])
        data = data[cut:]
    found += split.lines(data) + split.rest()
    assert found == expected


def test_a_long_line_is_shown_in_pieces() -> None:
    source = Source(-1, "p")
    shown = source.lines(b"x" * (2 * LINE + 5) + b"\n").splitlines()
    assert [len(piece) - len(b"[p] ") for piece in shown] == [LINE, LINE, 5]


def test_a_record_is_shown_as_it_is_however_it_is_cut() -> None:
    record = b'{"message":"' + b"x" * (2 * LINE) + b'"}'
    source, shown = Source(-1, "p"), b""
    for piece in (b"plain\n\x1e", record[:LINE], record[LINE:], b"\nplain\n"):
        shown += source.lines(piece)
    assert shown == b"[p] plain\n" + record + b"\n[p] plain\n"


def test_a_reader_that_is_gone_holds_nobody_up(loop: Loop) -> None:
    log_in, log_out = os.pipe()
    os.close(log_in)
    output = Output(loop, log_out)
    child_in, child_out = os.pipe()
    source = output.add(child_in, "p")
    os.write(child_out, b"words\n" * 100)
    os.close(child_out)
    output.end(source)
    output.flush(0)
    os.close(log_out)


TRACE = b"""Traceback (most recent call last):
  File "a.py", line 1, in <module>
    import b
    ^^^^^^^^
"""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", ""),
        (b"starts\nAborted: no memory\n\n", "Aborted: no memory"),
        (b"without an end", "without an end"),
        (TRACE + b"ImportError: no b\n", "ImportError: no b"),
        (TRACE + b"TypeError: too old\n\n 1. Downgrade.\nMore: https://b\n", "TypeError: too old"),
        (TRACE + b"ImportError: no b\n" + TRACE + b"ValueError: last\nbye\n", "ValueError: last"),
        (b"x" * 10_000 + b"\n" + TRACE + b"E: " + b"y" * 1000, "E: " + "y" * 297),
    ],
)
def test_last_words_are_the_error_of_a_traceback_or_the_last_line(said: bytes, words: str) -> None:
    source = Source(-1, "p")
    for start in range(0, len(said), 700):
        source.lines(said[start : start + 700])
    assert source.last_words() == words
