"""Apps in the test's own process: what `run(..., _local_testing_mode=True)` gives."""

# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

from salver import serve
from salver.errors import DeployFailedError, SalverError
from salver.testing import run_inline


@serve.deployment
class Callee:
    def where(self) -> int:
        return os.getpid()


@serve.deployment(num_replicas=2, ray_actor_options={"num_gpus": 1})
class Caller:
    def __init__(self, callee: Any = None) -> None:
        self.callee = callee

    async def __call__(self) -> int:
        return int(await serve.get_deployment_handle("Callee").where.remote())

    async def by_name(self, app: str) -> int:
        return int(await serve.get_deployment_handle("Callee", app).where.remote())

    def status(self) -> Any:
        return serve.status()


@serve.deployment(max_constructor_retry_count=1)
class Failing:
    def __init__(self) -> None:
        raise ValueError("no weights")


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    serve.shutdown()


def test_an_app_runs_here_and_warns_of_what_it_cannot_have(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handle = serve.run(Caller.bind(Callee.bind()), _local_testing_mode=True)
    assert handle.remote().result() == os.getpid()
    assert "num_gpus=1.0 of deployment default#Caller means nothing" in caplog.text


@serve.deployment(ray_actor_options={"runtime_env": {"pip": ["no-such-package==0"]}})
class Packaged:
    def __call__(self) -> str:
        return "runs"


def test_packages_are_those_of_this_process(caplog: pytest.LogCaptureFixture) -> None:
    assert serve.run(Packaged.bind(), _local_testing_mode=True).remote().result() == "runs"
    assert "pip=['no-such-package==0'] of deployment default#Packaged means noth" in caplog.text
    with run_inline(Packaged.bind()) as running:
        assert running.handle.remote().result() == "runs"


def test_several_apps_run_here_at_once() -> None:
    targets = [serve.RunTarget(Callee.bind(), name) for name in ("a", "b")]
    handles = serve.run_many(targets, _local_testing_mode=True)
    assert {handle.where.remote().result() for handle in handles} == {os.getpid()}


def test_it_is_found_by_its_name_and_its_state_is_shown() -> None:
    handle = serve.run(Callee.bind(), name="mine", _local_testing_mode=True)
    assert serve.get_app_handle("mine") is handle
    assert serve.status().applications["mine"].status == "RUNNING"
    serve.delete("mine")
    assert serve.status().applications == {}
    with pytest.raises(SalverError, match=r"^No app named 'mine' runs"):
        serve.get_app_handle("mine")


def test_any_deployment_is_called_from_outside_and_from_other_apps() -> None:
    serve.run(Caller.bind(Callee.bind()), name="a", _local_testing_mode=True)
    callee = serve.get_deployment_handle("Callee", "a")
    assert serve.get_deployment_handle("Callee", "a") is callee
    assert callee.where.remote().result() == os.getpid()
    with pytest.raises(KeyError, match="No deployment 'Calee' in app 'a'"):
        serve.get_deployment_handle("Calee", "a")
    with pytest.raises(KeyError, match="No deployment 'Callee' in app 'other'"):
        serve.get_deployment_handle("Callee", "other")
    other = serve.run(Caller.bind(), name="b", _local_testing_mode=True)
    assert other.by_name.remote("a").result() == os.getpid()


def test_one_of_the_same_name_takes_its_place() -> None:
    first = serve.run(Callee.bind(), _local_testing_mode=True)
    second = serve.run(Callee.bind(), _local_testing_mode=True)
    assert second.where.remote().result() == os.getpid()
    with pytest.raises((SalverError, RuntimeError)):
        first.where.remote().result()


def test_code_of_the_app_can_call_and_no_more() -> None:
    handle = serve.run(Caller.bind(Callee.bind()), name="a", _local_testing_mode=True)
    assert handle.by_name.remote("a").result() == os.getpid()
    with pytest.raises(KeyError, match="No deployment 'Callee' in app 'b'"):
        handle.by_name.remote("b").result()
    with pytest.raises(SalverError, match=r"local testing mode can call others by handle"):
        handle.status.remote().result()


def test_a_constructor_s_error_is_told() -> None:
    with pytest.raises(DeployFailedError, match=r"(?s)Failing: .*ValueError: no weights"):
        serve.run(Failing.bind(), _local_testing_mode=True)


def test_the_environment_can_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_FORCE_LOCAL_TESTING_MODE", "1")
    assert serve.run(Callee.bind()).where.remote().result() == os.getpid()
    handles = serve.run_many([serve.RunTarget(Callee.bind(), "x", "/x")])
    assert handles[0].where.remote().result() == os.getpid()


async def test_two_inline_apps_do_not_hear_of_each_other() -> None:
    async with run_inline(Caller.bind(Callee.bind())) as one, run_inline(Callee.bind()) as two:
        assert await one.handle.remote() == await two.handle.where.remote() == os.getpid()
        with pytest.raises(KeyError):
            await one.handle.by_name.remote("other")
    await asyncio.sleep(0)


def test_grpc_is_refused_by_name() -> None:
    """Its clients would look for the app at the door in vain."""
    serve.start(http_options={"port": 0}, grpc_options={"port": 0, "inference": True})
    with pytest.raises(NotImplementedError, match="local testing mode has no gRPC door"):
        serve.run(Callee.bind(), _local_testing_mode=True)
