"""The page of metrics: made while the client waits, at most for the client who waits."""

from __future__ import annotations

import asyncio

from salver.spec.ids import DeploymentId
from salver.spec.status import RouteView
from tests.doors.door_fakes import OK, Scene

PAGE = b"GET /-/metrics HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


class Numbers:
    """Makes a page once it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.asked = 0
        self.given_up = 0

    async def __call__(self) -> str:
        self.asked += 1
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return "a 1\n"


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_is_sent_when_it_is_there_and_the_connection_goes_on() -> None:
    numbers = Numbers()
    scene = Scene(numbers=numbers)
    scene.router.answer = OK
    client = scene.client()
    client.send(PAGE + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await settle()
    assert (client.out, scene.door.in_flight) == (b"", 1)
    numbers.let.set()
    await settle()
    head, _, rest = client.out.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-type: text/plain; version=0.0.4; charset=utf-8" in head
    assert rest == b"a 1\n" + OK
    assert (scene.door.in_flight, client.over()) == (0, False)


async def test_a_client_that_leaves_ends_the_work() -> None:
    numbers = Numbers()
    scene = Scene(numbers=numbers)
    client = scene.client()
    client.send(PAGE)
    await settle()
    client.leave()
    await settle()
    assert (numbers.given_up, scene.door.in_flight) == (1, 0)


async def test_without_an_answer_of_the_controller_it_is_a_503() -> None:
    async def numbers() -> str:
        raise ConnectionError

    client = Scene(numbers=numbers).client()
    client.send(PAGE)
    await settle()
    assert client.status == 503
    assert b"The controller does not answer" in client.out


async def test_the_short_path_is_there_unless_an_app_has_it() -> None:
    numbers = Numbers()
    numbers.let.set()
    scene = Scene(numbers=numbers)
    scene.router.answer = OK
    client = scene.client()
    client.send(SHORT)
    assert (client.out, numbers.asked) == (OK, 0)
    scene.door.apply([RouteView("/app", "app", DeploymentId("dep", "app"))])
    client.send(SHORT)
    await settle()
    assert client.out.endswith(b"\r\n\r\na 1\n")


async def test_a_door_that_closes_and_a_request_with_a_large_body_get_none() -> None:
    numbers = Numbers()
    scene = Scene(numbers=numbers)
    client = scene.client()
    client.send(b"POST /-/metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert (client.status, client.over()) == (400, True)
    scene.door.draining = True
    client = scene.client()
    client.send(PAGE)
    assert (client.status, numbers.asked) == (503, 0)
