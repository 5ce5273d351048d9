"""Replicas follow the load: reports in, decisions out, policies that misbehave; no processes."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from salver.control import policies
from salver.control.controller import Controller
from salver.control.store import MemoryStore, SqliteStore
from salver.errors import SalverError
from salver.portable import portable_policy
from salver.serve.config import DeploymentID
from salver.spec.app import AppSpec
from salver.spec.autoscaling import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy
from salver.spec.ids import DeploymentId
from salver.spec.status import (
    ApplicationStatus,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
    Load,
    ReplicaState,
)
from tests.control.policies import Script
from tests.control.test_controller import Directory, FakeEngine, app, controlling, run, until

DOOR = DeploymentId("Door", "app")
MODEL = DeploymentId("Model", "app")
SCRIPTED = AutoscalingPolicy("tests.control.policies:scripted")
Result = tuple[Any, dict[str, Any]]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    script = Script()
    monkeypatch.setattr("tests.control.policies.SCRIPT", script)
    yield script
    script.go_on.set()


def scaling_app(version: str = "1", **options: Any) -> AppSpec:
    quick = {"max_replicas": 10, "upscale_delay_s": 0, "downscale_delay_s": 0}
    config = AutoscalingConfig(**{**quick, "look_back_period_s": 0.05, **options})
    return app(version, deployments=("Door",), autoscaling_config=config)


def with_policy(function: Callable[..., Any], /, **kwargs: Any) -> AutoscalingPolicy:
    return portable_policy(AutoscalingPolicy(function, kwargs))


def seen(controller: Controller, name: str = "Door") -> DeploymentStatusOverview:
    return controller.status().applications["app"].deployments[name]


def running(controller: Controller, count: int) -> Callable[[], bool]:
    wanted = {ReplicaState.RUNNING: count} if count else {}
    return lambda: seen(controller).replica_states == wanted


def load(controller: Controller, running: int, queued: int = 0, source: str = "door") -> None:
    controller.scaling.told(source, [Load(DOOR, queued, running)])


async def test_replicas_follow_the_load_up_and_down() -> None:
    async with controlling(FakeEngine()) as controller:
        events: list[str] = []
        controller.events.listen(lambda e: events.append(f"{e.subject} {e.state} {e.message}"))
        await run(controller, scaling_app())
        load(controller, 6)
        await until(controller, running(controller, 3))
        assert "app#Door SCALES from 1 to 3: 6 requests, target 2 each" in events
        load(controller, 0)
        await until(controller, running(controller, 1))


async def test_a_deployment_at_rest_has_no_replica_and_its_app_runs_and_is_routed() -> None:
    async with controlling(FakeEngine()) as controller:
        directory = Directory(controller)
        status = await run(controller, scaling_app(min_replicas=0))
        assert status.status is ApplicationStatus.RUNNING
        assert status.deployments["Door"].status is DeploymentStatus.HEALTHY
        assert status.deployments["Door"].replica_states == {}
        assert directory.routes["/"].deployment == DOOR
        assert directory.views[DOOR].replicas == ()
        assert not directory.views[DOOR].gone
        load(controller, 0, queued=1)
        await until(controller, running(controller, 1))
        load(controller, 0)
        await until(controller, running(controller, 0))


async def test_a_load_that_comes_to_rest_during_a_look_is_looked_at_again() -> None:
    async with controlling(FakeEngine()) as controller:
        await run(controller, scaling_app(min_replicas=0))
        load(controller, 0, queued=1)
        await until(controller, running(controller, 1))
        scaling = controller.scaling
        slow = itertools.count(scaling._clock(), 0.04)  # a look takes as long as the load counts
        scaling._clock = lambda: next(slow)
        load(controller, 0)
        await until(controller, running(controller, 0))


async def test_the_view_says_how_often_the_load_is_to_be_told_only_where_it_matters() -> None:
    async with controlling(FakeEngine()) as controller:
        directory = Directory(controller)
        await run(controller, scaling_app(look_back_period_s=0.5))
        await run(controller, app(name="other", route="/other", deployments=("Fixed",)))
        assert directory.views[DOOR].report_s == pytest.approx(0.1)
        assert directory.views[DeploymentId("Fixed", "other")].report_s == 0


async def test_statuses_say_that_it_scales_while_the_app_runs() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, scaling_app())
        engine.gate.clear()
        load(controller, 6)
        await until(controller, lambda: seen(controller).status is DeploymentStatus.UPSCALING)
        assert seen(controller).status_trigger is DeploymentStatusTrigger.AUTOSCALING
        assert controller.status().applications["app"].status is ApplicationStatus.RUNNING
        engine.gate.set()
        await until(controller, running(controller, 3))
        assert seen(controller).status is DeploymentStatus.HEALTHY
        assert seen(controller).status_trigger is DeploymentStatusTrigger.UPSCALE_COMPLETED
        load(controller, 0)
        await until(controller, lambda: seen(controller).status is DeploymentStatus.DOWNSCALING)
        assert controller.status().applications["app"].status is ApplicationStatus.RUNNING
        await until(controller, running(controller, 1))
        assert seen(controller).status_trigger is DeploymentStatusTrigger.DOWNSCALE_COMPLETED


async def test_the_youngest_go_first() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, scaling_app())
        oldest = next(iter(engine.replicas))
        load(controller, 6)
        await until(controller, running(controller, 3))
        load(controller, 0)
        await until(controller, running(controller, 1))
        assert list(engine.replicas) == [oldest]


async def test_what_a_router_had_is_no_load_once_it_is_gone() -> None:
    async with controlling(FakeEngine()) as controller:
        await run(controller, scaling_app())
        load(controller, 6, source="a")
        load(controller, 4, source="b")
        await until(controller, running(controller, 5))
        controller.scaling.gone("a")
        await until(controller, running(controller, 2))


async def test_an_update_keeps_the_number_that_the_load_has_asked_for() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, scaling_app("1", downscale_delay_s=600))
        load(controller, 6)
        await until(controller, running(controller, 3))
        directory = Directory(controller)
        await run(controller, scaling_app("2", downscale_delay_s=600))
        assert all(len(v.replicas) == 3 for d in directory.deltas for v in d.deployments)


async def test_the_version_that_serves_on_after_a_failed_update_follows_the_load() -> None:
    engine, store = FakeEngine(), MemoryStore()
    async with controlling(engine, store) as controller:
        await run(controller, scaling_app("1", downscale_delay_s=600))
        engine.failing = {"bad"}
        status = await run(controller, scaling_app("bad", downscale_delay_s=600))
        assert status.status is ApplicationStatus.DEPLOY_FAILED
        load(controller, 6)
        await until(controller, running(controller, 3))
        versions = {
            r.start_spec.deployment.version for r in engine.replicas.values() if r.start_spec
        }
        assert versions == {"1"}
    before = dict(engine.replicas)
    async with controlling(engine, store) as controller:
        for replica in before.values():
            engine.attach(replica)
        await until(controller, running(controller, 3))
        load(controller, 6)
        await until(controller, running(controller, 3))
        assert before.keys() <= engine.replicas.keys()


async def test_from_a_fixed_number_to_autoscaling_and_back() -> None:
    async with controlling(FakeEngine()) as controller:
        await run(controller, app("1", deployments=("Door",), num_replicas=4))
        await run(controller, scaling_app("1", downscale_delay_s=600))
        assert running(controller, 4)()
        await run(controller, app("1", deployments=("Door",), num_replicas=2))
        await until(controller, running(controller, 2))


@pytest.mark.parametrize("wanted", [6, 0])
async def test_a_new_controller_goes_on_with_the_number_of_the_old_one(wanted: int) -> None:
    engine, store = FakeEngine(), MemoryStore()
    spec = scaling_app(min_replicas=0, initial_replicas=2, downscale_delay_s=0.01)
    async with controlling(engine, store) as controller:
        await run(controller, spec)
        load(controller, wanted * 2)
        await until(controller, running(controller, wanted))
    before = dict(engine.replicas)
    async with controlling(engine, store) as controller:
        for replica in before.values():
            engine.attach(replica)
        assert (await controller.wait("app")).status is ApplicationStatus.RUNNING
        assert engine.replicas == before
        load(controller, 0, queued=2)
        await until(controller, running(controller, 1))


async def test_a_number_that_is_not_wanted_any_more_is_forgotten() -> None:
    store = MemoryStore()
    async with controlling(FakeEngine(), store) as controller:
        await run(controller, scaling_app())
        load(controller, 6)
        await until(controller, running(controller, 3))
        assert store.counts() == {DOOR: 3}
        await controller.delete("app")
        assert store.counts() == {}


def test_the_store_keeps_numbers_by_deployment(tmp_path: Any) -> None:
    store = SqliteStore(str(tmp_path))
    store.put_count(DOOR, 3)
    store.put_count(MODEL, 0)
    store.put_count(DOOR, 4)
    store.put_count(DeploymentId("Door", "other"), 1)
    store.put_count(DeploymentId("Door", "other"), None)
    store.close()
    again = SqliteStore(str(tmp_path))
    assert again.counts() == {DOOR: 4, MODEL: 0}
    again.close()


async def test_target_capacity_scales_fixed_numbers_and_bounds() -> None:
    async with controlling(FakeEngine()) as controller:
        spec = app(deployments=("Door",), num_replicas=4)
        await run(controller, msgspec.structs.replace(spec, target_capacity=50.0))
        assert controller.status().target_capacity == 50.0
        assert running(controller, 2)()


# ---- users' policies


def steady(ctx: AutoscalingContext, number: float = 4) -> Result:
    return number, {"asked": ctx.policy_state.get("asked", 0) + 1}


class Growing:
    """Wants one more each time it is asked, from what it finds in its state."""

    def __init__(self, most: int) -> None:
        self.most = most

    def __call__(self, ctx: AutoscalingContext) -> Result:
        number = ctx.policy_state.get("number", 1)
        return number, {"number": min(number + 1, self.most)}


def by_tokens(ctx: AutoscalingContext) -> Result:
    return sum(ctx.aggregated_metrics.get("tokens", {}).values()), {}


async def test_a_function_decides_with_its_arguments_within_the_bounds() -> None:
    async with controlling(FakeEngine()) as controller:
        await run(controller, scaling_app(policy=with_policy(steady, number=5)))
        await until(controller, running(controller, 5))
        await run(controller, scaling_app(policy=with_policy(steady, number=50)))
        await until(controller, running(controller, 10))


async def test_a_class_is_made_once_and_its_state_comes_back() -> None:
    async with controlling(FakeEngine()) as controller:
        await run(controller, scaling_app(policy=with_policy(Growing, most=4)))
        await until(controller, running(controller, 4))


class Listening:
    """Learns what it wants in a task of its own."""

    def __init__(self) -> None:
        self.number = 1
        self.task: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        await asyncio.sleep(0)
        self.number = 4

    def __call__(self, _ctx: AutoscalingContext) -> Result:
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self.listen())
        return self.number, {}


async def test_what_a_policy_starts_goes_on_between_its_answers() -> None:
    async with controlling(FakeEngine()) as controller:
        await run(controller, scaling_app(policy=with_policy(Listening)))
        await until(controller, running(controller, 4))


async def test_an_app_s_policy_decides_for_all_its_deployments() -> None:
    def both(ctxs: dict[DeploymentID, AutoscalingContext]) -> tuple[Any, Any]:
        return {id_: 2 if id_.name == "Door" else 3 for id_ in ctxs}, {id_: {} for id_ in ctxs}

    async with controlling(FakeEngine()) as controller:
        config = scaling_app().deployments[0].options.autoscaling_config
        spec = app(autoscaling_config=config)
        spec = msgspec.structs.replace(spec, autoscaling_policy=with_policy(both))
        await run(controller, spec)
        await until(controller, running(controller, 2))
        three = {ReplicaState.RUNNING: 3}
        await until(controller, lambda: seen(controller, "Model").replica_states == three)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (RuntimeError("no idea"), "its policy: RuntimeError: no idea"),
        (3, "its policy: it returned 3: expected (number, dict)."),
        ((float("nan"), {}), "its policy: it wants nan replicas"),
        ((-1, {}), "its policy: it wants -1 replicas"),
        ((True, {}), "its policy: it wants True replicas"),
        ((3, [1]), "its policy: it returned the state [1]: expected a dict."),
        (SystemExit(3), "its policy: it raised SystemExit(3)."),
    ],
)
async def test_a_policy_that_fails_changes_nothing_is_logged_once_and_shown(
    answer: Any, message: str, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    async with controlling(FakeEngine()) as controller:
        script.answer = (3, {})
        await run(controller, scaling_app(policy=SCRIPTED))
        await until(controller, running(controller, 3))
        script.answer = answer
        await until(controller, lambda: message in seen(controller).message)
        await script.was_asked(5)
        assert running(controller, 3)()
        told = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert len(told) == 1
        assert message in told[0]
        script.answer = (2, {})
        await until(controller, running(controller, 2))
        assert seen(controller).message == ""


async def test_a_policy_that_blocks_holds_up_nobody_and_is_asked_again_once_it_returns(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "LIMIT_S", 0.01)
    async with controlling(FakeEngine()) as controller:
        await run(controller, scaling_app(policy=SCRIPTED))
        script.go_on.clear()
        await until(controller, lambda: "has not answered within 0.01s" in seen(controller).message)
        await run(controller, app(name="other", route="/other"))
        await until(controller, lambda: "and still runs" in seen(controller).message)
        script.answer = (3, {})
        script.go_on.set()
        await until(controller, running(controller, 3))


async def test_a_policy_whose_answer_comes_at_the_end_is_not_asked_again(script: Script) -> None:
    """Its thread would never end."""
    async with controlling(FakeEngine()) as controller:
        script.go_on.clear()
        await run(controller, scaling_app(policy=SCRIPTED))
        await script.was_asked()
        known = controller.scaling._apps["app"]
        assert known.asking is not None
        controller.scaling.close()
        await asyncio.wait([known.asking])
        await asyncio.sleep(0)
        left = controller.scaling._apps["app"]
        assert left.asking is None
        assert left.timer is None
        script.go_on.set()


async def test_a_policy_that_cannot_be_imported_is_told_in_the_status() -> None:
    async with controlling(FakeEngine()) as controller:
        await run(controller, scaling_app(policy=AutoscalingPolicy("nowhere:policy")))
        await until(controller, lambda: "No module named 'nowhere'" in seen(controller).message)


async def test_figures_of_replicas_reach_the_policy() -> None:
    engine = FakeEngine()
    engine.figures = {"tokens": 2}
    async with controlling(engine) as controller:
        await run(controller, scaling_app(policy=with_policy(by_tokens), max_replicas=4))
        await until(controller, running(controller, 4))  # 2 of each: more for ever


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ([1], r"record_autoscaling_stats: it returned [1]: expected a dict of numbers by name."),
        ({"a": "b"}, "record_autoscaling_stats: it returned 'a': 'b'; expected numbers by name."),
        (SalverError("ValueError: no GPU"), "record_autoscaling_stats: ValueError: no GPU"),
        (SalverError(""), "record_autoscaling_stats: SalverError"),
    ],
)
async def test_wrong_figures_are_told_in_the_status(figures: Any, message: str) -> None:
    engine = FakeEngine()
    engine.figures = figures
    async with controlling(engine) as controller:
        await run(controller, scaling_app())
        await until(controller, lambda: message in seen(controller).message)
        engine.figures = {}
        await until(controller, lambda: seen(controller).message == "")


async def test_figures_that_take_too_long_are_told_in_the_status() -> None:
    engine = FakeEngine()
    engine.figures = asyncio.Event()
    async with controlling(engine, stats_timeout_s=0.01) as controller:
        await run(controller, scaling_app())
        late = "record_autoscaling_stats: no answer within 0.01s"
        await until(controller, lambda: late in seen(controller).message)
