"""The generators and the server's keeper, against real sockets and processes."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from bench.client import target_of
from bench.contenders import free_port
from bench.harness.processes import all_stats, carries_mark
from bench.harness.servers import Launch, Request, Server, ServerError, running
from bench.openloop import OpenLoop
from bench.streams import Streams

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
EVENTS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b"9\r\ndata: x\n\n\r\n"
ANSWER_OK = Request(lambda body: body == b"ok")

FORKING_SERVER = """
import http.server, subprocess, sys
subprocess.Popen(["sleep", "100"], start_new_session=True)
class Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "2"); self.end_headers()
        self.wfile.write(b"ok")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Door).serve_forever()
"""


class Stalling(asyncio.Protocol):
    """Answers nothing until it is released, then everything."""

    def __init__(self, released: asyncio.Future[None]) -> None:
        self.released = released

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"\r\n\r\n")):
            self.released.add_done_callback(lambda _: self.transport.write(OK))


async def test_requests_held_back_by_a_stall_count_from_when_they_were_due() -> None:
    loop = asyncio.get_running_loop()
    released: asyncio.Future[None] = loop.create_future()
    server = await loop.create_server(lambda: Stalling(released), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop.call_later(0.3, released.set_result, None)

    figures = await OpenLoop(target_of(f"http://127.0.0.1:{port}/"), 200, 1).run(0.4)

    # One connection, 80 requests: those due in the first 300 ms waited for the stall to end, and a
    # closed loop would have seen a single slow answer.
    server.close()
    assert figures["requests"] == 80
    assert figures["errors"] == 0
    assert 80 < figures["p50_ms"] < 250
    assert figures["max_ms"] >= 280


async def test_what_is_never_answered_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.openloop.DRAIN_S", 0.1)
    loop = asyncio.get_running_loop()
    never: asyncio.Future[None] = loop.create_future()
    server = await loop.create_server(lambda: Stalling(never), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    figures = await OpenLoop(target_of(f"http://127.0.0.1:{port}/"), 100, 4).run(0.1)

    server.close()
    never.cancel()
    assert figures["requests"] == 0
    assert figures["errors"] == 10
    assert figures["p50_ms"] >= 100


class Slow(asyncio.Protocol):
    """The first chunk at once; the rest 50 ms later, cut in the middle of the last one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.transport.write(EVENTS + CHUNK)
        loop.call_later(0.05, self.transport.write, CHUNK * 2 + b"0\r")
        loop.call_later(0.06, self.transport.write, b"\n\r\n")


async def test_the_first_byte_is_told_from_the_last() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Slow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    figures = await Streams(target_of(f"http://127.0.0.1:{port}/"), chunks=3).run(2, 0.2)

    server.close()
    assert figures["errors"] == 0
    assert figures["first_p50_ms"] < 30
    assert figures["p50_ms"] >= 55


def _launch(code: str) -> Launch:
    port = free_port()
    return Launch([sys.executable, "-c", code, str(port)], port)


def test_a_server_is_ended_with_everything_that_it_sent_into_the_background(
    tmp_path: Path,
) -> None:
    with running(_launch(FORKING_SERVER), ANSWER_OK, tmp_path) as server:
        names = sorted(stat.name for stat in server.processes().values())
        assert "sleep" in names
        assert server.memory_mib() > 1

    mark = server.mark.encode()
    assert not [pid for pid in all_stats() if pid != os.getpid() and carries_mark(pid, mark)]
    assert server.left_behind == 1


def test_a_server_that_ends_at_start_says_why(tmp_path: Path) -> None:
    server = Server(_launch("raise SystemExit('no such model')"), tmp_path)

    with pytest.raises(ServerError, match=r"^ended with 1 at start\nno such model$"):
        server.wait_ready(ANSWER_OK)
    server.stop()


def test_a_wrong_answer_is_refused(tmp_path: Path) -> None:
    wants_more = Request(lambda body: body == b"something else")

    with (
        pytest.raises(ServerError, match=r"^wrong answer to GET /: b'ok'$"),
        running(_launch(FORKING_SERVER), wants_more, tmp_path),
    ):
        pass
