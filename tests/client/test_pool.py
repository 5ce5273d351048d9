"""What is tried again and what is not, against a server that says what it is told to say."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from salver.client import (
    AsyncClient,
    Client,
    ClientError,
    DeadlineError,
    LinkError,
    UnavailableError,
)
from salver.client.deadline import Deadline
from salver.client.http import Request
from salver.client.pool import Pool, Turns
from salver.client.rim import BlockingRim, LoopRim, run_now

METADATA = (
    b'{"name":"m","platform":"p","inputs":[{"name":"x","datatype":"FP32","shape":[-1]}],'
    b'"outputs":[{"name":"y","datatype":"FP32","shape":[-1]}]}'
)
SERVER = b'{"name":"s","version":"1","extensions":[]}'
ANSWER = b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[2]}]}'


def reply(body: bytes, status: str = "200 OK", more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n%s\r\n%s" % (
        status.encode(), len(body), more, body,
    )  # fmt: skip


class Last(bytes):
    """An answer after which the server closes its connection, without a word of that before."""


class Script:
    """Answers request after request with the next of these; b"": hangs up. Notes what was asked."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers
        self.asked: list[bytes] = []
        self.bodies: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while self.answers:
            try:
                conn, _ = self._socket.accept()
            except OSError:
                return
            with conn, conn.makefile("rb") as stream:
                while self.answers and (line := stream.readline()):
                    length = 0
                    while (field := stream.readline()) not in (b"\r\n", b""):
                        name, _, value = field.partition(b":")
                        length = int(value) if name.lower() == b"content-length" else length
                    self.bodies.append(stream.read(length))
                    self.asked.append(line.split()[0])
                    answer = self.answers.pop(0)
                    if not answer:
                        break
                    if answer == b"wait":
                        stream.readline()  # until the client leaves
                        break
                    conn.sendall(answer)
                    if isinstance(answer, Last):
                        break

    def close(self) -> None:
        self.answers.clear()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@contextmanager
def scripted(*answers: bytes) -> Iterator[Script]:
    script = Script(list(answers))
    try:
        yield script
    finally:
        script.close()


def ask(script: Script, **options: Any) -> Any:
    with Client(script.url, **options) as client:
        return client.model("m")(np.ones(1, np.float32)).tolist()


async def ask_async(script: Script, **options: Any) -> Any:
    async with AsyncClient(script.url, **options) as client:
        return (await client.model("m")(np.ones(1, np.float32))).tolist()


def test_a_lost_get_is_asked_again() -> None:
    with scripted(b"", reply(METADATA), reply(SERVER), reply(ANSWER)) as script:
        assert ask(script) == [2.0]
        assert script.asked == [b"GET", b"GET", b"GET", b"POST"]


async def test_a_lost_get_is_asked_again_by_the_asynchronous_client() -> None:
    with scripted(b"", reply(METADATA), reply(SERVER), reply(ANSWER)) as script:
        assert await ask_async(script) == [2.0]


def test_a_call_that_was_sent_is_never_sent_again() -> None:
    with scripted(reply(METADATA), reply(SERVER), b"", reply(ANSWER)) as script:
        with pytest.raises(LinkError):
            ask(script)
        assert script.asked == [b"GET", b"GET", b"POST"]


def test_a_call_is_sent_again_when_the_server_asks_for_it() -> None:
    busy = reply(b'{"error":"full"}', "503 Busy", b"retry-after: 0\r\n")
    with scripted(reply(METADATA), reply(SERVER), busy, busy, reply(ANSWER)) as script:
        assert ask(script) == [2.0]


@pytest.mark.parametrize("extensions", [b"", b'"binary_tensor_data"'])
def test_tensors_are_bytes_where_the_server_takes_them_and_json_elsewhere(
    extensions: bytes,
) -> None:
    server = SERVER.replace(b"[]", b"[" + extensions + b"]")
    with scripted(reply(METADATA), reply(server), reply(ANSWER)) as script:
        assert ask(script) == [2.0]
        assert (b"binary_data_size" in script.bodies[-1]) == bool(extensions)
        assert (b'"data":[1.0]' in script.bodies[-1]) != bool(extensions)


