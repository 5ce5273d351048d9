"""Routers: which replica gets a call, who waits, and what happens when a replica goes."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.calls.call import DONE
from salver.errors import BackPressureError, DeploymentUnavailableError, ReplicaDiedError
from salver.wire import frames
from tests.calls.fakes import Bench, FakeReplica, PlainCall


async def test_a_call_waits_until_its_deployment_has_a_replica() -> None:
    bench = Bench()
    (call,) = bench.submit(1)
    await bench.settle()
    assert not call.where
    replica = FakeReplica("late")
    bench.dialler.replicas[replica.view.address] = replica
    bench.show(replica)
    await bench.settle()
    assert call.where == ["late"]


async def test_a_call_that_has_to_wait_is_told_of_where_anybody_wants_to_know() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    reports = bench.router.reports = Mock()
    (running,) = bench.submit(1)
    assert reports.hurry.call_count == 0
    bench.submit(1)
    assert reports.hurry.call_count == 1
    bench.replicas[0].reject(running.call_id)
    assert reports.hurry.call_count == 2


async def test_links_are_made_on_first_use_only() -> None:
    bench = Bench("a")
    await bench.settle()
    assert bench.replicas[0].dials == 0
    eager = Bench("a")
    eager.cluster.router(eager.router.deployment)
    await bench.connect()
    assert bench.replicas[0].dials == 1


async def test_a_replica_never_has_more_calls_than_its_limit_the_rest_wait_in_order() -> None:
    bench = Bench("a", "b", limit=2)
    await bench.connect()
    calls = bench.submit(7)
    a, b = bench.replicas
    assert (len(a.calls), len(b.calls)) == (2, 2)
    assert bench.router.stats().queued == 3
    b.answer(next(iter(b.calls)))
    assert calls[4].where == ["b"]
    a.answer(next(iter(a.calls)))
    assert calls[5].where == ["a"]
    assert not calls[6].where
    assert (len(a.calls), len(b.calls)) == (2, 2)


async def test_one_blocked_replica_does_not_hold_calls_that_another_can_take() -> None:
    bench = Bench("blocked", "fine", limit=1)
    await bench.connect()
    calls = bench.submit(10)
    fine = bench.replicas[1]
    for _ in range(9):
        fine.answer(next(iter(fine.calls)))
    assert sum(call.state == DONE for call in calls) == 9


async def test_calls_that_a_replica_does_not_begin_are_given_to_another() -> None:
    """What has begun stays; the replica gets nothing more until it shows that it lives."""
    bench = Bench("stuck", "fine", limit=4)
    await bench.connect()
    stuck, fine = bench.replicas
    (held,) = stuck.connections
    (free,) = fine.connections
    free.last_begun = 100
    calls = bench.submit(6)
    assert (len(stuck.calls), len(fine.calls)) == (3, 3)
    held.last_begun = first = min(stuck.calls)
    fine.answer_all()
    await fine.has(2)
    assert [call.where for call in calls if len(call.where) > 1] == [["stuck", "fine"]] * 2
    assert held.recalled == max(stuck.calls)
    fine.answer_all()
    bench.submit(4)
    assert (len(stuck.calls), len(fine.calls)) == (3, 4)
    stuck.answer(first)
    assert bench.router.stats().inflight == 4
    bench.submit(1)
    assert len(stuck.calls) == 3


async def test_an_answer_to_a_call_that_was_taken_back_shows_that_the_replica_lives() -> None:
    """What is refused before user code runs (no such method, say) is answered, not withdrawn."""
    bench = Bench("stuck", "fine", limit=1)
    await bench.connect()
    stuck, fine = bench.replicas
    (free,) = fine.connections
    free.last_begun = 100
    bench.submit(2)
    fine.answer_all()
    await fine.has(1)
    stuck.fail(next(iter(stuck.calls)), ValueError("no such method"))
    calls = bench.submit(1)
    assert calls[0].where == ["stuck"]


async def test_where_no_replica_begins_its_calls_they_stay() -> None:
    bench = Bench("a", "b", limit=4)
    await bench.connect()
    calls = bench.submit(4)
    looked = asyncio.Event()
    bench.cluster.loop.call_later(0.05, looked.set)
    await looked.wait()
    assert [len(call.where) for call in calls] == [1] * 4


async def test_a_full_queue_refuses_at_once_but_not_while_a_slot_is_free() -> None:
    bench = Bench("a", limit=2, queued=1)
    calls = bench.submit(4)  # the link is still being made: its two slots count as free
    await bench.settle()
    assert [bool(call.where) for call in calls] == [True, True, False, False]
    assert [type(call.outcome) for call in calls[2:]] == [type(None), BackPressureError]
    error = calls[3].outcome
    assert (error.num_queued_requests, error.max_queued_requests) == (1, 1)
    bench.replicas[0].answer(2)
    assert calls[2].where == ["a"]


async def test_calls_that_came_before_the_bound_was_known_are_refused_once_it_is() -> None:
    bench = Bench(limit=2, queued=1, known=False)
    calls = bench.submit(5)
    assert [call.outcome for call in calls] == [None] * 5
    bench.show(FakeReplica("late"))
    assert [type(call.outcome) for call in calls] == [type(None)] * 3 + [BackPressureError] * 2
    told = {error.num_queued_requests for call in calls[3:] if (error := call.outcome)}
    assert told == {1}


async def test_a_rejected_call_goes_to_another_replica_before_those_that_came_later() -> None:
    bench = Bench("a", "b", limit=2)
    await bench.connect()
    a, b = bench.replicas
    calls = bench.submit(5)
    rejected = max(a.calls)
    first = next(call for call in calls if call.where == ["a"] and call.call_id == rejected)
    a.reject(rejected)
    b.answer(next(iter(b.calls)))
    assert first.where == ["a", "b"]
    assert not calls[4].where


async def test_a_replica_that_turned_a_call_away_is_left_alone_until_it_answers_or_is_ready() -> (
    None
):
    bench = Bench("a", limit=4)
    await bench.connect()
    (a,) = bench.replicas
    (call,) = bench.submit(1)
    a.reject(call.call_id)
    later = bench.submit(3)
    assert not a.calls
    a.ready()
    assert call.where == ["a", "a"]
    assert len(a.calls) == 1  # one call tries, not all of them
    a.answer(call.call_id, aux=0)
    assert [len(c.where) for c in later] == [1, 1, 1]


@pytest.mark.parametrize(("others", "sent"), [(3, 1), (2, 4), (0, 4)])
async def test_who_was_turned_away_and_hears_how_much_room_there_is_uses_it(
    others: int, sent: int
) -> None:
    bench = Bench("a", limit=4)
    await bench.connect()
    (a,) = bench.replicas
    for call in bench.submit(6)[:4]:
        a.reject(call.call_id)
    a.ready(others)
    assert len(a.calls) == sent


async def test_rejected_calls_keep_their_order() -> None:
    bench = Bench("a", limit=4)
    await bench.connect()
    (a,) = bench.replicas
    calls = bench.submit(6)
    for call in calls[:4]:
        a.reject(call.call_id)
    for turn in range(6):
        a.ready()
        assert [i for i, call in enumerate(calls) if call.call_id in a.calls] == [turn]
        a.answer(calls[turn].call_id, aux=4)
        a.reject(next(iter(a.calls))) if a.calls else None


async def test_two_callers_that_share_a_replica_both_get_through() -> None:
    """A replica with one slot and two callers: neither starves, nothing is lost."""
    one, two = Bench("a", limit=1), Bench("a", limit=1)
    replica = one.replicas[0]
    two.dialler.replicas = one.dialler.replicas
    calls = [*one.submit(20), *two.submit(20)]
    await one.settle()
    for _ in range(400):
        requests = [(c, i, conn) for c in replica.connections for i, conn in _under(c)]
        if not requests:
            break
        # The first in line is served, the other turned away; then both hear that there is room.
        conn, call_id, _ = requests[0]
        for other, other_id, _ in requests[1:]:
            _forget(other, other_id)
            other.back(frames.REJECT, 0, 1, other_id)
        _forget(conn, call_id)
        conn.back(frames.RES, 0, 0, call_id, b"")
        replica.ready()
    assert all(call.outcome == "answered" for call in calls)


def _under(conn: object) -> list[tuple[int, object]]:
    handler = conn.handler  # type: ignore[attr-defined]
    return [(i, conn) for i in handler.pending]


def _forget(conn: object, call_id: int) -> None:
    conn.replica.calls.pop(call_id, None)  # type: ignore[attr-defined]


async def test_a_cancelled_waiter_leaves_the_queue_and_a_sent_one_is_cancelled_there() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    (a,) = bench.replicas
    sent, waiting, last = bench.submit(3)
    bench.router.cancel(waiting)
    assert bench.router.stats().queued == 1
    cancelled_id = sent.call_id
    bench.router.cancel(sent)
    assert [frame[3] for frame in a.of_type(frames.CANCEL)] == [cancelled_id]
    assert last.where == ["a"]
    assert not waiting.where
    bench.router.cancel(sent)
    assert len(a.of_type(frames.CANCEL)) == 1


async def test_when_a_replica_dies_calls_not_begun_move_and_begun_ones_fail() -> None:
    bench = Bench("a", "b", limit=3)
    await bench.connect()
    a, b = bench.replicas
    calls = bench.submit(8)
    on_a = [call for call in calls if call.where == ["a"]]
    a.die(begun=on_a[0].call_id)
    assert isinstance(on_a[0].outcome, ReplicaDiedError)
    assert on_a[0].outcome.replica_id == "a"
    order = [*on_a[1:], *calls[6:]]
    for moved in order:
        b.answer(min(b.calls))
        assert moved.where[-1] == "b"


async def test_calls_that_a_dead_replica_had_not_begun_move_to_free_slots_at_once() -> None:
    bench = Bench("a", "b", limit=10)
    await bench.connect()
    a, b = bench.replicas
    calls = bench.submit(8)
    bench.show(b)  # so that nothing else, such as a new link, can wake them
    a.die()
    assert [call.where[-1] for call in calls] == ["b"] * 8


async def test_a_replica_that_left_the_view_finishes_its_calls_and_is_then_closed() -> None:
    bench = Bench("a", "b", limit=2)
    await bench.connect()
    a, b = bench.replicas
    calls = bench.submit(3)
    on_a = [call for call in calls if call.where == ["a"]]
    bench.show(b)
    more = bench.submit(2)
    assert all("a" not in call.where for call in more)
    assert a.connections
    for call in on_a:
        a.answer(call.call_id)
    assert all(call.outcome == "answered" for call in on_a)
    assert not a.connections


async def test_a_draining_replica_gets_nothing_new() -> None:
    bench = Bench("a", "b", limit=2)
    await bench.connect()
    a, b = bench.replicas
    a.goaway()
    assert not a.connections  # it had nothing to finish
    calls = bench.submit(2)
    assert [call.where for call in calls] == [["b"], ["b"]]
    bench.show(a, b)
    await bench.settle()
    b.goaway()
    assert b.connections
    b.reject(calls[1].call_id)
    b.answer(calls[0].call_id)
    assert not b.connections


async def test_a_connection_that_broke_is_made_anew() -> None:
    bench = Bench("a")
    await bench.connect()
    (a,) = bench.replicas
    a.die()
    await bench.settle()
    (call,) = bench.submit(1)
    assert call.where == ["a"]
    assert a.dials == 2


async def test_an_unreachable_replica_is_tried_again_only_when_something_happens() -> None:
    bench = Bench("a")
    (a,) = bench.replicas
    a.reachable = False
    first = bench.submit(1)[0]
    await bench.settle()
    assert a.dials == 1
    a.reachable = True
    second = bench.submit(1)[0]
    await bench.settle()
    assert (first.where, second.where) == (["a"], ["a"])


async def test_an_unreachable_replica_is_tried_again_when_the_others_are_full() -> None:
    bench = Bench("a", "b", limit=1)
    b = bench.replicas[1]
    b.reachable = False
    first = bench.submit(1)[0]
    await bench.settle()
    assert (first.where, b.dials) == (["a"], 1)
    b.reachable = True
    second = bench.submit(1)[0]
    await bench.settle()
    assert second.where == ["b"]


async def test_a_deleted_deployment_fails_those_who_wait_and_those_who_come() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    running, waiting = bench.submit(2)
    bench.show(gone="It was deleted.")
    assert isinstance(waiting.outcome, DeploymentUnavailableError)
    assert waiting.outcome.message == "It was deleted."
    bench.replicas[0].answer(running.call_id)
    assert running.outcome == "answered"
    (late,) = bench.submit(1)
    assert isinstance(late.outcome, DeploymentUnavailableError)
    bench.show(*bench.replicas)
    (again,) = bench.submit(1)
    await bench.settle()
    assert again.where == ["a"]


async def test_more_slots_are_used_at_once() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    calls = bench.submit(3)
    bench.limit = 3
    bench.show(*bench.replicas)
    assert all(call.where for call in calls)


async def test_a_closed_cluster_fails_calls_instead_of_keeping_them() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    _, waiting = bench.submit(2)
    bench.cluster.close()
    assert isinstance(waiting.outcome, DeploymentUnavailableError)
    assert not bench.replicas[0].connections


STEPS = ["submit", "answer", "reject", "ready", "cancel", "die", "hide", "show", "goaway"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 1000)), max_size=60),
    st.integers(1, 3),
)
def test_whatever_happens_no_call_is_lost_and_no_limit_is_broken(
    steps: list[tuple[str, int]], limit: int
) -> None:
    asyncio.run(_whatever(steps, limit))


def _step(
    bench: Bench, step: str, number: int, calls: list[PlainCall], shown: set[FakeReplica]
) -> None:
    replica = bench.replicas[number % 3]
    ids = sorted(replica.calls)
    match step:
        case "submit":
            calls += bench.submit(1 + number % 4)
        case "answer" if ids:
            replica.answer(ids[number % len(ids)])
        case "reject" if ids:
            replica.reject(ids[-1])
        case "ready":
            replica.ready()
        case "cancel" if calls:
            bench.router.cancel(calls[number % len(calls)])
        case "die":
            replica.die(begun=ids[0] & 0xFFFFFFFF if ids and number % 2 else 0)
        case "goaway":
            replica.goaway()
        case "hide" | "show":
            (shown.discard if step == "hide" else shown.add)(replica)
            bench.show(*sorted(shown, key=lambda r: r.name))


async def _whatever(steps: list[tuple[str, int]], limit: int) -> None:
    bench = Bench("a", "b", "c", limit=limit)
    shown = set(bench.replicas)
    calls: list[PlainCall] = []
    for step, number in steps:
        _step(bench, step, number, calls, shown)
        await bench.settle()
        for r in bench.replicas:
            for conn in r.connections:
                assert conn.handler.inflight <= limit  # type: ignore[attr-defined]
        stats = bench.router.stats()
        assert stats.queued == sum(call.state == 0 for call in calls)
    bench.show()  # away with every link and all it believes, then a healthy set again
    await bench.settle()
    for replica in bench.replicas:
        replica.answer_all()
    bench.show(*bench.replicas)
    for _ in range(len(calls) + 2):
        await bench.settle()
        for replica in bench.replicas:
            replica.answer_all()
    assert all(call.state == DONE for call in calls)
    bench.cluster.close()
    await bench.settle()


@pytest.mark.parametrize("count", [3, 12])
async def test_idle_replicas_share_the_calls(count: int) -> None:
    bench = Bench(*(f"r{i}" for i in range(count)), limit=10)
    await bench.connect()
    bench.submit(count * 4)
    loads = [len(replica.calls) for replica in bench.replicas]
    assert sum(loads) == count * 4
    # Of more than eight, each call goes to the better of two that are drawn.
    assert max(loads) - min(loads) <= (0 if count <= 8 else 8)


async def test_what_others_have_under_way_there_counts() -> None:
    bench = Bench("a", "b", limit=10)
    await bench.connect()
    a, b = bench.replicas
    one, two = bench.submit(2)
    busy = next(r for r in (a, b) if one.call_id in r.calls and one.where == [r.name])
    idle = b if busy is a else a
    busy.answer(one.call_id, aux=6)
    idle.answer(two.call_id, aux=0)
    calls = bench.submit(3)
    assert all(call.where == [idle.name] for call in calls)
    bench.submit(8)
    assert busy.calls  # what it cost this replica is taken off, so that it is asked again
