"""Requests and replies over one connection: bytes in, bytes out, a scripted replica."""

from __future__ import annotations

import pytest

from salver.calls.context import unpack_meta
from salver.errors import BackPressureError, ReplicaDiedError
from salver.spec.http import HttpSettings
from salver.spec.ids import DeploymentId
from salver.spec.status import RouteView
from salver.wire.frames import CANCEL, CLOSE, CREDIT, HTTP, META, REQ
from tests.doors.door_fakes import OK, Client, Scene, chunks

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_a_request_is_passed_on_as_it_came_and_so_is_the_reply(cut: int) -> None:
    scene = Scene()
    client = scene.client()
    client.send(GET, cut)
    assert scene.router.link.conn.frames == [(REQ, HTTP, len(GET), 1, GET)]
    scene.router.calls[0].answered(HTTP, OK)
    assert client.out == OK
    assert not client.over()
    stats = scene.door.stats()
    assert (stats.requests, stats.in_flight, stats.by_class[2]) == (1, 0, 1)


def test_the_second_request_of_the_same_bytes_is_the_same_request() -> None:
    scene = Scene()
    scene.router.answer = OK
    client = scene.client()
    for _ in range(3):
        client.send(GET)
    assert scene.router.requests == [GET] * 3
    assert client.out == OK * 3


@pytest.mark.parametrize("cut", [1, 40, 100000])
def test_pipelined_requests_are_answered_one_after_the_other(cut: int) -> None:
    scene = Scene()
    client = scene.client()
    post = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    client.send(GET + post + GET, cut)
    assert scene.router.requests == [GET]
    scene.router.calls[0].answered(HTTP, OK)
    assert scene.router.requests == [GET, post]
    scene.router.calls[1].answered(HTTP, OK)
    assert scene.router.requests == [GET, post, GET]
    scene.router.calls[2].answered(HTTP, OK)
    assert client.out == OK * 3


@pytest.mark.parametrize("cut", [1, 2, 3, 1000])
def test_empty_lines_before_a_request_are_none_of_it(cut: int) -> None:
    scene = Scene()
    scene.router.answer = OK
    client = scene.client()
    client.send(GET + b"\r\n" + GET + b"\r\n\r\n\r\n" + GET + b"\r\n", cut)
    client.send(GET)
    assert scene.router.requests == [GET] * 4
    assert client.out == OK * 4


@pytest.mark.parametrize("empty", [b"\n", b"\r", b"\r\r\n", b"\n\r\n", b" \r\n"])
@pytest.mark.parametrize("cut", [1, 1000])
def test_what_is_no_empty_line_is_refused_before_a_request(empty: bytes, cut: int) -> None:
    scene = Scene()
    scene.router.answer = OK
    client = scene.client()
    client.send(GET)
    for part in (empty, GET):  # the request is known by now
        client.send(part, cut)
    assert scene.router.requests == [GET]
    assert b"HTTP/1.1 400 " in client.out
    assert client.over()


def test_empty_lines_alone_keep_no_connection() -> None:
    scene = Scene(HttpSettings(keep_alive_timeout_s=30))
    client = scene.client()
    for _ in range(40):
        client.send(b"\r\n\r")
        client.send(b"\n")
        scene.clock.advance(1)
    assert client.over()
    assert client.out == b""


def test_very_many_pipelined_requests_nest_nothing() -> None:
    scene = Scene()
    scene.router.answer = OK
    client = scene.client()
    client.send(GET * 5000)
    assert client.out == OK * 5000


def test_input_ahead_of_the_reply_is_bounded() -> None:
    scene = Scene()
    client = scene.client()
    client.send(GET * 6000)
    assert not client.reading()
    scene.router.answer = OK
    scene.router.calls[0].answered(HTTP, OK)
    assert client.reading()
    assert client.out == OK * 6000


