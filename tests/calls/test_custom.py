"""Rules of the user's inside a router: groups, waiting, failures."""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar

from salver.calls.call import DONE
from salver.calls.custom import WatchedLink
from salver.calls.request_router import (
    FIFOMixin,
    LocalityMixin,
    MultiplexMixin,
    PendingRequest,
    RequestRouter,
    RunningReplica,
)
from salver.errors import BackPressureError, SalverError
from salver.spec.ids import ReplicaId
from salver.spec.routing import RequestRouterConfig
from salver.spec.status import Delta, DeploymentView, ReplicaFacts
from tests.calls.fakes import DEPLOYMENT, Bench, FakeReplica, PlainCall


class ByName(RequestRouter):
    """A call goes to the replicas that its session names, group by group: "a,b/c"."""

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        assert pending_request is not None
        wish = pending_request.metadata.session_id
        if wish == "error":
            raise KeyError(wish)
        by_name = {r.replica_id.unique_id: r for r in candidate_replicas}
        return [[by_name[name] for name in group.split(",") if name in by_name]
                for group in wish.split("/")]  # fmt: skip


class Slowly(ByName):
    """The same, when the test lets it."""

    go = asyncio.Event()

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        await Slowly.go.wait()
        return await super().choose_replicas(candidate_replicas, pending_request)


class Listening(ByName):
    """Hears of answers."""

    def initialize_state(self) -> None:
        self.heard: list[Any] = []
        self.routed: list[str] = []

    def on_request_routed(self, pending_request: Any, replica_id: Any, result: Any) -> None:
        self.routed.append(pending_request.metadata.internal_request_id)

    def on_request_completed(self, replica_id: Any, internal_request_id: str) -> None:
        self.heard.append((replica_id.unique_id, internal_request_id))

    def on_replica_actor_died(self, replica_id: Any) -> None:
        self.heard.append(f"{replica_id.unique_id} died")


class NamedCall(PlainCall):
    @property
    def session_id(self) -> str:
        return str(self.name)


class RuledBench(Bench):
    """Replicas `a` and so on are called app#echo#a."""

    def __init__(self, kind: Any, *names: str, limit: int = 1, queued: int = -1) -> None:
        self.kind = kind
        super().__init__(*(f"app#echo#{n}" for n in names), limit=limit, queued=queued)

    def show(self, *replicas: FakeReplica, gone: str = "") -> None:
        self.version += 1
        config = RequestRouterConfig(request_router_class=self.kind)
        view = DeploymentView(
            DEPLOYMENT, self.limit, self.queued, tuple(r.view for r in replicas), gone,
            routing=config,
        )  # fmt: skip
        self.cluster.directory.apply(Delta(self.version, (view,)))

    async def open(self) -> None:
        self.router.every_link()
        await self.settle()

    def ask(self, *wishes: str) -> list[NamedCall]:
        calls = [NamedCall(wish) for wish in wishes]
        for call in calls:
            self.router.submit(call)
        return calls

    def free(self, name: str) -> None:
        replica = next(r for r in self.replicas if r.name.endswith(name))
        replica.answer(next(iter(replica.calls)))


def where(*calls: PlainCall) -> list[str]:
    return [call.where[-1][-1] if call.where else "" for call in calls]


async def test_groups_are_tried_in_their_order() -> None:
    bench = RuledBench(ByName, "a", "b", "c")
    await bench.open()
    calls = bench.ask("a/b", "a/b", "a/b", "c")
    assert where(*calls) == ["a", "b", "", "c"]


async def test_of_a_group_the_least_loaded_gets_the_call() -> None:
    bench = RuledBench(ByName, "a", "b", limit=3)
    await bench.open()
    assert where(*bench.ask("a", "a", "a,b", "a,b")) == ["a", "a", "b", "b"]


async def test_a_call_waits_for_those_it_names_and_holds_up_no_other() -> None:
    bench = RuledBench(ByName, "a", "b")
    await bench.open()
    first, second, third = bench.ask("a", "a", "b")
    assert where(first, second, third) == ["a", "", "b"]
    bench.free("b")
    assert where(second) == [""]
    bench.free("a")
    assert where(second) == ["a"]
    assert bench.router.waiting == 0


