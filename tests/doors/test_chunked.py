from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.doors.chunked import ChunkedDecoder, ChunkedError


def read(data: bytes, cut: int = 1 << 30) -> tuple[bytes, bool, bytes]:
    decoder = ChunkedDecoder()
    body = b"".join(decoder.feed(data[at : at + cut]) for at in range(0, len(data), cut))
    return body, decoder.done, decoder.rest


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=5),
    st.integers(1, 40),
    st.binary(max_size=20),
)
def test_any_cut_gives_the_same_body(parts: list[bytes], cut: int, after: bytes) -> None:
    data = b"".join(b"%X;a=b\r\n%b\r\n" % (len(part), part) for part in parts)
    data += b"0\r\nTrailer: x\r\n\r\n" + after
    assert read(data, cut) == (b"".join(parts), True, after)


@pytest.mark.parametrize(
    "data",
    [
        b"g\r\n",
        b"\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"1 \r\n",
        b"1\n",
        b"1\r1",
        b"1" * 17 + b"\r\n",
        b"1;\x00\r\n",
        b"1;\x0b\r\n",
        b"1;" + b"a" * 300,
        b"1\r\nab\r\n",
        b"1\r\na\n",
        b"1\r\na\rb",
        b"0\r\nbad trailer\r\n",
        b"0\r\n folded: x\r\n",
        b"0\r\nA: b\n",
        b"0\r\n" + b"A: bbbbbbbbbbbbbbbbbbbbb\r\n" * 500,
        (b"1;" + b"e" * 200 + b"\r\na\r\n") * 100,
        b"0\r\n\n",
    ],
)
@pytest.mark.parametrize("cut", [1, 2, 7, 100000])
def test_wrong_framing_is_refused_however_it_is_cut(data: bytes, cut: int) -> None:
    with pytest.raises(ChunkedError):
        read(data, cut)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_nothing_but_its_own_error_comes_out(data: bytes, cut: int) -> None:
    def outcome(cut: int) -> object:
        try:
            return read(data, cut)
        except ChunkedError:
            return "refused"

    assert outcome(cut) == outcome(len(data) + 1)
