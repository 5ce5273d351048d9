"""Which models the controller tells of, and which it refuses."""

from __future__ import annotations

import msgspec
import pytest

from salver.control.publish import Watcher
from salver.errors import SalverError
from salver.spec.app import AppSpec
from salver.spec.endpoint import EndpointSpec
from salver.spec.ids import DeploymentId
from salver.spec.status import Delta, ModelView
from tests.control.test_controller import FakeEngine, app, controlling, run


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