async def test_the_longest_waiter_that_names_a_replica_gets_its_slot() -> None:
    bench = RuledBench(ByName, "a", "b")
    await bench.open()
    bench.ask("a", "b")
    waiting = bench.ask("b", "a", "a,b")
    bench.free("a")
    assert where(*waiting) == ["", "a", ""]
    bench.free("b")
    assert where(*waiting) == ["b", "a", ""]


async def test_calls_that_came_first_are_chosen_for_when_there_are_replicas() -> None:
    bench = RuledBench(ByName, "a", "b")
    calls = bench.ask("b", "a")
    await bench.settle()
    assert where(*calls) == ["b", "a"]


async def test_who_names_nobody_is_asked_again_when_replicas_change() -> None:
    bench = RuledBench(ByName, "a", "b")
    a, b = bench.replicas
    bench.show(a)
    await bench.open()
    (call,) = bench.ask("b")
    assert where(call) == [""]
    bench.show(a, b)
    await bench.settle()
    assert where(call) == ["b"]


class ByStats(RequestRouter):
    """A call goes to the replicas that say they are ready, once one does."""

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        return [[r for r in candidate_replicas if r.routing_stats.get("ready")]]


async def test_who_names_nobody_is_asked_again_when_a_replica_speaks() -> None:
    bench = RuledBench(ByStats, "a", "b", limit=2)
    await bench.open()
    calls = bench.ask("one", "two")
    assert where(*calls) == ["", ""]
    facts = ReplicaFacts("app#echo#b", stats={"ready": True})
    bench.cluster.directory.apply(Delta(bench.version + 1, facts=(facts,)))
    assert where(*calls) == ["b", "b"]


class ByEarlierStats(ByStats):
    """The same, by what they said before it was thought over."""

    go = asyncio.Event()

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        chosen = await super().choose_replicas(candidate_replicas, pending_request)
        await ByEarlierStats.go.wait()
        return chosen


async def test_a_choice_during_which_a_replica_spoke_and_that_names_nobody_is_made_again() -> None:
    ByEarlierStats.go = asyncio.Event()
    bench = RuledBench(ByEarlierStats, "a", "b")
    await bench.open()
    (call,) = bench.ask("one")
    await bench.settle()
    facts = ReplicaFacts("app#echo#b", stats={"ready": True})
    bench.cluster.directory.apply(Delta(bench.version + 1, facts=(facts,)))
    ByEarlierStats.go.set()
    await bench.settle()
    assert where(call) == ["b"]


async def test_a_choice_may_take_its_time() -> None:
    Slowly.go = asyncio.Event()
    bench = RuledBench(Slowly, "a", "b", queued=1)
    await bench.open()
    calls = bench.ask("a", "b")
    assert where(*calls) == ["", ""]
    Slowly.go.set()
    await bench.settle()
    assert where(*calls) == ["a", "b"]
    later = bench.ask("a", "a")
    await bench.settle()
    third = bench.ask("b")[0]
    assert isinstance(third.outcome, BackPressureError)
    bench.free("a")
    assert where(*later) == ["a", ""]


async def test_a_cancelled_call_is_not_sent_after_its_choice() -> None:
    Slowly.go = asyncio.Event()
    bench = RuledBench(Slowly, "a")
    await bench.open()
    (call,) = bench.ask("a")
    bench.router.cancel(call)
    Slowly.go.set()
    await bench.settle()
    assert (where(call), bench.router.waiting) == ([""], 0)


async def test_a_choice_that_fails_fails_its_call() -> None:
    bench = RuledBench(ByName, "a")
    await bench.open()
    failed, fine = bench.ask("error", "a")
    assert isinstance(failed.outcome, KeyError)
    assert where(fine) == ["a"]
    assert bench.router.waiting == 0


async def test_a_choice_that_fails_while_all_are_busy_is_made_again() -> None:
    bench = RuledBench(ByName, "a")
    await bench.open()
    busy, later = bench.ask("a", "error")
    assert later.state != DONE
    bench.free("a")
    assert isinstance(later.outcome, KeyError)
    assert busy.outcome == "answered"


