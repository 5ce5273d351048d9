"""Which version answers when none is asked for."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from salver.core.versions import default_version


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        (["", "9"], ""),
        (["9", "10"], "10"),
        (["v9", "v10", "v2"], "v10"),
        (["1.2.3", "1.10.0"], "1.10.0"),
        (["a", "1"], "1"),
    ],
)
def test_numbers_count_as_numbers(versions: list[str], expected: str) -> None:
    assert default_version(versions) == expected


@given(st.lists(st.text(max_size=5), min_size=1))
def test_it_is_one_of_them_in_whatever_order(versions: list[str]) -> None:
    assert default_version(versions) in versions
    assert default_version(versions) == default_version(reversed(versions))
