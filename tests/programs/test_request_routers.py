"""Rules of routing: of users, and the ready ones, end to end."""

# A class decorator cannot change what a type checker takes the class for.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from statistics import mode
from typing import Any

import httpx
import pytest

from salver import serve
from salver.serve.config import DeploymentActorConfig, RequestRouterConfig
from salver.serve.experimental import CapacityQueue, CapacityQueueRouter
from salver.serve.experimental.round_robin_router import RoundRobinRouter
from salver.serve.request_router import (
    FIFOMixin,
    LocalityMixin,
    MultiplexMixin,
    PendingRequest,
    ReplicaID,
    ReplicaResult,
    RequestRouter,
    RunningReplica,
)
from tests.by_rank import ByRank, Ranked

HASHING = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"


class Tagged(Ranked):
    def its_rank(self) -> int:
        return self.rank

    def __call__(self, *_: Any) -> str:
        return serve.get_replica_context().replica_tag

    def tag(self, *_: Any, **_more: Any) -> str:
        return serve.get_replica_context().replica_tag

    def record_replica_metadata(self) -> dict[str, Any]:
        return {"tag": serve.get_replica_context().replica_tag, "sizes": [1, 2]}


class Highest(FIFOMixin, MultiplexMixin, LocalityMixin, RequestRouter):
    """All calls to the replica of the highest rank; each hook is counted."""

    def initialize_state(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.counts: Counter[str] = Counter()

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        assert pending_request is not None
        if pending_request.args == (self.prefix,):
            await asyncio.sleep(0)
        ranked = self.rank_replicas_via_multiplex(candidate_replicas, "none")[0]
        local = self.rank_replicas_via_locality(replicas=ranked)[0]
        free = self.select_available_replicas(candidates=local)
        if pending_request.kwargs.get("fail"):
            raise KeyError("no replica for this")
        return [[max(free, key=lambda r: r.routing_stats.get("rank", -1))]]

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: ReplicaResult | None
    ) -> None:
        assert replica_id in self.curr_replicas
        assert self.curr_replicas[replica_id].replica_metadata["sizes"] == [1, 2]
        self.counts["routed"] += 1

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        self.counts["completed"] += 1


@serve.deployment(num_replicas=3, max_ongoing_requests=10)
class Sticky(Tagged):
    pass


@serve.deployment(num_replicas=3)
class Holds(Tagged):
    async def hold(self) -> None:
        await asyncio.Event().wait()


@pytest.fixture
def app() -> Iterator[Any]:
    names = itertools.count()
    begun = []

    def run(router: Any, base: Any = Sticky, **options: Any) -> Any:
        name = f"routed-{next(names)}"
        begun.append(name)
        config = router if isinstance(router, RequestRouterConfig | dict) else (
            RequestRouterConfig(request_router_class=router)
        )  # fmt: skip
        made = base.options(request_router_config=config, **options)
        return serve.run(made.bind(), name=name, route_prefix=f"/{name}")

    yield run
    for name in begun:
        serve.delete(name)


def tags(handle: Any, count: int, **options: Any) -> list[str]:
    handle = handle.options(**options) if options else handle
    return [handle.tag.remote().result(timeout_s=60) for _ in range(count)]


class Reads(ByRank):
    """Which replica a call goes to says what the rule has read of it."""

    async def wanted(self, request: PendingRequest) -> int:
        asked = request.metadata
        if asked.is_http_request:
            (http,) = request.args
            assert request.kwargs == {}
            assert (http.method, http.url.path) == ("POST", f"{asked.route}/some/path")
            assert http.asgi_scope["query_string"] == b"rank=1"
            assert (asked.multiplexed_model_id, asked.session_id) == ("m", "anna")
            assert (asked.request_id, asked.call_method) == ("mine", "__call__")
            if "content-length" in http.headers:
                return int((await http.json())["rank"])
            with pytest.raises(serve.SalverError, match="has not come yet"):
                await http.body()
            return int(http.query_params["rank"])
        assert (asked.call_method, asked.is_http_request, asked.route) == ("tag", False, "")
        return int(request.args[0]) + int(request.kwargs["more"])


def test_a_rule_of_one_s_own_reads_requests_and_arguments(client: httpx.Client, app: Any) -> None:
    handle = app(Reads)
    headers = {"x-session-id": "anna", "serve_multiplexed_model_id": "m", "x-request-id": "mine"}
    seen = {
        wanted: client.post(
            f"/{handle.app_name}/some/path?rank=1", json={"rank": wanted}, headers=headers
        ).text
        for wanted in (0, 1, 2)
    }
    assert len(set(seen.values())) == 3
    large = client.post(
        f"/{handle.app_name}/some/path?rank=1", content=iter([b"x" * 3_000_000]), headers=headers
    )
    assert large.text == seen[1]
    for wanted, tag in seen.items():
        assert handle.tag.remote(0, more=wanted).result(timeout_s=60) == tag


