"""The controller, with an engine and replicas that live in this test: no processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from salver.control.controller import Controller
from salver.control.publish import Watcher
from salver.control.store import MemoryStore
from salver.core.ports import Exit, ProcessSpec, ProcessStatus, Resources
from salver.errors import CapacityError, DeployFailedError, SalverError
from salver.spec.app import AppSpec, DeploymentSpec, ImportedCode
from salver.spec.backpressure import BackpressureConfig
from salver.spec.ids import DeploymentId
from salver.spec.options import DeploymentOptions
from salver.spec.start import Attachment, Place, StartSpec
from salver.spec.status import (
    ApplicationStatus,
    AppStatus,
    Delta,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentView,
    ReplicaState,
    RouteView,
)
from salver.testing.clock import VirtualClock, virtual_loop

CODE = ImportedCode("nowhere", "Nothing")


class FakeReplica:
    """Starts when told, fails when told to."""

    is_open = True

    def __init__(self, engine: FakeEngine, spec: ProcessSpec) -> None:
        self.engine = engine
        self.spec = spec
        self.asked: list[str] = []
        self.state = "new"
        self.start_spec: StartSpec | None = None
        self.place: Place | None = None
        self.route: str | None = None
        self.told: dict[str, Any] = {}  # what came last with each question

    @property
    def rank(self) -> int:
        return self.place.rank if self.place is not None else -1

    @property
    def world_size(self) -> int:
        return self.place.world_size if self.place is not None else 0

    def _note(self, method: str, body: Any) -> None:
        if method != "autoscaling_stats":
            self.asked.append(method)
            self.engine.calls.append((self.spec.id, method))
        self.told[method] = body
        if method == "check_health":
            self.engine.checked.set()

    async def call(self, method: str, body: Any = None) -> Any:
        self._note(method, body)
        if method == "check_health" and self.spec.id in self.engine.unwell:
            raise SalverError("RuntimeError: CUDA has gone")
        if method == self.engine.stuck:
            await asyncio.Event().wait()
        if method == "place":
            self.place = body
        if method == "reconfigure":
            self.route = body.route_prefix
        if method == "autoscaling_stats":
            if isinstance(self.engine.figures, asyncio.Event):
                await self.engine.figures.wait()
            if isinstance(self.engine.figures, Exception):
                raise self.engine.figures
            return self.engine.figures
        if method == "start":
            self.start_spec, self.place, self.route = body, body.place, body.route_prefix
            await self.engine.gate.wait()
            if body.deployment.version in self.engine.failing:
                raise SalverError("ValueError: no weights")
            self.state = "running"
        return None


class FakeEngine:
    """Processes as entries in a table. They attach at once, to whichever controller there is."""

    def __init__(self, cpus: float = 100.0) -> None:
        self.cpus = cpus
        self.replicas: dict[str, FakeReplica] = {}
        self.controller: Controller | None = None
        self.failing: set[str] = set()
        self.unwell: set[str] = set()
        self.stuck = ""  # what nothing comes of
        self.gate = asyncio.Event()
        self.gate.set()
        self.checked = asyncio.Event()  # somebody's health
        self.calls: list[tuple[str, str]] = []
        self.figures: Any = None  # what replicas say of their load
        self.is_drained = asyncio.Event()
        self.drain: Callable[[], None] | None = None
        self._exits: asyncio.Queue[Exit] = asyncio.Queue()

    async def start(self, *processes: ProcessSpec) -> None:
        asked = sum(process.resources.num_cpus for process in processes)
        if asked > self.free():
            raise CapacityError(f"needs num_cpus={asked:g}")
        for process in processes:
            replica = self.replicas[process.id] = FakeReplica(self, process)
            self.attach(replica)

    def attach(self, replica: FakeReplica) -> None:
        assert self.controller is not None
        address = f"memory:{replica.spec.id}"
        said = Attachment(replica.spec.id, address, replica.state, replica.place, replica.route)
        asyncio.get_running_loop().call_soon(self.controller.attached, said, replica)

    def ranks(self) -> list[int]:
        return sorted(r.rank for r in self.replicas.values())

    def free(self) -> float:
        return self.cpus - sum(r.spec.resources.num_cpus for r in self.replicas.values())

    async def stop(self, process_id: str, *, force: bool = False) -> None:
        how = "kill" if force else "term"
        self.calls.append((process_id, how))
        if how != self.stuck:
            self.die(process_id, signal=9 if force else 15)

    def die(self, process_id: str, *, signal: int) -> None:
        if self.replicas.pop(process_id, None) is not None:
            self._exits.put_nowait(Exit(process_id, "replica", 1, signal=signal))

    async def list(self) -> list[ProcessStatus]:
        return [
            ProcessStatus(r.spec.id, r.spec.kind, 1, r.spec.labels) for r in self.replicas.values()
        ]

    async def exits(self) -> AsyncIterator[Exit]:
        while True:
            yield await self._exits.get()

    async def capacity(self) -> tuple[Resources, Resources]:
        return Resources(self.cpus), Resources(self.free())

    def fits(self, resources: Resources) -> bool:
        return resources.num_cpus <= self.cpus

    def on_drain(self, callback: Callable[[], None]) -> None:
        self.drain = callback

    def drain_limit(self, seconds: float) -> None:
        pass

    def answers(self) -> None: ...

    def drained(self) -> None:
        self.is_drained.set()


class Directory:
    """What a router or a door would know."""

    def __init__(self, controller: Controller, *, door: bool = False, applies: bool = True) -> None:
        self.views: dict[DeploymentId, DeploymentView] = {}
        self.routes: dict[str, RouteView] = {}
        self.deltas: list[Delta] = []
        self.applies = applies
        self.controller = controller
        self.watcher = Watcher("door", self.changed, door=door)
        controller.publisher.add(self.watcher)

    def changed(self, delta: Delta) -> None:
        self.deltas.append(delta)
        if delta.full:
            self.views.clear()
        self.views.update({view.id: view for view in delta.deployments})
        if delta.routes is not None:
            self.routes = {route.prefix: route for route in delta.routes}
        if self.applies:
            self.controller.publisher.applied(self.watcher, delta.version)


def app(
    version: str = "1",
    *,
    name: str = "app",
    route: str | None = "/",
    deployments: tuple[str, ...] = ("Model", "Door"),
    **options: Any,
) -> AppSpec:
    return AppSpec(
        name,
        route,
        tuple(
            DeploymentSpec(
                DeploymentId(d, name),
                CODE,
                b"",
                DeploymentOptions(**options),
                version,
                ingress=d == deployments[-1],
            )
            for d in deployments
        ),
    )


@asynccontextmanager
async def controlling(
    engine: FakeEngine, store: MemoryStore | None = None, doors: int = 0, **options: Any
) -> AsyncIterator[Controller]:
    controller = Controller(engine, store or MemoryStore(), doors=doors, **options)
    engine.controller = controller
    await controller.open()
    yield controller
    await controller.close()


async def run(controller: Controller, spec: AppSpec) -> AppStatus:
    controller.deploy(spec)
    return await controller.wait(spec.name)


async def until(controller: Controller, true: Callable[[], bool]) -> None:
    await asyncio.wait_for(controller.news.until(true), 60)


async def test_a_deployed_app_runs_and_its_replicas_are_published() -> None:
    async with controlling(FakeEngine()) as controller:
        directory = Directory(controller)
        status = await run(controller, app(num_replicas=2))
        assert status.status is ApplicationStatus.RUNNING
        assert status.deployments["Model"].replica_states == {ReplicaState.RUNNING: 2}
        views = directory.views
        assert len(views[DeploymentId("Model", "app")].replicas) == 2
        assert views[DeploymentId("Door", "app")].ingress
        assert directory.routes["/"].deployment == DeploymentId("Door", "app")


async def test_it_is_up_when_every_first_app_has_run_or_failed_and_one_has_run() -> None:
    engine = FakeEngine()
    engine.failing = {"bad"}
    async with controlling(engine) as controller:
        directory = Directory(controller)
        bad = app("bad", max_constructor_retry_count=1)
        assert (await run(controller, bad)).status is ApplicationStatus.DEPLOY_FAILED
        engine.gate.clear()
        controller.deploy(app(name="slow", route=None))
        await until(controller, lambda: len(engine.replicas) == 2)
        assert not any(delta.up for delta in directory.deltas)
        engine.gate.set()
        assert (await controller.wait("slow")).status is ApplicationStatus.RUNNING
        assert directory.deltas[-1].up
        await controller.shutdown()
        assert controller.publisher.is_up


async def test_who_waits_for_room_holds_up_no_other_app() -> None:
    engine = FakeEngine(cpus=1)
    async with controlling(engine) as controller:
        large = app(name="large", route=None, num_cpus=2.0)
        controller.deploy(large)
        await until(controller, lambda: _shortage(controller, "large"))
        assert not controller.publisher.is_up  # nothing runs
        controller.deploy(app(name="good", route="/good", num_cpus=0.0))
        assert not controller.publisher.is_up
        assert (await controller.wait("good")).status is ApplicationStatus.RUNNING
        assert controller.publisher.is_up


async def test_an_app_with_room_for_some_of_its_replicas_is_up_with_these() -> None:
    async with controlling(FakeEngine(cpus=2)) as controller:
        controller.deploy(app(deployments=("Door",), num_replicas=3, num_cpus=1.0))
        await until(controller, lambda: controller.publisher.is_up)
        status = controller.status().applications["app"]
        assert status.status is ApplicationStatus.DEPLOYING
        assert status.deployments["Door"].replica_states[ReplicaState.RUNNING] == 2


def _shortage(controller: Controller, name: str) -> bool:
    message = controller.status().applications[name].message
    return "waiting for resources" in message and "not tried yet" not in message


async def test_ranks_are_the_smallest_free_ones() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, app(num_replicas=3, deployments=("Door",)))
        assert engine.ranks() == [0, 1, 2]
        assert {r.world_size for r in engine.replicas.values()} == {3}


async def test_wait_returns_only_when_every_door_has_applied_the_routes() -> None:
    async with controlling(FakeEngine(), doors=1) as controller:
        door = Directory(controller, door=True, applies=False)
        controller.deploy(app())
        waiting = asyncio.create_task(controller.wait("app"))
        await until(controller, lambda: controller.status().applications["app"].status == "RUNNING")
        await asyncio.sleep(0)
        assert not waiting.done()
        controller.publisher.applied(door.watcher, controller.publisher.version)
        assert (await waiting).status is ApplicationStatus.RUNNING


async def test_a_replica_that_dies_is_replaced_at_once_and_the_cause_is_told() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        events: list[str] = []
        controller.events.listen(lambda e: events.append(f"{e.state} {e.message}"))
        await run(controller, app(deployments=("Door",)))
        victim = next(iter(engine.replicas))
        engine.gate.clear()
        engine.die(victim, signal=9)
        await until(
            controller, lambda: controller.status().applications["app"].status == "UNHEALTHY"
        )
        overview = controller.status().applications["app"].deployments["Door"]
        assert overview.message.endswith(f"Replica {victim} died: killed by signal 9 (SIGKILL)")
        engine.gate.set()
        assert (await controller.wait("app")).status is ApplicationStatus.RUNNING
        assert "DIED killed by signal 9 (SIGKILL)" in events


async def test_a_constructor_that_keeps_failing_fails_the_app_with_its_traceback() -> None:
    engine = FakeEngine()
    engine.failing = {"bad"}
    async with controlling(engine) as controller:
        directory = Directory(controller)
        status = await run(controller, app("bad", deployments=("Door",)))
        assert status.status is ApplicationStatus.DEPLOY_FAILED
        assert status.deployments["Door"].message == "ValueError: no weights"
        assert [c for _, c in engine.calls].count("start") == 3
        told = directory.views[DeploymentId("Door", "app")].gone
        assert told == "Deployment app#Door could not start; its status says why."


async def test_a_constructor_is_called_as_often_as_the_deployment_says() -> None:
    engine = FakeEngine()
    engine.failing = {"bad"}
    async with controlling(engine) as controller:
        spec = app("bad", deployments=("Door",), max_constructor_retry_count=2)
        assert (await run(controller, spec)).status is ApplicationStatus.DEPLOY_FAILED
        assert [call for _, call in engine.calls].count("start") == 2


async def test_replicas_are_told_the_times_of_their_deployment() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        times: dict[str, Any] = {"health_check_timeout_s": 7.0, "graceful_shutdown_timeout_s": 3.0}
        spec = app(deployments=("Door",), health_check_period_s=0.01, **times)
        await run(controller, spec)
        (replica,) = engine.replicas.values()
        await asyncio.wait_for(engine.checked.wait(), 60)
        await controller.delete("app")
        assert replica.told["check_health"]["timeout_s"] == 7.0
        assert replica.told["drain"]["timeout_s"] == 3.0


async def test_an_update_exchanges_as_many_replicas_at_a_time_as_the_deployment_says() -> None:
    engine = FakeEngine()
    many: dict[str, Any] = {
        "num_replicas": 4,
        "max_surge_percent": 0,
        "rolling_update_percentage": 0.5,
    }
    async with controlling(engine) as controller:
        await run(controller, app("1", deployments=("Door",), **many))
        old = set(engine.replicas)
        engine.gate.clear()
        controller.deploy(app("2", deployments=("Door",), **many))
        await until(controller, lambda: len(engine.replicas.keys() - old) == 2)
        assert len(engine.replicas.keys() & old) == 2
        engine.gate.set()
        await until(controller, lambda: not engine.replicas.keys() & old)
        assert (await controller.wait("app")).status is ApplicationStatus.RUNNING


async def test_a_failed_update_leaves_the_old_replicas_serving_on_the_old_route() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        directory = Directory(controller)
        await run(controller, app("1", route="/old"))
        before = directory.views[DeploymentId("Door", "app")].replicas
        engine.failing = {"bad"}
        status = await run(controller, app("bad", route="/new"))
        assert status.status is ApplicationStatus.DEPLOY_FAILED
        assert directory.views[DeploymentId("Door", "app")].replicas == before
        assert set(directory.routes) == {"/old"}
        engine.failing = set()
        assert (await run(controller, app("3", route="/new"))).status == "RUNNING"
        assert set(directory.routes) == {"/new"}


@pytest.mark.parametrize("restarted", [False, True], ids=["same controller", "a new one"])
async def test_after_a_failed_update_the_old_version_is_kept_at_its_strength(
    restarted: bool,
) -> None:
    """With its own options, also for routers; whoever of it dies is replaced by its like."""
    engine, store = FakeEngine(), MemoryStore()
    old = app("1", num_replicas=2, max_ongoing_requests=3, deployments=("Door",))
    new = app("bad", max_ongoing_requests=9, deployments=("Door",))
    async with controlling(engine, store) as controller:
        await run(controller, old)
        engine.failing = {"bad"}
        assert "2 replicas of the version before keep" in (await run(controller, new)).message
        if not restarted:
            await check_strength(controller, engine)
    if restarted:
        async with controlling(engine, store) as controller:
            for replica in list(engine.replicas.values()):
                engine.attach(replica)
            await controller.wait("app")
            await check_strength(controller, engine)


async def check_strength(controller: Controller, engine: FakeEngine) -> None:
    directory = Directory(controller)
    victim = next(iter(engine.replicas))
    engine.die(victim, signal=9)
    door = DeploymentId("Door", "app")
    before = directory.views[door]
    await until(controller, lambda: directory.views[door] != before)
    await until(controller, lambda: len(directory.views[door].replicas) == 2)
    shown = [view for delta in directory.deltas for view in delta.deployments]
    starts = [engine.replicas[replica.id].start_spec for replica in shown[-1].replicas]
    assert [start.deployment.version for start in starts if start] == ["1", "1"]
    assert {view.max_ongoing_requests for view in shown} == {3}
    assert {view.gone for view in shown} == {""}
    assert controller.status().applications["app"].status is ApplicationStatus.DEPLOY_FAILED


async def test_an_update_under_another_ingress_takes_the_route_when_it_is_complete() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        directory = Directory(controller)
        await run(controller, app("1", deployments=("Old",)))
        engine.gate.clear()
        controller.deploy(app("2", deployments=("New",)))
        await until(controller, lambda: len(engine.replicas) == 2)
        assert directory.routes["/"].deployment.name == "Old"
        engine.gate.set()
        await controller.wait("app")
        assert directory.routes["/"].deployment.name == "New"


async def test_an_update_never_shows_a_deployment_without_replicas() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, app("1", num_replicas=2))
        directory = Directory(controller)
        await run(controller, app("2", num_replicas=2))
        shown = [view for delta in directory.deltas for view in delta.deployments]
        assert all(len(view.replicas) == 2 for view in shown)
        for view in directory.views.values():
            starts = [engine.replicas[replica.id].start_spec for replica in view.replicas]
            assert {start.deployment.version for start in starts if start} == {"2"}


async def test_without_room_old_and_new_take_turns() -> None:
    engine = FakeEngine(cpus=2)
    async with controlling(engine) as controller:
        await run(controller, app("1", num_replicas=2, num_cpus=1, deployments=("Door",)))
        status = await run(controller, app("2", num_replicas=2, num_cpus=1, deployments=("Door",)))
        assert status.status is ApplicationStatus.RUNNING
        assert {
            r.start_spec.deployment.version for r in engine.replicas.values() if r.start_spec
        } == {"2"}


async def test_a_deployment_without_room_waits_says_so_and_gives_up_with_the_reason() -> None:
    engine = FakeEngine(cpus=1)
    async with controlling(engine) as controller:
        controller.deploy(app(num_cpus=4, deployments=("Door",), startup_timeout_s=0.5))
        await until(
            controller,
            lambda: "waiting for resources" in controller.status().applications["app"].message,
        )
        assert "needs num_cpus=4" in controller.status().applications["app"].message
        status = await controller.wait("app")
        assert status.status is ApplicationStatus.DEPLOY_FAILED
        assert "startup_timeout_s" in status.message


async def test_what_waits_for_capacity_starts_as_soon_as_it_is_freed() -> None:
    engine = FakeEngine(cpus=1)
    async with controlling(engine) as controller:
        await run(controller, app(name="a", route="/a", num_cpus=1, deployments=("Door",)))
        controller.deploy(app(name="b", route="/b", num_cpus=1, deployments=("Door",)))
        await until(
            controller,
            lambda: "waiting for resources" in controller.status().applications["b"].message,
        )
        await controller.delete("a")
        assert (await controller.wait("b")).status is ApplicationStatus.RUNNING


async def test_delete_takes_the_route_first_then_callers_then_callees() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, app())
        directory = Directory(controller)
        engine.calls.clear()
        await controller.delete("app")
        assert directory.routes == {}
        drained = [i.split("#")[1] for i, call in engine.calls if call == "drain"]
        assert drained == ["Door", "Model"]
        assert engine.replicas == {}
        assert controller.status().applications == {}
        assert all(view.gone for view in directory.views.values())


async def test_deleting_what_is_not_there_is_no_error() -> None:
    async with controlling(FakeEngine()) as controller:
        await controller.delete("nothing")
        with pytest.raises(DeployFailedError, match="there is no such app"):
            await controller.wait("nothing")


async def test_two_apps_on_one_route_are_refused_by_name() -> None:
    async with controlling(FakeEngine()) as controller:
        await run(controller, app(name="a"))
        with pytest.raises(SalverError, match="'/' of app 'b' is taken by app 'a'"):
            controller.deploy(app(name="b"))


def owners(directory: Directory) -> dict[str, str]:
    return {prefix: route.app for prefix, route in directory.routes.items()}


async def test_apps_that_are_deployed_together_may_take_each_other_s_routes() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        directory = Directory(controller)
        controller.deploy(app(name="a", route="/a"), app(name="b", route="/b"))
        await controller.wait("a")
        await controller.wait("b")
        replicas = set(engine.replicas)
        controller.deploy(app(name="a", route="/b"), app(name="b", route="/a"))
        await until(controller, lambda: owners(directory) == {"/a": "b", "/b": "a"})
        assert set(engine.replicas) == replicas


async def test_a_route_that_passes_to_a_new_app_is_never_nobody_s() -> None:
    async with controlling(FakeEngine()) as controller:
        directory = Directory(controller)
        await run(controller, app(name="old", route="/x"))
        controller.deploy(app(name="new", route="/x"), without=["old"])
        assert (await controller.wait("new")).status == "RUNNING"
        await until(controller, lambda: "old" not in controller.status().applications)
        routes = [delta.routes for delta in directory.deltas if delta.routes]
        assert [route.app for (route,) in routes] == ["old", "new"]


async def test_a_new_app_has_the_route_that_its_owner_is_about_to_leave() -> None:
    async with controlling(FakeEngine()) as controller:
        directory = Directory(controller)
        await run(controller, app(name="a"))
        controller.deploy(app(name="b"), app(name="a", route="/a"))
        await until(controller, lambda: owners(directory) == {"/": "b", "/a": "a"})


async def test_of_apps_that_are_deployed_together_all_are_wanted_or_none() -> None:
    async with controlling(FakeEngine()) as controller:
        await run(controller, app(name="a", route="/a"))
        with pytest.raises(SalverError, match="'/a' of app 'c' is taken by app 'a'"):
            controller.deploy(app(name="b", route="/b"), app(name="c", route="/a"))
        with pytest.raises(SalverError, match="'/b' of app 'c' is taken by app 'b'"):
            controller.deploy(app(name="b", route="/b"), app(name="c", route="/b"), without=["a"])
        assert controller.status().applications.keys() == {"a"}


async def test_a_change_of_user_config_touches_no_process() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, app(user_config={"a": 1}, deployments=("Door",)))
        replica = next(iter(engine.replicas.values()))
        await run(controller, app(user_config={"a": 2}, deployments=("Door",)))
        assert list(engine.replicas.values()) == [replica]
        assert replica.asked == ["start", "reconfigure"]


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"max_ongoing_requests": 50}, ["reconfigure"]),
        ({"max_queued_requests": 7}, []),
        ({"backpressure_config": BackpressureConfig(429)}, []),
        ({"graceful_shutdown_timeout_s": 3.0}, []),
        ({"health_check_period_s": 60.0}, []),
        ({"max_constructor_retry_count": 2}, []),
    ],
)
async def test_what_living_replicas_can_be_taught_restarts_none(
    option: dict[str, Any], told: list[str]
) -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, app(deployments=("Door",)))
        replica = next(iter(engine.replicas.values()))
        await run(controller, app(deployments=("Door",), **option))
        await until(controller, lambda: replica.asked == ["start", *told])
        assert list(engine.replicas.values()) == [replica]
        assert (await controller.wait("app")).status is ApplicationStatus.RUNNING


@pytest.mark.parametrize("restarted", [False, True], ids=["same controller", "a new one"])
async def test_a_changed_prefix_restarts_no_replica(restarted: bool) -> None:
    """The route moves when all of the ingress go by the new one; a later controller knows it."""
    engine, store = FakeEngine(), MemoryStore()
    async with controlling(engine, store) as controller:
        directory = Directory(controller)
        await run(controller, app(route="/old", num_replicas=3))
        before = dict(engine.replicas)
        assert (await run(controller, app(route="/new", num_replicas=3))).status == "RUNNING"
        assert engine.replicas == before
        assert {tuple(r.asked) for r in before.values()} == {("start", "reconfigure")}
        moves = [tuple(r.prefix for r in d.routes) for d in directory.deltas if d.routes]
        assert moves == [("/old",), ("/new",)]
        assert set(directory.routes) == {"/new"}
    if restarted:
        async with controlling(engine, store) as controller:
            directory = Directory(controller)
            for replica in before.values():
                engine.attach(replica)
            await controller.wait("app")
            assert {tuple(d.routes) for d in directory.deltas if d.routes} == {
                (RouteView("/new", "app", DeploymentId("Door", "app")),)
            }
            assert engine.replicas == before


async def test_what_routers_need_to_know_of_changed_options_is_published() -> None:
    async with controlling(FakeEngine()) as controller:
        directory = Directory(controller)
        await run(controller, app(deployments=("Door",)))
        answer = BackpressureConfig(429, 2.0)
        await run(
            controller,
            app(deployments=("Door",), max_queued_requests=1, backpressure_config=answer),
        )
        view = directory.views[DeploymentId("Door", "app")]
        assert (view.max_queued_requests, view.backpressure) == (1, answer)


async def test_more_replicas_join_those_that_run_and_all_are_told_how_many_they_are() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, app(deployments=("Door",)))
        first = next(iter(engine.replicas.values()))
        await run(controller, app(deployments=("Door",), num_replicas=3))
        assert first.spec.id in engine.replicas
        await until(controller, lambda: all(r.world_size == 3 for r in engine.replicas.values()))
        assert engine.ranks() == [0, 1, 2]


async def test_a_number_that_is_changed_by_hand_is_told_as_such() -> None:
    async with controlling(FakeEngine()) as controller:

        async def trigger(**options: Any) -> str:
            status = await run(controller, app(deployments=("Door",), **options))
            await until(controller, lambda: door().status is DeploymentStatus.HEALTHY)
            assert status.status is ApplicationStatus.RUNNING
            return door().status_trigger

        def door() -> DeploymentStatusOverview:
            return controller.status().applications["app"].deployments["Door"]

        assert await trigger(num_replicas=1) == "CONFIG_UPDATE_COMPLETED"
        assert await trigger(num_replicas=3) == "UPSCALE_COMPLETED"
        assert await trigger(num_replicas=3) == "UPSCALE_COMPLETED"  # nothing has changed
        assert await trigger(num_replicas=2) == "DOWNSCALE_COMPLETED"
        assert await trigger(num_replicas=2, user_config={}) == "CONFIG_UPDATE_COMPLETED"
        assert await trigger(num_replicas=1, user_config={}) == "DOWNSCALE_COMPLETED"
        assert await trigger(num_replicas=4, version="2") == "CONFIG_UPDATE_COMPLETED"


async def test_a_successor_takes_the_rank_of_the_dead() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, app(deployments=("Door",), num_replicas=3))
        victim = next(r for r in engine.replicas.values() if r.rank == 1)
        engine.die(victim.spec.id, signal=9)
        await until(controller, lambda: engine.ranks() == [0, 1, 2])
        assert victim.spec.id not in engine.replicas


async def test_fewer_replicas_close_the_gap_in_their_ranks() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, app(deployments=("Door",), num_replicas=3))
        await run(controller, app(deployments=("Door",), num_replicas=1))
        await until(controller, lambda: engine.ranks() == [0])
        assert [r.world_size for r in engine.replicas.values()] == [1]


async def test_a_new_controller_finds_all_running_and_restarts_nothing() -> None:
    engine, store = FakeEngine(), MemoryStore()
    async with controlling(engine, store) as controller:
        await run(controller, app(num_replicas=2))
    before = dict(engine.replicas)
    engine.calls.clear()
    async with controlling(engine, store) as controller:
        directory = Directory(controller)
        assert directory.deltas == []  # nothing is told before it is known
        for replica in before.values():
            engine.attach(replica)
        status = await controller.wait("app")
        assert status.status is ApplicationStatus.RUNNING
        assert engine.replicas == before
        assert engine.calls == []
        assert len(directory.deltas[0].deployments) == 2
        assert all(len(view.replicas) == 2 for view in directory.deltas[0].deployments)


async def test_a_new_controller_replaces_what_died_while_there_was_none() -> None:
    engine, store = FakeEngine(), MemoryStore()
    async with controlling(engine, store) as controller:
        await run(controller, app(num_replicas=2, deployments=("Door",)))
    victim, survivor = engine.replicas
    del engine.replicas[victim]
    async with controlling(engine, store) as controller:
        engine.attach(engine.replicas[survivor])
        assert (await controller.wait("app")).status is ApplicationStatus.RUNNING
        assert survivor in engine.replicas
        assert len(engine.replicas) == 2


async def test_a_new_controller_goes_on_with_a_delete() -> None:
    engine, store = FakeEngine(), MemoryStore()
    async with controlling(engine, store) as controller:
        await run(controller, app())
    store.remove("app")
    async with controlling(engine, store) as controller:
        for replica in list(engine.replicas.values()):
            engine.attach(replica)
        await until(controller, lambda: not controller.status().applications)
        assert engine.replicas == {}


@pytest.mark.parametrize(
    ("state", "ends"),
    [
        ("running", ["drain", "term"]),
        ("draining", ["drain", "term"]),
        ("starting", ["kill"]),  # it is seen to have nothing to drain
        (None, ["kill"]),  # it is never heard of again
    ],
)
async def test_what_is_silent_when_a_new_controller_begins_has_its_time_to_drain(
    monkeypatch: pytest.MonkeyPatch, state: str | None, ends: list[str]
) -> None:
    """Nobody wants it any more; but something in it blocks, so it may be at work."""
    monkeypatch.setattr("salver.control.controller.ATTACH_LIMIT_S", 0)
    limit = 60 if state else 0
    engine, store, stopping = FakeEngine(), MemoryStore(), asyncio.Event()
    async with controlling(engine, store) as controller:
        spec = app(deployments=("Door",), graceful_shutdown_timeout_s=limit)
        await run(controller, spec)
    ((name, replica),) = engine.replicas.items()
    store.remove("app")
    engine.calls.clear()
    async with controlling(engine, store) as controller:
        controller.events.listen(lambda e: stopping.set() if e.state == "STOPPING" else None)
        await asyncio.wait_for(stopping.wait(), 5)
        assert engine.calls == []
        if state:
            replica.state = state
            engine.attach(replica)
        await until(controller, lambda: not controller.status().applications)
        assert engine.calls == [(name, method) for method in ends]


@pytest.mark.parametrize(
    ("stuck", "ends"),
    [
        ("term", ["drain", "term", "kill"]),  # it ignores the signal
        ("drain", ["drain", "kill"]),  # it hangs, or is stopped
    ],
)
def test_what_does_not_end_when_it_is_told_is_killed_in_time(stuck: str, ends: list[str]) -> None:
    """Nothing else happens that would make the controller look again."""

    async def test(engine: FakeEngine, controller: Controller) -> None:
        await run(controller, app(deployments=("Door",)))
        name = next(iter(engine.replicas))
        engine.calls.clear()
        await controller.delete("app")
        assert engine.calls == [(name, method) for method in ends]

    _with_stuck(stuck, test)


def test_a_change_of_user_config_that_hangs_is_ended_in_time() -> None:
    async def test(engine: FakeEngine, controller: Controller) -> None:
        await run(controller, app(user_config=1, deployments=("Door",)))
        name = next(iter(engine.replicas))
        status = await run(controller, app(user_config=2, deployments=("Door",)))
        assert status.status is ApplicationStatus.RUNNING
        assert (name, "kill") in engine.calls  # and another has started with it

    _with_stuck("reconfigure", test)


def test_a_change_of_user_config_that_hangs_holds_up_no_delete() -> None:
    async def test(engine: FakeEngine, controller: Controller) -> None:
        await run(controller, app(user_config=1, deployments=("Door",)))
        name = next(iter(engine.replicas))
        engine.calls.clear()
        controller.deploy(app(user_config=2, deployments=("Door",)))
        await until(controller, lambda: (name, "reconfigure") in engine.calls)
        await controller.delete("app")
        assert engine.calls == [(name, method) for method in ("reconfigure", "drain", "term")]

    _with_stuck("reconfigure", test)


def _with_stuck(
    what: str, test: Callable[[FakeEngine, Controller], Coroutine[Any, Any, None]]
) -> None:
    clock = VirtualClock()

    async def controlled() -> None:
        engine = FakeEngine()
        engine.stuck = what
        async with controlling(engine, clock=clock) as controller:
            await test(engine, controller)

    with asyncio.Runner(loop_factory=lambda: virtual_loop(clock)) as runner:
        runner.run(asyncio.wait_for(controlled(), 3600))


async def test_when_the_owner_stops_everything_is_drained_first() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, app())
        assert engine.drain is not None
        engine.drain()
        await asyncio.wait_for(engine.is_drained.wait(), 60)
        assert engine.replicas == {}


async def test_an_unhealthy_replica_is_drained_and_replaced() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, app(deployments=("Door",)))
        victim = next(iter(engine.replicas))
        controller.unhealthy(victim, "no GPU any more")
        await until(controller, lambda: victim not in engine.replicas and bool(engine.replicas))
        assert (await controller.wait("app")).status is ApplicationStatus.RUNNING


async def test_three_failed_health_checks_in_a_row_replace_a_replica() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, app(deployments=("Door",), health_check_period_s=0.01))
        victim = next(iter(engine.replicas))
        engine.unwell = {victim}
        await until(controller, lambda: victim not in engine.replicas and bool(engine.replicas))
        asked = [call for name, call in engine.calls if name == victim]
        assert asked[-2:] == ["drain", "term"]
        assert asked.count("check_health") >= 3
        events: list[str] = []
        controller.events.listen(lambda e: events.append(f"{e.state} {e.message}"))
        assert "UNHEALTHY RuntimeError: CUDA has gone" in events
        assert (await controller.wait("app")).status is ApplicationStatus.RUNNING


async def test_status_of_a_redeploy_is_never_that_of_the_old_version() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, app("1"))
        engine.gate.clear()
        controller.deploy(app("2"))
        assert controller.status().applications["app"].status is ApplicationStatus.DEPLOYING
        overview = controller.status().applications["app"].deployments["Door"]
        assert overview.status is DeploymentStatus.UPDATING
        engine.gate.set()
        await controller.wait("app")
