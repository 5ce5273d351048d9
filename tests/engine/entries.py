"""Entry points for tests: small processes that say what they see and do as they are told."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec

from salver.core.ports import Engine, Exit, ProcessSpec
from salver.engine.seat import Seat

GRANDCHILD = "import signal; print('grandchild', flush=True); signal.pause()"


def door(seat: Seat) -> None:
    """Accepts for ever; answers every connection with its pid."""
    listener = socket.socket(fileno=seat.fds["http"])
    while True:
        client, _ = listener.accept()
        with client:
            client.sendall(b"%d" % os.getpid())


def quick_death(seat: Seat) -> None:
    sys.exit(3)


def replica(seat: Seat) -> None:
    """Does what its label `do` says."""
    globals()[f"do_{seat.labels.get('do', 'wait')}"](seat)


def do_wait(seat: Seat) -> None:
    print("lives", flush=True)
    signal.pause()


def do_deaf(seat: Seat) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("lives", flush=True)
    while True:
        signal.pause()


def do_exit(seat: Seat) -> None:
    sys.exit(3)


def do_raise(seat: Seat) -> None:
    raise ValueError("no weights")


def do_last_words(seat: Seat) -> None:
    sys.stdout.write("x" * 20_000 + "\nwithout an end")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def do_flood(seat: Seat) -> None:
    """Writes numbered lines, many more than any buffer holds."""
    for number in range(20_000):
        print(f"line {number} " + "y" * 80)
    print("flood is over")


def do_grandchild(seat: Seat) -> None:
    child = subprocess.Popen([sys.executable, "-c", GRANDCHILD], start_new_session=True)
    print(f"grandchild is {child.pid}", flush=True)
    signal.pause()


def do_forked_grandchild(seat: Seat) -> None:
    pid = os.fork()
    if pid:
        print(f"grandchild is {pid}", flush=True)
    signal.pause()


def do_tell(seat: Seat) -> None:
    """Says what it was given."""
    facts = {
        "omp": os.environ["OMP_NUM_THREADS"],
        "mkl": os.environ["MKL_NUM_THREADS"],
        "cuda": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "word": os.environ.get("WORD"),
        "fds": sorted(int(fd.name) for fd in Path("/proc/self/fd").iterdir()),
        "comm": Path("/proc/self/comm").read_text().strip(),
        "title": Path("/proc/self/cmdline").read_text().rstrip("\0"),
        "random": random.random(),
        "stdin": sys.stdin.read(),
        "instance": seat.instance,
        "labels": {k: v for k, v in seat.labels.items() if not k.startswith("salver.")},
    }
    print("facts " + json.dumps(facts), flush=True)
    signal.pause()


def controller(seat: Seat) -> None:
    """An engine on a socket: one JSON object a line, each answered; exits as they come."""
    asyncio.run(_serve(seat))


async def _serve(seat: Seat) -> None:
    engine = seat.open_engine()
    exits: list[asyncio.StreamWriter] = []
    history: list[bytes] = []

    def tell(exit_: Exit) -> None:
        data = msgspec.json.encode({"exit": exit_, "reason": exit_.reason}) + b"\n"
        history.append(data)
        for writer in exits:
            writer.write(data)

    async def watch() -> None:
        async for exit_ in engine.exits():
            tell(exit_)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            command = json.loads(line)
            if command["do"] == "exits":
                writer.write(b"".join(history))
                exits.append(writer)
                continue
            try:
                answer = {"ok": await _obey(engine, command)}
            except Exception as error:  # noqa: BLE001 - the test sees it
                answer = {"error": f"{type(error).__name__}: {error}"}
            writer.write(msgspec.json.encode(answer) + b"\n")

    def drain() -> None:
        print("draining", flush=True)
        engine.drained()

    engine.on_drain(drain)
    task = asyncio.create_task(watch())
    control = socket.socket(fileno=seat.fds["control"])
    server = await asyncio.start_unix_server(serve, sock=control, limit=1 << 20)
    engine.answers()
    async with server:
        await server.serve_forever()
    task.cancel()


async def _obey(engine: Engine, command: dict[str, object]) -> object:
    match command:
        case {"do": "start", "process": process}:
            await engine.start(msgspec.convert(process, ProcessSpec))
            return None
        case {"do": "stop", "id": str(id_), "force": bool(force)}:
            await engine.stop(id_, force=force)
            return None
        case {"do": "list"}:
            return await engine.list()
        case {"do": "capacity"}:
            return await engine.capacity()
        case {"do": "pid"}:
            return os.getpid()
    raise ValueError(command)
