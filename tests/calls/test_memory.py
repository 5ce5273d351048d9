"""Everything in one loop, without sockets: what the inline engine does."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import numpy as np
import pytest

from salver.calls.cluster import Cluster
from salver.calls.handle import DeploymentHandle
from salver.spec.ids import DeploymentId
from salver.spec.status import Delta, DeploymentView, ReplicaView
from salver.wire.messages import Hello
from salver.wire.streams import Dialler, MemoryHub
from tests.calls.replica import Caller, Replica

DEPLOYMENT = DeploymentId("echo", "app")


async def test_calls_errors_and_streams_within_one_loop() -> None:
    dialler = Dialler(MemoryHub())
    replica = Replica(limit=2)
    hello = Hello(b"", "replica", "r", os.getpid())
    listener = await dialler.listen("memory:r", lambda: Caller(replica), hello, b"secret")
    cluster = Cluster(
        "memory:here",
        asyncio.get_running_loop(),
        secret=b"secret",
        dialler=dialler,
        watch=False,
    )
    cluster.adopt()
    view = DeploymentView(DEPLOYMENT, 2, -1, (ReplicaView("r", "memory:r"),))
    cluster.directory.apply(Delta(1, (view,)))
    handle: DeploymentHandle[Any] = DeploymentHandle(DEPLOYMENT, "memory:here")

    assert Cluster.here() is cluster
    assert await asyncio.gather(*(handle.remote(n) for n in range(10))) == list(range(10))
    large = np.arange(50_000)
    assert (await handle.add.remote(handle.remote(large), 1) == large + 1).all()
    with pytest.raises(ValueError, match=r"^wrong"):
        await handle.fail.remote("wrong")
    stream = handle.options(stream=True).count.remote(500)
    assert [item async for item in stream] == list(range(500))

    await cluster.aclose()
    assert Cluster.here() is None
    listener.close()
    await asyncio.sleep(0)
    dialler.close()