def test_a_path_cannot_smuggle_another_request() -> None:
    with scripted(reply(b"1", more=b"content-type: application/json\r\n")) as script:
        with Client(script.url) as client:
            assert client.call("/a b\r\nx: y\r\n\r\n") == 1
        assert script.asked == [b"POST"]


def test_a_503_that_does_not_ask_is_final_and_so_is_the_last_try() -> None:
    final = reply(b'{"error":"no"}', "503 Busy")
    with (
        scripted(reply(METADATA), reply(SERVER), final) as script,
        pytest.raises(UnavailableError, match=r"^no$"),
    ):
        ask(script)
    busy = reply(b'{"error":"full"}', "503 Busy", b"retry-after: 0\r\n")
    refused = pytest.raises(UnavailableError, match=r"^full$")
    with scripted(reply(METADATA), reply(SERVER), busy, busy) as script, refused:
        ask(script, retries=1)


def test_a_call_that_was_lost_behind_the_server_is_lost_too() -> None:
    died = reply(b'{"error":"the replica died"}', "502 Bad Gateway")
    lost = pytest.raises(LinkError, match=r"^the replica died$")
    with scripted(reply(METADATA), reply(SERVER), died) as script, lost:
        ask(script)


def test_no_longer_wait_than_the_deadline_lets() -> None:
    busy = reply(b'{"error":"full"}', "503 Busy", b"retry-after: 9\r\n")
    with scripted(reply(METADATA), reply(SERVER), busy) as script, pytest.raises(UnavailableError):
        ask(script, timeout=5)


def test_every_call_has_a_deadline() -> None:
    with scripted(reply(METADATA), reply(SERVER), b"wait") as script:
        with pytest.raises(DeadlineError, match=r"within 0\.2s") as caught:
            ask(script, timeout=0.2)
        assert isinstance(caught.value, TimeoutError)


async def test_every_asynchronous_call_has_a_deadline() -> None:
    with scripted(reply(METADATA), reply(SERVER), b"wait") as script, pytest.raises(DeadlineError):
        await ask_async(script, timeout=0.2)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_there_is_told_as_such(scheme: str) -> None:
    with socket.socket() as taken:  # so that it is nobody else's; it does not listen
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        told = pytest.raises(UnavailableError, match=rf"cannot be reached: .*{port}|{port} cannot")
        with Client(f"{scheme}://127.0.0.1:{port}", retries=0) as client, told:
            client.live()


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    with scripted(
        reply(METADATA, more=b"connection: close\r\n"), reply(SERVER), reply(ANSWER)
    ) as script:
        assert ask(script) == [2.0]


def test_what_only_reads_outlives_connections_that_end_silently() -> None:
    with scripted(*[Last(reply(b"{}"))] * 3, reply(b"{}")) as script, Client(script.url) as client:
        assert [client.live() for _ in range(4)] == [True] * 4


async def test_so_it_does_for_the_asynchronous_client() -> None:
    with scripted(*[Last(reply(b"{}"))] * 3, reply(b"{}")) as script:
        async with AsyncClient(script.url) as client:
            assert [await client.live() for _ in range(4)] == [True] * 4


def test_a_call_takes_no_idle_connection_that_has_ended() -> None:
    """It could not be sent again."""
    deadline, request = (
        Deadline(60, time.monotonic),
        Request.of("POST", "/", [("host", "h")], (b"{}",)),
    )
    with scripted(Last(reply(b"a")), reply(b"b")) as script:
        pool = Pool(BlockingRim(), "127.0.0.1", int(script.url.rpartition(":")[2]), None)
        assert run_now(pool.exchange(request, deadline)).body == b"a"
        pipe: Any = pool._idle[0]
        select.select([pipe._socket], [], [], 60)  # until the end of it has come
        assert run_now(pool.exchange(request, deadline)).body == b"b"
        pool.close()
        assert script.asked == [b"POST", b"POST"]


