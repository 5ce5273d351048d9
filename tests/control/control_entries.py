"""Tiny processes for a real controller: a replica and a door that speak the control link only."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from salver.engine.seat import Seat
from salver.wire.messages import Hello
from salver.wire.rpc import Rpc
from salver.wire.streams import Dialler


def replica(seat: Seat) -> None:
    """Attaches to every controller there is; starts and drains at once."""
    asyncio.run(_link(seat, "replica"))


def door(seat: Seat) -> None:
    """Watches and applies; says what it has heard."""
    asyncio.run(_link(seat, "ingress"))


async def _link(seat: Seat, role: str) -> None:
    state: dict[str, Any] = {"state": "new", "place": None}
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 0)

    async def start(body: Any) -> None:
        if body["deployment"]["version"] == "bad":
            raise ValueError("no weights")
        state.update(state="running", place=body["place"])

    async def put(body: Any) -> None:
        state["place"] = body

    def changed(body: Any) -> None:
        served = {view["id"]["name"]: len(view["replicas"]) for view in body["deployments"]}
        print(f"heard {served} full={body['full']}", flush=True)
        rpc.notify("applied", {"version": body["version"]})

    while True:
        closed = asyncio.Event()
        rpc = Rpc(
            {"start": start, "place": put, "drain": lambda _: None, "changed": changed},
            on_close=lambda *_, closed=closed: closed.set(),
        )
        secret = seat.secret()
        hello = Hello(secret, role, seat.id, os.getpid())
        await Dialler().dial(f"unix:{seat.instance}/control.sock", rpc, hello, secret)
        if role == "replica":
            address = f"unix:{seat.instance}/r-{seat.id}.sock"
            await rpc.call("attach", {"id": seat.id, "address": address, **state})
        else:
            await rpc.call("watch", {})
        await closed.wait()
