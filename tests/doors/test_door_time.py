"""Slow clients and slow replicas, under a clock that the test moves."""

from __future__ import annotations

import pytest

from salver.spec.http import HttpSettings
from salver.wire.frames import CANCEL, HTTP
from tests.doors.door_fakes import OK, Scene, chunks

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_head_that_drips_is_refused_however_it_drips() -> None:
    scene = Scene(HttpSettings(header_timeout_s=10))
    client = scene.client()
    for byte in GET[:20]:
        client.send(bytes((byte,)))
        scene.clock.advance(0.6)
    assert client.status == 408
    assert client.over()


def test_a_head_that_is_only_slow_is_served() -> None:
    scene = Scene(HttpSettings(header_timeout_s=10))
    scene.router.answer = OK
    client = scene.client()
    client.send(GET[:10])
    scene.clock.advance(9)
    client.send(GET[10:])
    scene.clock.advance(60)
    assert client.out == OK
    assert not client.over()


def test_idle_connections_are_closed_in_silence() -> None:
    scene = Scene(HttpSettings(keep_alive_timeout_s=30))
    fresh, used = scene.client(), scene.client()
    scene.router.answer = OK
    scene.clock.advance(20)
    used.send(GET)
    scene.clock.advance(11)
    assert (fresh.over(), used.over()) == (True, False)
    assert fresh.out == b""
    scene.clock.advance(20)
    assert used.over()
    assert used.out == OK


def test_a_running_request_is_not_idle() -> None:
    scene = Scene()
    client = scene.client()
    client.send(GET)
    scene.clock.advance(10_000)
    assert not client.over()


@pytest.mark.parametrize(("length", "arena"), [(10, False), (100_000, True)])
def test_a_body_that_stops_coming_is_refused(length: int, arena: bool) -> None:
    scene = Scene(HttpSettings(body_idle_timeout_s=5), arena=arena)
    client = scene.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length)
    for _ in range(4):
        scene.clock.advance(4)
        client.send(b"x")
    assert not client.over()
    scene.clock.advance(6)
    assert client.status == 408
    assert client.over()
    assert all(slab.released for slab in scene.slabs)


def test_a_flowing_body_that_stops_coming_ends_the_call() -> None:
    scene = Scene(HttpSettings(body_idle_timeout_s=5))
    client = scene.client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    scene.clock.advance(60)
    assert not client.over(), "the replica has not asked for it"
    scene.router.calls[0].credit(4)
    scene.clock.advance(6)
    assert client.status == 408
    assert scene.router.of(CANCEL)


def test_a_request_has_its_time_and_no_more() -> None:
    scene = Scene(HttpSettings(request_timeout_s=2))
    client = scene.client()
    client.send(GET)
    scene.clock.advance(1.9)
    assert client.out == b""
    scene.clock.advance(0.3)
    assert client.status == 408
    assert client.out.endswith(b"\r\n\r\nRequest door-1-1 timed out after 2s.")
    assert scene.router.of(CANCEL)
    assert not client.over()
    scene.router.answer = OK
    client.send(GET)
    assert client.out.endswith(OK)


@pytest.mark.parametrize(("value", "late"), [(b"0.5", True), (b"0", False), (b"-1", False)])
def test_the_client_may_say_how_long_it_waits(value: bytes, late: bool) -> None:
    scene = Scene(HttpSettings(request_timeout_s=2))
    client = scene.client()
    client.send(
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: me\r\nx-request-timeout-seconds: "
        + value
        + b"\r\n\r\n"
    )
    scene.clock.advance(1)
    assert bool(client.out) is late
    if late:
        assert client.out.endswith(b"Request me timed out after 0.5s.")
    scene.clock.advance(10)
    assert bool(client.out) is late


def test_a_request_that_waits_for_a_replica_has_no_more_time_either() -> None:
    scene = Scene(HttpSettings(request_timeout_s=2))
    scene.router.hold = True
    client = scene.client()
    client.send(GET)
    scene.clock.advance(3)
    assert client.status == 408
    assert len(scene.router.cancelled) == 1


def test_a_stream_that_takes_too_long_is_cut() -> None:
    scene = Scene(HttpSettings(request_timeout_s=2))
    client = scene.client()
    client.send(GET)
    chunks(scene.router.calls[0], b"x")
    scene.clock.advance(3)
    assert client.aborted()
    assert scene.router.of(CANCEL)


def test_a_request_that_outlives_its_client_has_no_more_time_for_it() -> None:
    scene = Scene(HttpSettings(request_timeout_s=5))
    client = scene.client()
    client.send(GET[:-2] + b"x-request-disconnect-disabled: ?1\r\n\r\n")
    client.leave()
    scene.clock.advance(4.9)
    assert scene.router.cancelled == []
    scene.clock.advance(0.2)
    assert scene.router.cancelled == scene.router.calls
    assert scene.door.stats().in_flight == 0


def test_time_runs_anew_for_each_request_of_a_connection() -> None:
    scene = Scene(HttpSettings(request_timeout_s=2))
    client = scene.client()
    for number in range(5):
        client.send(GET)
        scene.clock.advance(1.5)
        scene.router.calls[number].answered(HTTP, OK)
    assert client.out == OK * 5


def test_while_nothing_is_open_no_timer_runs() -> None:
    scene = Scene(HttpSettings(request_timeout_s=2))
    scene.router.answer = OK
    client = scene.client()
    client.send(GET)
    client.leave()
    scene.clock.advance(100)
    assert scene.clock.armed == 0
