"""The current call as users of Ray Serve read it."""

from __future__ import annotations

from salver.calls.context import CallContext, current_call
from salver.serve.context import (
    _get_serve_request_context,
    _RequestContext,
    _serve_request_context,
)


def test_outside_of_a_call_it_is_empty() -> None:
    assert _serve_request_context.get() == _RequestContext()


def test_it_can_be_set_and_reset() -> None:
    token = _serve_request_context.set(_RequestContext(request_id="mine", app_name="a", route="/r"))
    try:
        found = _get_serve_request_context()
        assert (found.request_id, found.app_name, found.route) == ("mine", "a", "/r")
    finally:
        _serve_request_context.reset(token)
    assert _serve_request_context.get().request_id == ""


def test_a_call_has_an_id_of_its_own_beside_that_of_its_request() -> None:
    token = current_call.set(CallContext("request", peer="p", call_id=10))
    try:
        found = _serve_request_context.get()
        assert (found.request_id, found._internal_request_id) == ("request", "p-a")
    finally:
        current_call.reset(token)
