"""Which models the controller tells of, and which it refuses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from salver.control.publish import Watcher
from salver.control.repository import DeploymentRepository
from salver.control.store import MemoryStore
from salver.errors import SalverError
from salver.oip.repository import LoadRequest
from salver.spec.app import AppSpec
from salver.spec.endpoint import EndpointSpec
from salver.spec.ids import DeploymentId
from salver.spec.status import ApplicationStatus, Delta, ModelView
from tests.control.test_controller import Directory, FakeEngine, app, controlling, run, until


def with_model(spec: AppSpec, *endpoints: EndpointSpec) -> AppSpec:
    door = msgspec.structs.replace(spec.ingress, endpoints=endpoints)
    return msgspec.structs.replace(spec, deployments=(*spec.deployments[:-1], door))


async def test_models_are_told_with_the_app_and_taken_back_with_it() -> None:
    heard: list[Delta] = []
    async with controlling(FakeEngine()) as controller:
        controller.publisher.add(Watcher("ear", heard.append, door=False))
        spec = with_model(app(name="a"), EndpointSpec("m", "predict", "2"))
        await run(controller, spec)
        told = [delta.models for delta in heard if delta.models]
        assert told[-1] == (ModelView("m", "2", DeploymentId("Door", "a"), "predict"),)
        await controller.delete("a")
        assert [delta.models for delta in heard if delta.models is not None][-1] == ()


async def test_a_model_that_another_app_has_is_refused_by_both_names() -> None:
    async with controlling(FakeEngine()) as controller:
        await run(controller, with_model(app(name="a"), EndpointSpec("m", "predict")))
        twin = with_model(app(name="b", route="/b"), EndpointSpec("m", "predict"))
        with pytest.raises(SalverError, match=r"^Model 'm' of deployment .* is taken by dep"):
            controller.deploy(twin)
        other = with_model(app(name="b", route="/b"), EndpointSpec("m", "predict", "2"))
        await run(controller, other)
        await run(controller, with_model(app("2", name="a"), EndpointSpec("m", "predict")))


def alone(name: str = "a", **options: Any) -> AppSpec:
    return with_model(
        app(name=name, deployments=("Door",), **options), EndpointSpec("m", "predict")
    )


async def test_an_unloaded_model_has_no_replica_and_is_back_when_its_load_returns() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        directory, repository = Directory(controller), DeploymentRepository(controller)
        await run(controller, alone(num_replicas=2))
        await repository.unload("m", dependents=False)
        await until(controller, lambda: not engine.replicas)
        view = directory.views[DeploymentId("Door", "a")]
        assert view.gone == "Deployment a#Door is unloaded; load its model to have it back."
        assert controller.status().applications["a"].status is ApplicationStatus.RUNNING
        await repository.load("m", LoadRequest())
        assert len(engine.replicas) == 2
        view = directory.views[DeploymentId("Door", "a")]
        assert (view.gone, len(view.replicas)) == ("", 2)


async def test_what_is_unloaded_stays_so_through_the_controller_s_death() -> None:
    engine, store = FakeEngine(), MemoryStore()
    async with controlling(engine, store) as controller:
        await run(controller, alone())
        await DeploymentRepository(controller).unload("m", dependents=False)
        await until(controller, lambda: not engine.replicas)
    async with controlling(engine, store) as controller:
        heard: list[Delta] = []
        controller.publisher.add(Watcher("ear", heard.append, door=False))
        await controller.wait("a")
        told = [delta.models for delta in heard if delta.models]
        assert [model.withheld for model in told[-1]] == [True]
        assert not engine.replicas
        await DeploymentRepository(controller).load("m", LoadRequest())
        assert len(engine.replicas) == 1
    async with controlling(engine, store) as controller:
        assert not controller.unloaded.models


async def test_a_load_that_fails_says_why() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        repository = DeploymentRepository(controller)
        await run(controller, alone())
        await repository.unload("m", dependents=False)
        await until(controller, lambda: not engine.replicas)
        engine.failing.add("1")
        with pytest.raises(SalverError, match=r"^Model 'm' could not be loaded: .*no weights"):
            await repository.load("m", LoadRequest())


async def test_an_app_that_comes_again_comes_with_its_models_loaded() -> None:
    async with controlling(FakeEngine()) as controller:
        heard: list[Delta] = []
        controller.publisher.add(Watcher("ear", heard.append, door=False))
        await run(controller, alone())
        await DeploymentRepository(controller).unload("m", dependents=False)
        await controller.delete("a")
        await run(controller, alone())
        told = [delta.models for delta in heard if delta.models is not None]
        withheld = [[model.withheld for model in models] for models in told]
        assert withheld == [[], [False], [True], [], [False]]
