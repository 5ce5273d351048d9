"""Compressed bodies: what was packed comes out, and never more than is let in."""

from __future__ import annotations

import gzip
import random
import zlib
from contextlib import suppress

import hypothesis.strategies as st
import pytest
from hypothesis import given

from salver.oip.errors import MalformedBodyError, UnsupportedError
from salver.replica.oip.coding import TooLargeError, compressed, inflated, preferred


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "GZIP ", "gzip, deflate"]))
def test_what_was_packed_comes_out(data: bytes, coding: str) -> None:
    packed = data
    for name in coding.split(","):
        packed = gzip.compress(packed) if "gz" in name.lower() else zlib.compress(packed)
    assert inflated(packed, coding, 10_000) == data


def test_deflate_may_be_bare() -> None:
    packer = zlib.compressobj(wbits=-15)
    assert inflated(packer.compress(b"abc") + packer.flush(), "deflate", 10) == b"abc"


def test_gzip_may_have_several_members() -> None:
    packed = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two")
    assert inflated(packed, "gzip", 6) == b"onetwo"
    with pytest.raises(TooLargeError):
        inflated(packed, "gzip", 5)
    for wrong in (packed[:-1], packed + b"more"):
        with pytest.raises(MalformedBodyError):
            inflated(wrong, "gzip", 6)
    with pytest.raises(MalformedBodyError, match="no whole gzip stream"):
        inflated(gzip.compress(b"") * 100_000, "gzip", 6)  # costs no more than some of them
    with pytest.raises(MalformedBodyError, match="no whole deflate stream"):
        inflated(zlib.compress(b"a") + zlib.compress(b"b"), "deflate", 6)


def test_a_bomb_is_stopped_where_the_limit_is() -> None:
    bomb = gzip.compress(b"\0" * 1_000_000)
    with pytest.raises(TooLargeError, match=r"^the body is longer than 1000 bytes once"):
        inflated(bomb, "gzip", 1000)
    assert len(inflated(bomb, "gzip", 1_000_000)) == 1_000_000


@given(st.binary(max_size=60), st.sampled_from(["gzip", "deflate"]))
def test_noise_is_refused_or_read_and_nothing_else(data: bytes, coding: str) -> None:
    with suppress(MalformedBodyError):
        assert len(inflated(data, coding, 1000)) <= 1000


def test_half_a_stream_is_no_stream() -> None:
    with pytest.raises(MalformedBodyError, match="no whole gzip stream"):
        inflated(gzip.compress(b"x" * 100)[:-9], "gzip", 1000)


def test_unknown_codings_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"^content encoding 'br' is not known"):
        inflated(b"", "br", 10)
    assert inflated(b"x", "identity", 10) == b"x"


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("gzip, deflate, br", "gzip"),
        ("deflate;q=1, gzip;q=0.5", "deflate"),
        ("gzip;q=0", ""),
        ("br", ""),
        ("", ""),
        ("gzip;q=lots", ""),
    ],
)
def test_the_client_s_best_is_chosen(accepted: str, chosen: str) -> None:
    assert preferred(accepted) == chosen


def test_only_what_pays_is_compressed() -> None:
    assert compressed(b"x" * 100, "gzip") is None
    packed = compressed(b"x" * 10_000, "gzip")
    assert packed is not None
    assert gzip.decompress(packed) == b"x" * 10_000
    packed = compressed(b"x" * 100_000, "deflate")
    assert packed is not None
    assert zlib.decompress(packed) == b"x" * 100_000
    assert compressed(random.Random(1).randbytes(100_000), "gzip") is None