@pytest.mark.parametrize(
    "request_bytes",
    [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"],
)
def test_who_asks_for_it_is_closed_after_the_reply(request_bytes: bytes) -> None:
    scene = Scene()
    client = scene.client()
    client.send(request_bytes + GET)
    assert scene.router.link.conn.frames[0][1] == HTTP | CLOSE
    scene.router.calls[0].answered(HTTP, OK)
    assert client.closing()
    assert len(scene.router.calls) == 1


def test_a_reply_that_closes_closes() -> None:
    scene = Scene()
    client = scene.client()
    client.send(GET)
    scene.router.calls[0].answered(HTTP | CLOSE, OK)
    assert client.closing()


def test_what_the_client_said_of_itself_travels_beside_the_head() -> None:
    scene = Scene()
    client = scene.client()
    raw = b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: abc\r\nserve-multiplexed-model-id: m\r\n\r\n"
    client.send(raw)
    _, flags, aux, _, payload = scene.router.link.conn.frames[0]
    meta, start = unpack_meta(payload)
    assert flags == HTTP | META
    assert (meta.request_id, meta.model_id, meta.app, meta.route) == ("abc", "m", "app", "/")
    assert (payload[start:], aux) == (raw, len(raw))


def test_a_stream_passes_through_and_gives_credit() -> None:
    scene = Scene()
    client = scene.client()
    client.send(GET)
    call = scene.router.calls[0]
    chunks(call, *[b"1\r\na\r\n"] * 40)
    assert client.out.endswith(b"1\r\na\r\n" * 40)
    assert scene.router.of(CREDIT) == [(CREDIT, 0, 32, 1, b"")]
    call.chunk(HTTP, b"0\r\n\r\n")
    call.ended(0)
    scene.router.answer = OK
    client.send(GET)
    assert client.out.endswith(b"0\r\n\r\n" + OK)


def test_a_client_that_does_not_read_stops_the_stream() -> None:
    """No more credit, hence a bounded number of chunks, until it reads."""
    scene = Scene()
    client = scene.client()
    client.transport.reads = False
    client.send(GET)
    call = scene.router.calls[0]
    chunks(call, *[b"x" * 4096] * 64)
    given = sum(frame[2] for frame in scene.router.of(CREDIT))
    assert given <= 32
    assert not client.reading()
    client.transport.take()
    assert sum(frame[2] for frame in scene.router.of(CREDIT)) == 64
    assert client.reading()


def test_a_client_that_does_not_read_gets_no_further_request_served() -> None:
    scene = Scene()
    scene.router.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n" + b"x" * 70000
    client = scene.client()
    client.transport.reads = False
    client.send(GET * 10)
    assert len(scene.router.calls) == 1
    client.transport.take()
    assert len(scene.router.calls) == 2


def test_a_client_that_takes_nothing_for_too_long_is_cut_off() -> None:
    scene = Scene(HttpSettings(send_idle_timeout_s=5))
    client = scene.client()
    client.transport.reads = False
    client.send(GET)
    chunks(scene.router.calls[0], b"x" * 100_000)
    scene.clock.advance(4)
    assert not client.aborted()
    scene.clock.advance(2)
    assert client.aborted()
    assert scene.router.of(CANCEL)


def test_a_client_that_hangs_up_cancels_its_call() -> None:
    scene = Scene()
    client = scene.client()
    client.send(GET + GET)
    client.leave()
    assert scene.router.cancelled == scene.router.calls
    assert len(scene.router.calls) == 1
    assert scene.door.stats().in_flight == 0
    assert scene.door.stats().connections == 0


def test_end_of_input_counts_as_hanging_up() -> None:
    scene = Scene()
    client = scene.client()
    client.send(GET)
    assert client.protocol.eof_received() is False
    assert len(scene.router.cancelled) == 1


def test_a_call_that_waits_is_cancelled_before_a_replica_sees_it() -> None:
    scene = Scene()
    scene.router.hold = True
    client = scene.client()
    client.send(GET)
    client.leave()
    assert len(scene.router.cancelled) == 1
    assert scene.router.link.conn.frames == []


def test_a_request_can_outlive_its_client() -> None:
    scene = Scene()
    client = scene.client()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nx-request-disconnect-disabled: ?1\r\n\r\n")
    client.leave()
    assert scene.router.cancelled == []
    call = scene.router.calls[0]
    chunks(call, *[b"a"] * 32)
    call.ended(0)
    assert scene.router.of(CREDIT)
    assert client.out == b""
    assert scene.door.stats().in_flight == 0


def test_a_late_answer_to_nobody_is_dropped() -> None:
    scene = Scene(HttpSettings(request_timeout_s=1))
    client = scene.client()
    client.send(GET)
    scene.clock.advance(2)
    before = client.out
    client.send(GET)
    scene.router.calls[0].answered(HTTP, OK)
    assert client.out == before
    scene.router.calls[1].answered(HTTP, OK)
    assert client.out == before + OK


def test_errors_are_answered_and_the_connection_goes_on() -> None:
    scene = Scene()
    scene.router.error = BackPressureError(5, 5)
    client = scene.client()
    client.send(GET)
    assert client.status == 503
    assert b"\r\nRetry-After: 1\r\n" in client.out
    assert b"\r\nX-Request-ID: door.0-1\r\n" in client.out
    assert not client.over()
    scene.router.error = None
    client.send(GET)
    scene.router.calls[1].failed(ReplicaDiedError("r1"))
    assert b"HTTP/1.1 502 Bad Gateway" in client.out
    assert b"X-Request-ID: door-1-2\r\n" in client.out
    assert scene.door.stats().by_class[5] == 2


def test_a_reply_that_fails_half_way_is_cut() -> None:
    scene = Scene()
    client = scene.client()
    client.send(GET)
    chunks(scene.router.calls[0], b"abc")
    scene.router.calls[0].failed(ReplicaDiedError("r1"))
    assert client.aborted()


def test_a_cut_comes_after_what_was_written_has_been_taken() -> None:
    scene = Scene()
    client = scene.client()
    client.transport.reads = False
    client.send(GET)
    chunks(scene.router.calls[0], b"abc")
    scene.router.calls[0].failed(ReplicaDiedError("r1"))
    assert not client.aborted()
    client.transport.take()
    assert client.aborted()


def test_unknown_paths_and_the_doors_own() -> None:
    scene = Scene()
    scene.door.apply([RouteView("/a", "one", DeploymentId("d", "one"))])
    client = scene.client()
    client.send(b"GET /b%20c?d HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.status == 404
    assert client.out.endswith(
        b"\r\n\r\nPath '/b c' not found. Ping http://.../-/routes for available routes."
    )
    client.send(b"GET /-/routes HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.out.endswith(b'\r\n\r\n{"/a":"one"}')
    client.send(b"POST /-/healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
    assert client.out.endswith(b"\r\n\r\nsuccess")
    client.send(b"HEAD /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.out.endswith(b"\r\n\r\n")
    assert scene.router.calls == []


def test_without_routes_the_door_is_not_ready() -> None:
    scene = Scene()
    scene.door._table = None
    client = scene.client()
    client.send(b"GET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.status == 503
    assert client.out.endswith(b"Route table is not populated yet.")


@pytest.mark.parametrize("path", [b"/-/healthz", b"/-/routes", b"/", b"/of-an-app-to-come"])
def test_a_door_that_never_had_a_route_is_not_ready(path: bytes) -> None:
    scene = Scene(routed=False)
    scene.door._is_up = lambda: False
    client = scene.client()
    client.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.status == 503
    assert client.out.endswith(b"Route table is not populated yet.")


def test_a_door_is_ready_once_the_first_apps_are_up_and_shows_their_routes_before() -> None:
    scene = Scene()
    scene.door._is_up = lambda: False
    client = scene.client()
    client.send(b"GET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.status == 503
    assert client.out.endswith(b"No replicas are available yet.")
    client.send(b"GET /-/routes HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.out.endswith(b'{"/":"app"}')
    scene.door._is_up = lambda: True
    scene.door.apply([])
    client.send(b"GET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.out.endswith(b"success")


def test_a_change_of_routes_holds_from_the_next_request_on() -> None:
    scene = Scene()
    scene.router.answer = OK
    client = scene.client()
    client.send(GET)
    scene.door.apply([])
    client.send(GET)
    assert client.out.startswith(OK + b"HTTP/1.1 404")


def test_too_many_connections_are_turned_away() -> None:
    scene = Scene(HttpSettings(max_connections=1))
    first, second = scene.client(), scene.client()
    assert second.status == 503
    assert second.over()
    second.leave()
    first.leave()
    assert not scene.client().over()


def test_a_closing_door_finishes_what_is_under_way_and_says_so() -> None:
    scene = Scene()
    idle, busy = scene.client(), scene.client()
    busy.send(GET)
    scene.door.draining = True
    for client in (idle, busy):
        client.protocol.drain()
    assert idle.over()
    assert not busy.over()
    scene.router.calls[0].answered(HTTP, OK)
    assert b"\r\nconnection: close\r\n" in busy.out
    assert busy.over()


def refused(client: Client, status: int) -> None:
    assert client.status == status
    assert b"\r\nconnection: close\r\n" in client.out
    assert client.over()


def test_bad_input_is_refused_and_nothing_after_it_is_read() -> None:
    scene = Scene()
    client = scene.client()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n" + GET)
    refused(client, 400)
    client.send(GET)
    assert scene.router.calls == []


def test_junk_after_a_request_is_refused_when_its_reply_is_out() -> None:
    scene = Scene()
    client = scene.client()
    client.send(GET + b"junk\r\n\r\n")
    scene.router.calls[0].answered(HTTP, OK)
    assert client.out.startswith(OK + b"HTTP/1.1 400")
    assert client.over()


@pytest.mark.parametrize("cut", [1, 100, 100000])
def test_an_endless_head_is_refused(cut: int) -> None:
    client = Scene(HttpSettings(max_head_bytes=1000)).client()
    client.send(b"GET / HTTP/1.1\r\nA: " + b"a" * 2000, cut)
    refused(client, 431)


def test_a_head_may_be_as_long_as_the_limit() -> None:
    scene = Scene()
    client = scene.client()
    raw = b"GET / HTTP/1.1\r\nHost: x\r\nA: "
    client.send(raw + b"a" * (65408 - len(raw) - 4) + b"\r\n\r\n", 10_000)
    assert scene.router.link.conn.frames[0][2] == 65408
