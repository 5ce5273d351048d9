"""The context of a running call."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from salver.calls.context import (
    CallContext,
    pack_meta,
    request_id_of,
    request_ids,
    unpack_meta,
)
from salver.wire.messages import Meta


@given(st.text(), st.text(), st.text(), st.text(), st.text(), st.binary())
def test_meta_comes_back_and_the_payload_begins_after_it(
    request_id: str, app: str, route: str, model_id: str, session_id: str, payload: bytes
) -> None:
    meta = Meta(request_id, app, route, model_id, session_id)
    packed = pack_meta(meta) + payload
    got, start = unpack_meta(packed)
    assert got == meta
    assert packed[start:] == payload


def test_a_call_that_carries_no_id_has_that_of_its_connection() -> None:
    context = CallContext(peer="ingress-1.2", call_id=255)
    assert context.request_id == request_id_of("ingress-1.2", 255) == "ingress-1.2-ff"
    assert unpack_meta(context.meta)[0].request_id == "ingress-1.2-ff"
    assert CallContext("given", peer="p", call_id=1).request_id == "given"
    assert CallContext().request_id == ""


def test_what_no_connection_carries_has_an_id_of_the_same_form_and_of_its_own() -> None:
    make = request_ids("ingress-1")
    ids = [make() for _ in range(17)]
    assert ids[0] == request_id_of("ingress-1.0", 1)
    assert ids[-1] == "ingress-1.0-11"
    assert len(set(ids)) == 17
