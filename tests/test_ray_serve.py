"""docs/ray-serve.md is fresh and complete; and names that no other test is about."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from typing import Any

import grpc
import httpx
import msgspec
import pytest
import yaml

from salver import serve
from salver.api import session
from salver.calls.context import CallContext
from salver.serve.autoscaling_policy import (
    default_autoscaling_policy,
    replica_queue_length_autoscaling_policy,
)
from salver.serve.config import HTTPOptions, LoggingConfig, ProxyLocation, gRPCOptions
from salver.serve.grpc_util import RayServegRPCContext
from salver.serve.schema import ReplicaRank
from salver.wire.messages import CallHead
from tests.calls.test_custom import ByName, RuledBench
from tests.conftest import ROOT
from tools.ray_serve import LIST, PAGE, page


def test_the_page_is_fresh_and_says_something_of_every_name() -> None:
    text, missing = page(yaml.safe_load(LIST.read_text()))
    assert missing == []
    assert PAGE.read_text() == text, "run `python tools/ray_serve.py`"


class Place:
    def named(self, name: str) -> str:
        return name

    def __call__(self, request: Any) -> dict[str, Any]:
        context = serve.get_replica_context()
        return {
            "rank": [context.rank.rank, context.rank.node_rank, context.rank.local_rank],
            "world": context.world_size,
            "gang": context.gang_context,
            "version": context.code_version,
            "names": [context.app_name, context.deployment, context.replica_tag],
            "object": type(context.servable_object).__name__,
        }


Placed = serve.deployment(Place)


def test_a_replica_knows_its_place() -> None:
    try:
        serve.start(proxy_location=ProxyLocation.HeadOnly, http_options={"port": 0})
        handle = serve.run(Placed.bind(), name="app")
        assert handle.named.remote("x").result() == "x"
        assert session._instance is not None
        seen = httpx.get(session._instance.url, timeout=60).json()
    finally:
        serve.shutdown()
    assert ReplicaRank(*seen["rank"]) == ReplicaRank(0, 0, 0)
    assert (seen["world"], seen["gang"], seen["object"]) == (1, None, "Place")
    assert seen["names"][:2] == ["app", "Place"]
    assert seen["version"]


def level(request: Any = None) -> str:
    return logging.getLevelName(logging.getLogger("ray.serve").getEffectiveLevel())


def test_an_instance_is_as_it_was_started() -> None:
    """One instance for all options of `start`: each is seen from outside."""
    try:
        serve.start(
            http_options=HTTPOptions(
                host="127.0.0.2", port=0, root_path="/api", root_url="https://shop.org"
            ),
            grpc_options=gRPCOptions(port=0, inference=True),
            logging_config=LoggingConfig(log_level="WARNING"),
        )
        serve.run(serve.deployment(level).bind())
        instance = session._instance
        assert instance is not None
        assert httpx.get(instance.url + "/api", timeout=60).text == "WARNING"
        assert instance.public_url == "https://shop.org"
        assert instance.url.startswith("http://127.0.0.2:")
        assert not instance.url.startswith("http://127.0.0.2:8000")
        assert not instance.grpc_address.endswith(":9000")
        with grpc.insecure_channel(instance.grpc_address) as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
    finally:
        serve.shutdown()


async def test_an_instance_ends_while_the_loop_goes_on() -> None:
    serve.start(http_options={"port": 0})
    assert session._instance is not None
    url, ticks = session._instance.url, 0
    ending = asyncio.create_task(serve.shutdown_async())
    while not ending.done():
        ticks += 1
        await asyncio.sleep(0)
    assert ticks > 1
    async with httpx.AsyncClient(timeout=60) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(url)


def test_names_that_only_programs_of_ray_know() -> None:
    assert ProxyLocation("HeadOnly") is ProxyLocation.HeadOnly
    assert gRPCOptions() == gRPCOptions(port=9000, enable_reflection=True)


def test_the_default_policies_are_one() -> None:
    assert replica_queue_length_autoscaling_policy is default_autoscaling_policy


def test_the_script_writes_the_page() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "ray_serve.py")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


class Hears(ByName):
    """Writes down what it is told."""

    def initialize_state(self) -> None:
        self.heard: list[str] = []

    def on_send_request(self, replica_id: Any) -> None:
        self.heard.append(f"send {replica_id.unique_id}")

    def on_request_routed(self, pending_request: Any, replica_id: Any, result: Any) -> None:
        self.heard.append(f"routed {replica_id.unique_id}")

    def on_new_queue_len_info(self, replica_id: Any, info: int) -> None:
        self.heard.append(f"queue {replica_id.unique_id} {info}")


async def test_a_rule_of_one_s_own_hears_of_what_is_sent_and_how_full_replicas_are() -> None:
    bench = RuledBench(Hears, "a")
    await bench.open()
    bench.ask("a")
    bench.free("a")
    rule: Any = bench.router.rule
    heard = rule._user.heard
    assert heard[:2] == ["send a", "routed a"]
    assert any(word.startswith("queue a ") for word in heard)


def test_a_grpc_call_shows_who_called() -> None:
    head = CallHead((("traceparent", "00-1"), ("tracestate", "a=b")), "ipv4:127.0.0.1:1")
    raw = msgspec.msgpack.encode(head)
    context: Any = RayServegRPCContext(CallContext(), raw)
    assert (context.traceparent, context.tracestate) == ("00-1", "a=b")
    assert context.peer() == "ipv4:127.0.0.1:1"
    assert context.auth_context() == {}
    assert context.peer_identities() is None
    assert context.peer_identity_key() is None
