"""Bodies of every size and framing, and clients that are slow, sudden or wrong about them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.spec.http import HttpSettings
from salver.wire.frames import BODY, CANCEL, CHUNK, CREDIT, END, HTTP, MAX_FRAME, REQ, STREAM
from tests.doors.door_fakes import OK, Scene, chunks

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def post(length: int, *more: bytes) -> bytes:
    lines = [b"POST / HTTP/1.1", b"Host: x", b"Content-Length: %d" % length, *more]
    return b"\r\n".join(lines) + b"\r\n\r\n"


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("cut", [1, 17, 100000])
def test_a_small_body_travels_with_its_head(cut: int) -> None:
    scene = Scene(arena=True)
    client = scene.client()
    data = post(5) + b"a\r\n\r\n"
    client.send(data, cut)
    assert scene.router.link.conn.frames == [(REQ, HTTP, len(post(5)), 1, data)]
    assert scene.slabs == []


@pytest.mark.parametrize("size", [0, 5, 200_000])
def test_the_client_s_address_stands_behind_the_head(size: int) -> None:
    scene = Scene(arena=True)
    client = scene.client(("192.0.2.7", 4711))
    client.send(post(size) + b"x" * size)
    head = post(size) + b"192.0.2.7:4711"
    inline = b"" if size > 5 else b"x" * size
    assert scene.router.link.conn.frames == [(REQ, HTTP, len(head), 1, head + inline)]


@pytest.mark.parametrize("cut", [1000, 65536, 10_000_000])
def test_a_large_body_is_received_where_it_is_used(cut: int) -> None:
    scene = Scene(arena=True)
    client = scene.client()
    body = bytes(range(256)) * 1000
    client.send(post(len(body)) + body + GET, cut)
    slab = scene.slabs[0]
    assert bytes(slab.view) == body
    head = post(len(body))
    assert scene.router.link.conn.frames == [(REQ, HTTP, len(head), 1, head)]
    assert scene.router.link.conn.lent == [slab]
    assert slab.released == 0
    scene.router.calls[0].answered(HTTP, OK)
    assert slab.released == 1
    assert scene.router.requests[1] == GET


@pytest.mark.parametrize("arena", [True, False])
def test_a_large_body_behind_a_known_head_is_whole_too(arena: bool) -> None:
    scene = Scene(arena=arena)
    client = scene.client()
    bodies = [bytes([mark]) * 100_000 for mark in range(3)]
    for number, body in enumerate(bodies):
        client.send(post(len(body)) + body)
        call = scene.router.calls[number]
        call.credit(100)
        if arena:
            assert bytes(scene.slabs[number].view) == body
        call.answered(HTTP, OK)
    sent = [payload for kind, *_, payload in scene.router.link.conn.frames if kind == CHUNK]
    assert b"".join(sent) == (b"" if arena else b"".join(bodies))


def test_a_large_body_that_never_comes_gives_its_memory_back() -> None:
    scene = Scene(arena=True)
    client = scene.client()
    client.send(post(200_000) + b"x" * 1000)
    client.leave()
    assert scene.slabs[0].released == 1
    assert scene.router.calls == []


def test_a_larger_body_flows_as_the_replica_asks_for_it() -> None:
    scene = Scene()
    client = scene.client()
    body = b"0123456789" * 60_000
    client.send(post(len(body)) + body[:100])
    assert scene.router.link.conn.frames == [
        (REQ, HTTP | BODY, len(post(len(body))), 1, post(len(body)))
    ]
    assert not client.reading()
    call = scene.router.calls[0]
    call.credit(1)
    assert scene.router.of(CHUNK) == [(CHUNK, 0, 0, 1, body[:100])]
    assert not client.reading()
    call.credit(100)
    assert client.reading()
    client.send(body[100:])
    sent = scene.router.of(CHUNK)
    assert b"".join(frame[4] for frame in sent) == body
    assert all(len(frame[4]) < MAX_FRAME for frame in sent)
    assert scene.router.of(END) == [(END, 0, 0, 1, b"")]
    call.answered(HTTP, OK)
    scene.router.answer = OK
    client.send(GET)
    assert client.out == OK * 2


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=6), st.integers(1, 300))
def test_a_chunked_body_is_unwrapped(parts: list[bytes], cut: int) -> None:
    scene = Scene()
    client = scene.client()
    wrapped = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    client.send(CHUNKED[:-1])
    client.send(CHUNKED[-1:])
    scene.router.calls[0].credit(1000)
    client.send(wrapped + GET, cut)
    assert b"".join(frame[4] for frame in scene.router.of(CHUNK)) == b"".join(parts)
    assert len(scene.router.of(END)) == 1
    scene.router.calls[0].answered(HTTP, OK)
    assert scene.router.requests == [CHUNKED, GET]


def test_the_end_waits_for_credit_like_the_rest() -> None:
    scene = Scene()
    client = scene.client()
    client.send(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")
    assert scene.router.of(END) == []
    scene.router.calls[0].credit(1)
    assert [frame[4] for frame in scene.router.of(CHUNK)] == [b"abc"]
    assert len(scene.router.of(END)) == 1


def test_wrong_chunks_end_the_call_and_the_connection() -> None:
    scene = Scene()
    client = scene.client()
    client.send(CHUNKED)
    scene.router.calls[0].credit(10)
    client.send(b"3\r\nabcX")
    assert client.status == 400
    assert client.over()
    assert scene.router.of(CANCEL)
    assert scene.router.of(END) == []


def test_wrong_chunks_under_a_reply_cut_it() -> None:
    scene = Scene()
    client = scene.client()
    client.send(CHUNKED)
    scene.router.calls[0].credit(10)
    chunks(scene.router.calls[0], b"x")
    client.send(b"nonsense")
    assert client.aborted()


@pytest.mark.parametrize("arena", [False, True])
def test_a_declared_body_that_is_too_long_is_refused_unread(arena: bool) -> None:
    scene = Scene(HttpSettings(max_body_bytes=100), arena=arena)
    client = scene.client()
    client.send(post(101))
    assert client.status == 413
    assert client.over()
    assert scene.router.calls == []


def test_a_body_that_is_too_long_is_refused_again_when_its_head_is_known() -> None:
    scene = Scene(HttpSettings(max_body_bytes=100))
    for _ in range(2):
        client = scene.client()
        client.send(post(101) + b"x" * 101)
        assert client.out[9:12] == b"413"
    assert scene.router.calls == []


def test_a_chunked_body_that_grows_too_long_is_refused() -> None:
    scene = Scene(HttpSettings(max_body_bytes=5))
    client = scene.client()
    client.send(CHUNKED + b"3\r\nabc\r\n")
    client.send(b"3\r\nabc\r\n")
    assert client.status == 413
    assert scene.router.cancelled


@pytest.mark.parametrize(("length", "arena"), [(5, False), (100_000, True)])
def test_the_client_is_told_to_go_on_when_the_body_is_wanted(length: int, arena: bool) -> None:
    scene = Scene(arena=arena)
    client = scene.client()
    client.send(post(length, b"Expect: 100-continue"))
    assert client.out == CONTINUE
    client.send(b"x" * length)
    assert len(scene.router.calls) == 1


@pytest.mark.parametrize("length", [5, 100_000])
def test_a_body_that_nobody_would_take_is_not_asked_for(length: int) -> None:
    scene = Scene()
    scene.door.apply(())
    client = scene.client()
    client.send(post(length, b"Expect: 100-continue"))
    assert client.status == 404
    assert client.over()


def test_for_a_flowing_body_the_replica_decides() -> None:
    scene = Scene()
    client = scene.client()
    client.send(post(100_000, b"Expect: 100-continue"))
    assert client.out == b""
    scene.router.calls[0].credit(4)
    scene.router.calls[0].credit(4)
    assert client.out == CONTINUE


def test_a_reply_before_the_expected_body_ends_the_connection() -> None:
    scene = Scene()
    client = scene.client()
    client.send(post(100_000, b"Expect: 100-continue"))
    scene.router.calls[0].answered(HTTP, OK)
    assert client.out == OK
    assert client.over()


def test_who_sends_the_body_at_once_needs_no_permission() -> None:
    scene = Scene()
    client = scene.client()
    client.send(post(3, b"Expect: 100-continue") + b"abc")
    assert client.out == b""


def test_a_body_nobody_read_is_dropped_and_the_connection_goes_on() -> None:
    scene = Scene()
    client = scene.client()
    client.send(post(100_000) + b"x" * 500)
    scene.router.calls[0].answered(HTTP, OK)
    scene.router.answer = OK
    assert client.reading()
    client.send(b"x" * 99_500 + GET)
    assert client.out == OK * 2
    assert scene.router.of(CHUNK) == []


def test_too_much_of_a_body_nobody_read_ends_the_connection() -> None:
    scene = Scene()
    client = scene.client()
    client.send(post(10_000_000) + b"x" * 500)
    scene.router.calls[0].answered(HTTP, OK)
    assert client.over()
    client.send(b"x" * 5_000_000)
    assert client.aborted()


def test_a_failed_call_with_a_flowing_body_is_answered_first() -> None:
    scene = Scene()
    scene.router.error = ValueError("no")
    client = scene.client()
    client.send(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")
    assert client.status == 500
    scene.router.error = None
    scene.router.answer = OK
    client.send(GET)
    assert client.out.endswith(OK)


def test_a_body_that_half_left_is_not_sent_twice() -> None:
    """The first replica died before it began; but it had been given bytes that are gone."""
    scene = Scene()
    client = scene.client()
    client.send(CHUNKED + b"3\r\nabc\r\n")
    call = scene.router.calls[0]
    call.credit(5)
    scene.router.start(call)
    assert client.status == 502


def test_a_body_that_has_not_left_can_go_elsewhere() -> None:
    scene = Scene()
    client = scene.client()
    client.send(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")
    call = scene.router.calls[0]
    scene.router.start(call)
    call.credit(5)
    assert len(scene.router.of(REQ)) == 2
    assert [frame[4] for frame in scene.router.of(CHUNK)] == [b"abc"]


def test_a_detached_request_still_gets_the_body_that_had_arrived() -> None:
    scene = Scene()
    client = scene.client()
    head = CHUNKED[:-2] + b"x-request-disconnect-disabled: ?1\r\n\r\n"
    client.send(head + b"3\r\nabc\r\n0\r\n\r\n")
    client.leave()
    scene.router.calls[0].credit(5)
    assert [frame[4] for frame in scene.router.of(CHUNK)] == [b"abc"]


# ---- tunnels

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


def test_an_upgraded_connection_is_bytes_both_ways() -> None:
    scene = Scene(HttpSettings(request_timeout_s=5, body_idle_timeout_s=5))
    client = scene.client()
    client.send(UPGRADE)
    assert scene.router.link.conn.frames[0][1] == HTTP | BODY | STREAM
    call = scene.router.calls[0]
    call.credit(2)
    call.answered(HTTP | STREAM, SWITCH)
    client.send(b"\x81\x01a\r\n\r\n")
    assert [frame[4] for frame in scene.router.of(CHUNK)] == [b"\x81\x01a\r\n\r\n"]
    assert client.reading()
    client.send(b"b")
    assert not client.reading()
    client.send(b"c")
    scene.clock.advance(1000)
    call.credit(1)
    call.chunk(HTTP, b"\x81\x01b")
    assert client.out == SWITCH + b"\x81\x01b"
    call.ended(0)
    assert client.over()


def test_a_client_that_leaves_a_tunnel_is_an_end_and_not_a_cancel() -> None:
    scene = Scene()
    client = scene.client()
    client.send(UPGRADE)
    call = scene.router.calls[0]
    call.credit(64)
    call.answered(HTTP | STREAM, SWITCH)
    client.leave()
    assert len(scene.router.of(END)) == 1
    assert scene.router.cancelled == []
    call.chunk(HTTP, b"late")
    call.ended(0)
    assert scene.door.stats().in_flight == 0


def test_a_replica_may_go_on_when_a_client_has_left_that_took_nothing() -> None:
    scene = Scene()
    client = scene.client()
    client.transport.reads = False
    client.send(UPGRADE)
    call = scene.router.calls[0]
    call.credit(64)
    call.answered(HTTP | STREAM, SWITCH)
    for _ in range(64):
        call.chunk(HTTP, b"x" * 4096)
    assert sum(frame[2] for frame in scene.router.of(CREDIT)) <= 32
    client.leave()
    assert sum(frame[2] for frame in scene.router.of(CREDIT)) == 64


def test_a_refused_upgrade_is_a_reply_and_the_end() -> None:
    scene = Scene()
    client = scene.client()
    client.send(UPGRADE)
    scene.router.calls[0].answered(HTTP, b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
    assert client.status == 403
    assert client.over()
