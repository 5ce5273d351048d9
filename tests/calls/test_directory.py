"""The directory: what it makes of what the controller tells."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.calls.cluster import Cluster
from salver.calls.router import Router
from salver.errors import DeploymentUnavailableError, SalverError
from salver.spec.ids import DeploymentId, ReplicaId
from salver.spec.status import Delta, DeploymentView, ReplicaFacts, ReplicaView, RouteView
from tests.calls.fakes import DEPLOYMENT, Bench, PlainCall

OTHER = DeploymentId("other", "app")


def view(deployment: DeploymentId, *replicas: str, gone: str = "") -> DeploymentView:
    return DeploymentView(
        deployment, 5, -1, tuple(ReplicaView(name, f"memory:{name}") for name in replicas), gone
    )


def route(prefix: str) -> RouteView:
    return RouteView(prefix, "app", DEPLOYMENT)


async def test_listeners_hear_the_routes_that_are_known_and_each_change_once() -> None:
    directory = Bench().cluster.directory
    heard: list[list[str]] = []
    early = Cluster("memory:x", asyncio.get_running_loop(), secret=b"", watch=False).directory
    early.on_routes(lambda routes: heard.append([r.prefix for r in routes]))
    assert heard == []
    early.apply(Delta(1, routes=(route("/"),), full=True))
    early.apply(Delta(2, (view(OTHER, "a"),)))
    early.apply(Delta(3, routes=(route("/"), route("/b"))))
    assert heard == [["/"], ["/", "/b"]]
    directory.on_routes(lambda routes: heard.append([]))
    assert heard[-1] == []


async def test_an_old_delta_changes_nothing_but_a_full_one_of_a_new_controller_does() -> None:
    directory = Bench().cluster.directory
    directory.apply(Delta(7, (view(OTHER, "a"),), full=True))
    directory.apply(Delta(6, (view(OTHER),)))
    assert directory.views[OTHER].replicas
    directory.apply(Delta(1, (view(OTHER, "b"),), full=True))
    assert directory.views[OTHER].replicas[0].id == "b"
    assert directory.version == 1


async def test_a_deployment_that_a_full_snapshot_does_not_have_any_more_is_gone() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    _, waiting = bench.submit(2)
    bench.cluster.directory.apply(Delta(9, (view(OTHER, "b"),), full=True))
    assert isinstance(waiting.outcome, DeploymentUnavailableError)
    assert waiting.outcome.message == "The deployment was deleted."
    bench.cluster.close()


async def test_waiting_for_a_deployment_ends_when_it_is_told_of() -> None:
    bench = Bench()
    directory = bench.cluster.directory
    waiting = asyncio.ensure_future(directory.wait_for(OTHER))
    await asyncio.sleep(0)
    assert not waiting.done()
    directory.apply(Delta(9, (view(OTHER, "b"),)))
    assert (await waiting).id == OTHER
    assert (await directory.wait_for(OTHER)).id == OTHER


async def test_waiting_for_a_deployment_ends_when_the_cluster_is_closed() -> None:
    bench = Bench()
    waiting = asyncio.ensure_future(bench.cluster.directory.wait_for(OTHER))
    await asyncio.sleep(0)
    bench.cluster.close()
    with pytest.raises(SalverError, match=r"was closed\.$"):
        await waiting


@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 4))), max_size=20))
def test_views_are_what_the_last_delta_of_each_said(
    deltas: list[tuple[bool, set[int]]],
) -> None:
    async def check() -> None:
        cluster = Cluster("memory:x", asyncio.get_running_loop(), secret=b"", watch=False)
        expected: dict[int, str] = {}
        for version, (full, numbers) in enumerate(deltas, 1):
            if full:
                expected.clear()
            expected.update(dict.fromkeys(numbers, f"r{version}"))
            views = tuple(view(DeploymentId(str(n)), f"r{version}") for n in numbers)
            cluster.directory.apply(Delta(version, views, full=full))
        known = {
            int(v.id.name): v.replicas[0].id for v in cluster.directory.views.values() if not v.gone
        }
        assert known == expected

    asyncio.run(check())


def of_names(names: range) -> Iterator[DeploymentId]:
    return (DeploymentId(f"d{number}", "app") for number in names)


async def live_and_die(cluster: Cluster, deployment: DeploymentId) -> weakref.ref[Router]:
    """Deploy, use and delete it; what is left of its router."""
    directory = cluster.directory
    replica = str(ReplicaId("a", deployment))
    directory.apply(Delta(directory.version + 1, (view(deployment, replica),)))
    facts = ReplicaFacts(replica, models=("m",), room=2)
    directory.apply(Delta(directory.version + 1, facts=(facts,)))
    router = weakref.ref(cluster.router(deployment))
    assert (await directory.wait_for(deployment)).id == deployment
    directory.apply(Delta(directory.version + 1, (view(deployment, gone="deleted"),)))
    return router


async def test_of_deployments_that_were_deleted_nothing_stays_however_many_there_were() -> None:
    bench = Bench()
    directory = bench.cluster.directory
    routers = [await live_and_die(bench.cluster, name) for name in of_names(range(1000))]
    gc.collect()
    assert [router for router in routers if router() is not None] == []
    held = [len(value) for value in vars(directory).values() if isinstance(value, dict)]
    assert max(held) < 300, "only what was deleted lately is remembered"
    assert not directory._facts
    assert not directory._waiters
    bench.cluster.close()


async def test_what_was_deleted_lately_is_said_to_be_so_to_a_new_handle() -> None:
    bench = Bench()
    await live_and_die(bench.cluster, OTHER)
    gc.collect()
    call = PlainCall()
    bench.cluster.router(OTHER).submit(call)
    assert isinstance(call.outcome, DeploymentUnavailableError)
    assert not bench.cluster.directory.has(OTHER)
    bench.cluster.close()


async def test_a_router_that_is_held_finds_its_deployment_when_it_comes_back() -> None:
    bench = Bench("a")
    router = await bench.connect()
    bench.show(gone="deleted")
    for name in of_names(range(300)):
        await live_and_die(bench.cluster, name)
    gc.collect()
    assert DEPLOYMENT not in bench.cluster.directory.views
    assert bench.router is router
    bench.version = bench.cluster.directory.version
    bench.show(*bench.replicas)
    (call,) = bench.submit(1)
    await bench.settle()
    assert call.where == ["a"]
    router_was = weakref.ref(router)
    del router, call
    gc.collect()
    assert router_was() is bench.router, "it is kept again"
    bench.cluster.close()