async def test_a_class_that_cannot_be_loaded_fails_calls_in_words() -> None:
    bench = RuledBench("no_such_module:Router", "a")
    await bench.open()
    (call,) = bench.ask("a")
    assert isinstance(call.outcome, SalverError)
    assert "No module named 'no_such_module'" in str(call.outcome)


async def test_who_listens_is_told_of_answers_and_deaths() -> None:
    bench = RuledBench(Listening, "a", "b")
    await bench.open()
    bench.ask("a")
    bench.free("a")
    rule: Any = bench.router.rule
    link = bench.router.links[0]
    assert isinstance(link, WatchedLink)
    (name,) = rule._user.routed
    assert name.startswith(bench.cluster.name)
    assert rule._user.heard == [("a", name)]
    bench.replicas[0].die()
    bench.ask("b")
    assert rule._user.heard[-1] == "a died"


async def test_what_was_rejected_is_chosen_for_again() -> None:
    bench = RuledBench(ByName, "a", "b", limit=2)
    await bench.open()
    (call,) = bench.ask("a/b")
    a = bench.replicas[0]
    a.reject(next(iter(a.calls)))
    assert [name[-1] for name in call.where] == ["a", "b"]


async def test_a_session_finds_its_replica_though_others_were_dialled_first() -> None:
    """With one that cannot be dialled, too."""
    path = "salver.serve.experimental.consistent_hash_router:ConsistentHashRouter"
    known = RuledBench(path, *"abcdefgh", limit=50)
    await known.open()
    fresh = RuledBench(path, *"abcdefgh", limit=50)
    sessions = [f"s{i}" for i in range(20)]
    first = known.ask(*sessions)
    late = fresh.ask(*sessions)
    await fresh.settle()
    # The first choice: who is slow here may find that a call has been given to another by now.
    assert [call.where[0] for call in late] == [call.where[0] for call in first]
    lame = RuledBench(path, "a", "b", limit=50)
    lame.replicas[0].reachable = False
    calls = lame.ask("x", "y", "z")
    await lame.settle()
    assert where(*calls) == ["b", "b", "b"]


class Looking(FIFOMixin, LocalityMixin, MultiplexMixin, RequestRouter):
    """Keeps what it can see when it chooses."""

    seen: ClassVar[dict[str, Any]] = {}

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        assert pending_request is not None
        first = candidate_replicas[0]
        Looking.seen = {
            "router": (self.app_name, self.supports_rejection_protocol, len(self.curr_replicas)),
            "near": self.apply_locality_routing(pending_request),
            "ranked": self.rank_replicas_via_locality(candidate_replicas),
            "holding": self.apply_multiplex_routing(pending_request),
            "queues": [self.replica_queue_len_cache.get(r.replica_id) for r in candidate_replicas],
            "pending": (pending_request.future, pending_request.resolved),
            "notes": pending_request.routing_context,
            "age": time.time() - pending_request.created_at,
            "replica": (
                first.max_ongoing_requests, first.actor_id, first.node_id, first.availability_zone,
                first.is_cross_language, first.backend_http_endpoint, first.multiplexed_model_ids,
            ),
        }  # fmt: skip
        return [candidate_replicas[:1]]


async def test_a_rule_sees_all_that_ray_serve_s_rules_see() -> None:
    bench = RuledBench(Looking, "a", "b", limit=3)
    await bench.open()
    bench.ask("", "")
    seen = Looking.seen
    everywhere = {ReplicaId.parse(f"app#echo#{name}") for name in "ab"}
    assert seen["router"] == ("app", True, 2)
    assert seen["near"] == seen["holding"] == everywhere
    assert [len(group) for group in seen["ranked"]] == [2]
    assert seen["queues"] == [1, 0]
    assert (seen["pending"], seen["notes"]) == ((None, True), {})
    assert seen["age"] >= 0
    assert seen["replica"] == (3, None, "", None, False, None, set())
