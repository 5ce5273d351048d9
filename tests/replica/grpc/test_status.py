"""Errors as status codes, and details that arrive whatever they are."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from salver.errors import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaDiedError,
    RequestCancelledError,
    RequestTimeoutError,
    SalverError,
)
from salver.replica.grpc.status import code_of, cut


def test_each_error_has_the_code_that_clients_of_ray_serve_know() -> None:
    codes = {
        BackPressureError(1, 1): 8,
        RequestCancelledError("r"): 1,
        RequestTimeoutError(1.0, "x"): 4,
        DeploymentUnavailableError("d"): 14,
        ReplicaDiedError("r"): 14,
        SalverError("x"): 13,
        ValueError("x"): 13,
    }
    assert {error: code_of(error) for error in codes} == codes


@given(st.text(max_size=200), st.integers(1, 200))
def test_details_are_the_beginning_of_the_text_and_fit_a_header(text: str, times: int) -> None:
    whole = text * times
    shown = cut(whole)
    assert whole.startswith(shown)
    assert len(shown) <= 4096
    assert len(quote(shown.encode("utf-8", "replace"), safe="")) <= 3 * 6144
    if len(whole) <= 2000 and whole.isascii() and whole.isprintable() and "%" not in whole:
        assert shown == whole
