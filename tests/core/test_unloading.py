"""What rests when clients have unloaded models."""

from __future__ import annotations

import msgspec

from salver.core.unloading import Unloaded, resting
from salver.spec.app import AppSpec
from salver.spec.endpoint import EndpointSpec
from salver.spec.ids import DeploymentId
from tests.control.test_controller import app

PART, WHOLE = DeploymentId("Model", "a"), DeploymentId("Door", "a")


def made(*outermost: str, answers_http: bool = False, name: str = "a") -> AppSpec:
    """An app whose outermost deployment, which has these models, was made with a model `part`."""
    spec = app(name=name)
    part, door = spec.deployments
    changed = [
        msgspec.structs.replace(part, endpoints=(EndpointSpec("part", "f"),)),
        msgspec.structs.replace(
            door,
            endpoints=tuple(EndpointSpec(model, model) for model in outermost),
            answers_http=answers_http,
        ),
    ]
    return msgspec.structs.replace(spec, deployments=tuple(changed))


def after(spec: AppSpec, *models: str, dependents: bool = False) -> Unloaded:
    unloaded = Unloaded()
    for model in models:
        unloaded = unloaded.unload([spec], model, dependents=dependents)
    return unloaded


def test_the_outermost_deployment_rests_with_the_last_of_its_models() -> None:
    spec = made("x", "y")
    assert resting(spec, after(spec, "x")) == set()
    assert resting(spec, after(spec, "x", "y")) == {WHOLE}


def test_the_companions_of_a_deployment_rest_with_it() -> None:
    companion = DeploymentId("Door", "a").companion("counter", "1")
    spec = made("x")
    part = msgspec.structs.replace(spec.deployments[0], id=companion, endpoints=())
    spec = msgspec.structs.replace(spec, deployments=(part, *spec.deployments))
    assert resting(spec, after(spec, "x")) == {WHOLE, companion}


def test_what_answers_for_something_else_goes_on() -> None:
    spec = made("x", answers_http=True)
    assert resting(spec, after(spec, "x", "part")) == set()
    spec = made("x")
    assert resting(spec, after(spec, "part")) == set()
    assert resting(made(), after(spec, "part", "x")) == set()


def test_dependents_go_with_the_last_model_that_needs_them_and_come_again_with_it() -> None:
    spec = made("x", "y")
    assert after(spec, "x", dependents=True) == Unloaded(frozenset("x"))
    unloaded = after(spec, "x", "y", dependents=True)
    assert unloaded.models == {"x", "y", "part"}
    assert resting(spec, unloaded) == {PART, WHOLE}
    loaded = unloaded.load([spec], "x")
    assert loaded == Unloaded()
    assert not resting(spec, loaded)


def test_a_dependent_that_is_loaded_by_itself_does_not_rest() -> None:
    spec = made("x")
    unloaded = after(spec, "x", dependents=True).load([spec], "part")
    assert unloaded.models == {"x"}
    assert resting(spec, unloaded) == {WHOLE}


def test_what_is_gone_is_forgotten() -> None:
    spec = made("x")
    unloaded = after(spec, "x", dependents=True)
    assert unloaded.among([spec]) == unloaded
    assert unloaded.among([made("z", name="b")]) == Unloaded(frozenset(("part",)))