def test_calls_of_one_session_go_to_one_replica(door: str, client: httpx.Client, app: Any) -> None:
    handle = app(HASHING)
    while len(set(tags(handle, 40))) < 3:
        pass  # not every replica has been dialled
    while len({client.get(f"/{handle.app_name}").text for _ in range(40)}) < 3:
        pass  # nor by the door
    for session in ("anna", "ben", "carl", "dora", "emil"):
        by_handle = tags(handle, 9, session_id=session)
        headers = {"x-session-id": session}
        by_http = [client.get(f"/{handle.app_name}", headers=headers).text for _ in range(9)]
        # A replica that is held up for some ms, as on a busy machine, has a stand-in.
        assert mode(by_http) == mode(by_handle)
        assert by_handle.count(mode(by_handle)) >= 5
    homes = {tags(handle, 1, session_id=f"s{i}")[0] for i in range(40)}
    assert len(homes) == 3
    assert len(set(tags(handle, 40))) == 3


QUEUED = "ray.serve.experimental.capacity_queue_router:CapacityQueueRouter"


class Queueing(CapacityQueueRouter):
    """One of the user's own."""


@pytest.mark.parametrize("kind", [QUEUED, CapacityQueueRouter, Queueing])
def test_a_program_with_a_capacity_queue_runs_as_it_is(door: str, app: Any, kind: Any) -> None:
    config = {
        "request_router_class": kind,
        "request_router_kwargs": {"capacity_queue_actor_name": "queue", "max_fault_retries": 3},
    }
    queue = DeploymentActorConfig(
        name="queue", actor_class=CapacityQueue, init_kwargs={"acquire_timeout_s": 0.5}
    )
    handle = app(config, max_ongoing_requests=1, deployment_actors=[queue])
    seen: set[str] = set()
    while len(seen) < 3:  # not every replica is dialled at first
        calls = [handle.tag.remote() for _ in range(9)]
        seen |= {call.result(timeout_s=60) for call in calls}


def test_without_stand_ins_a_session_waits_for_its_replica(door: str, app: Any) -> None:
    config = {
        "request_router_class": HASHING,
        "request_router_kwargs": {"num_fallback_replicas": 0},
    }
    handle = app(config, max_ongoing_requests=1)
    while len(set(tags(handle, 40))) < 3:
        pass  # not every replica has been dialled
    calls = [handle.options(session_id="one").tag.remote() for _ in range(20)]
    assert len({call.result(timeout_s=60) for call in calls}) == 1


def test_replicas_take_turns(door: str, app: Any) -> None:
    """Also one that has a call already, which the default would pass by."""
    handle = app(RoundRobinRouter, base=Holds)
    while len(set(tags(handle, 9))) < 3:
        pass  # not every replica has been dialled
    held = handle.hold.remote()
    # Nine each, but for a replica that is held up for some ms, as on a busy machine.
    assert len(turns := Counter(tags(handle, 27)).values()) == 3
    assert min(turns) >= 5
    held.cancel()


def test_a_rule_of_one_s_own_sees_what_replicas_say(door: str, app: Any) -> None:
    config = RequestRouterConfig(
        request_router_class=Highest, request_router_kwargs={"prefix": "slow"}
    )
    handle = app(config)
    while handle.its_rank.remote().result(timeout_s=60) != 2:
        pass  # not every replica has been dialled, and has said its rank
    found = [handle.tag.remote("slow").result(timeout_s=60) for _ in range(9)]
    assert mode(found) == mode(tags(handle, 9))
    assert found.count(mode(found)) >= 5
    with pytest.raises(KeyError, match="no replica for this"):
        handle.tag.remote(fail=True).result(timeout_s=60)
    counts = handle.tag._router.rule._user.counts
    assert counts["routed"] >= counts["completed"] >= 10


def test_a_rule_that_cannot_be_used_is_told_to_callers(door: str, app: Any) -> None:
    config = RequestRouterConfig(request_router_class=Highest, request_router_kwargs={"x": 1})
    handle = app(config)
    with pytest.raises(serve.exceptions.RayServeException, match=r"cannot be used.*unexpected"):
        handle.tag.remote().result(timeout_s=60)


def test_a_rule_is_named_by_its_place(door: str, client: httpx.Client, app: Any) -> None:
    """Also one of the app's own modules, which the door could not import."""
    handle = app(f"{__name__}:Highest")
    assert client.get(f"/{handle.app_name}").status_code == 200
    assert tags(handle, 1)
    with pytest.raises(serve.exceptions.RayServeException, match=r"'nowhere:Rule' cannot be impor"):
        app("nowhere:Rule")


def test_a_chosen_replica_shows_its_metadata(door: str, app: Any) -> None:
    handle = app(HASHING)
    tags(handle, 1)

    async def choose() -> Any:
        async with handle.tag.choose_replica() as replica:
            return replica.replica_metadata, await handle.tag.dispatch(replica)

    metadata, tag = asyncio.run(choose())
    assert metadata == {"tag": tag, "sizes": [1, 2]}


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        ({"request_router_clas": "a:B"}, TypeError, "Did you mean request_router_class"),
        ({"request_router_class": 3}, TypeError, "a subclass of RequestRouter"),
        ({"request_router_class": "a:KVAwareRouter"}, NotImplementedError, "language models"),
        ({"request_routing_stats_period_s": 0}, ValueError, "period_s=0"),
        ("consistent", TypeError, "expected a RequestRouterConfig"),
    ],
)
def test_wrong_configurations_are_refused(config: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        Sticky.options(request_router_config=config)