def test_chunks_and_bodies_without_a_length_are_read() -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"".join(
        b"1\r\n%c\r\n" % byte for byte in METADATA
    )
    unbounded = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + ANSWER
    with (
        scripted(chunked + b"0\r\n\r\n", reply(SERVER), unbounded) as script,
        Client(script.url) as client,
    ):
        assert client.model("m")(np.ones(1, np.float32)).tolist() == [2.0]


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        reply(b"{"),
        reply(b"[]"),
        reply(ANSWER, more=b"inference-header-content-length: 9999\r\n"),
        reply(
            b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[9],"data":[2]}]}'
        ),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error_of_the_client(answer: bytes) -> None:
    with scripted(reply(METADATA), reply(SERVER), answer) as script, pytest.raises(ClientError):
        ask(script)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Client("127.0.0.1:8000"),
        lambda: Client("ftp://host"),
        lambda: Client("http://host:0x"),
        lambda: Client("http://h", headers={"Content-Length": "1"}),
        lambda: Client("http://h", headers={"a": "b\r\nc: d"}),
        lambda: Client("http://h", headers={"a": "ü"}),
        lambda: Client("http://h", headers={"": "a"}),
        lambda: Client("grpc://h", headers={"a": "ü"}),
        lambda: Client("http://h", timeout=0),
        lambda: Client("http://h", timeout="5"),  # type: ignore[arg-type]
        lambda: Client("http://h", retries=-1),
        lambda: Client("http://h").model("m", timeout=-1),
        lambda: Client("http://h").model(""),
        lambda: Client("http://h").model(5),  # type: ignore[arg-type]
        lambda: Client("http://h").call("x"),
        lambda: Client("grpc://h", tls=ssl.create_default_context()),
    ],
)
def test_options_that_make_no_sense_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"not valid|cannot be|is for https"):
        make()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_client_that_is_closed_calls_no_more(scheme: str) -> None:
    client = Client(f"{scheme}://127.0.0.1:1")
    client.close()
    client.close()
    with pytest.raises(ClientError, match=r"^This client is closed: make another one\.$"):
        client.model("m")(1)


async def test_an_asynchronous_client_that_is_closed_calls_no_more() -> None:
    client = AsyncClient("http://127.0.0.1:1")
    await client.close()
    with pytest.raises(ClientError, match=r"^This client is closed"):
        await client.live()


async def test_turns_are_taken_in_order_and_none_is_lost_with_who_leaves() -> None:
    turns, went = Turns(LoopRim(), 2), []

    def long() -> Deadline:
        return Deadline(60, time.monotonic)

    async def take(name: str) -> None:
        await turns.take(long())
        went.append(name)

    await take("a")
    await take("b")
    left, *waiting = [asyncio.create_task(take(name)) for name in "cde"]
    await asyncio.sleep(0)
    assert went == ["a", "b"]
    left.cancel()
    turns.give_back()
    await asyncio.wait([left, waiting[0]])
    assert went == ["a", "b", "d"]
    turns.give_back()
    await waiting[1]
    with pytest.raises(DeadlineError):
        await turns.take(Deadline(0.001, time.monotonic))
    for _ in range(2):
        turns.give_back()
    await take("f")
    await take("g")
    assert went == ["a", "b", "d", "e", "f", "g"]


async def test_a_turn_that_comes_as_its_taker_leaves_is_the_next_one_s() -> None:
    turns = Turns(LoopRim(), 1)
    await turns.take(Deadline(60, time.monotonic))
    leaves = asyncio.create_task(turns.take(Deadline(60, time.monotonic)))
    await asyncio.sleep(0)
    turns.give_back()
    leaves.cancel()
    await asyncio.wait([leaves])
    if leaves.cancelled():
        await turns.take(Deadline(60, time.monotonic))
