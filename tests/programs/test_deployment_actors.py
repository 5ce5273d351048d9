"""Deployment actors: one object that all replicas of a deployment share."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from salver import serve
from salver.api import session
from salver.build import build
from salver.errors import DeployFailedError, SalverError
from salver.serve.config import DeploymentActorConfig
from salver.serve.context import DeploymentActorContext
from salver.serve.schema import DeploymentStatus, DeploymentStatusTrigger
from salver.spec.ids import DeploymentId

pytestmark = pytest.mark.usefixtures("door")


class Tally:
    """Counts without any lock: calls come one at a time."""

    def __init__(self, start: int = 0, *, step: int = 1) -> None:
        self.count = start
        self.step = step
        self.context = serve.get_deployment_actor_context()

    def add(self) -> int:
        before = self.count
        os.sched_yield()
        self.count = before + self.step
        return self.count

    def pid(self) -> int:
        return os.getpid()

    def where(self) -> DeploymentActorContext:
        return self.context

    def no_replica(self) -> str:
        with pytest.raises(SalverError, match="this is a deployment actor") as caught:
            serve.get_replica_context()
        return str(caught.value)


class Broken:
    def __init__(self) -> None:
        raise ValueError("no such table")


def counting(**options: Any) -> Any:
    config = DeploymentActorConfig(
        name="tally", actor_class=Tally, init_args=(10,), init_kwargs={"step": 2}
    )
    options = {"num_replicas": 2, "deployment_actors": [config], **options}
    return serve.deployment(**options)(Counter)


class Counter:
    """Asks the tally in its constructor, too."""

    def __init__(self) -> None:
        self.tally = serve.get_deployment_actor("tally")
        self.made = self.tally.pid.remote()

    async def __call__(self) -> int:
        return int(await self.tally.add.remote())

    async def pids(self) -> tuple[int, int]:
        return os.getpid(), await self.tally.pid.remote()

    async def ask(self, method: str) -> Any:
        return await getattr(self.tally, method).remote()

    async def other(self) -> None:
        serve.get_deployment_actor("talley")


def test_all_replicas_share_it_and_its_calls_come_one_at_a_time() -> None:
    handle = serve.run(counting().bind(), name="app", route_prefix=None)
    numbers = sorted(r.result() for r in [handle.remote() for _ in range(40)])
    assert numbers == list(range(12, 92, 2))
    seen: list[Any] = []
    while len({own for own, _ in seen}) < 2:  # until both have been dialled
        seen += [r.result() for r in [handle.pids.remote() for _ in range(20)]]
    assert len({shared for _, shared in seen}) == 1


def test_it_is_no_deployment_that_users_see() -> None:
    serve.run(counting().bind(), name="app", route_prefix=None)
    deployments = serve.status().applications["app"].deployments
    assert list(deployments) == ["Counter"]
    assert deployments["Counter"].replica_states == {"RUNNING": 2}


def test_it_knows_whose_it_is() -> None:
    handle = serve.run(counting().bind(), name="app", route_prefix=None)
    context = handle.ask.remote("where").result()
    assert context.deployment_id == DeploymentId("Counter", "app")
    assert (context.deployment, context.app_name) == ("Counter", "app")
    assert context.actor_name == "tally"
    assert context.code_version
    assert "get_deployment_actor_context" in handle.ask.remote("no_replica").result()


def test_one_that_dies_is_made_anew_and_handles_find_it() -> None:
    handle = serve.run(counting().bind(), name="app", route_prefix=None)
    assert handle.remote().result() == 12
    before = handle.ask.remote("pid").result()
    os.kill(before, signal.SIGKILL)
    after = before
    while after == before:  # what had begun on the dead one fails
        try:
            after = handle.ask.remote("pid").result()
        except SalverError:
            continue
    assert handle.remote().result() == 12


def test_a_new_version_has_one_of_its_own() -> None:
    handle = serve.run(counting().bind(), name="app", route_prefix=None)
    before = handle.ask.remote("pid").result()
    handle = serve.run(counting().bind(), name="app", route_prefix=None)
    assert handle.ask.remote("pid").result() != before
    assert handle.remote().result() == 12


def test_the_same_version_keeps_it_unless_it_is_told_to_be_another() -> None:
    app = counting(user_config=None).bind()
    changed = counting(deployment_actors=[{"name": "tally", "actor_class": Tally}]).bind()
    versions = [build(one, "app", None, version="1").ingress.version for one in (app, app, changed)]
    assert versions[0] == versions[1] != versions[2]


def test_one_that_cannot_be_made_fails_its_deployment_and_says_so() -> None:
    config = {"name": "broken", "actor_class": Broken}
    failing = counting(deployment_actors=[config])
    with pytest.raises(DeployFailedError, match=r"(?s)deployment actor 'broken': .*no such table"):
        serve.run(failing.bind(), name="failing", route_prefix=None)
    status = serve.status().applications["failing"].deployments["Counter"]
    assert status.status is DeploymentStatus.DEPLOY_FAILED
    assert status.status_trigger is DeploymentStatusTrigger.DEPLOYMENT_ACTOR_FAILED
    serve.delete("failing")


def test_its_process_asks_for_what_its_options_say() -> None:
    config = {"name": "tally", "actor_class": Tally, "actor_options": {"num_cpus": 0.25}}
    spec = build(counting(deployment_actors=[config]).bind(), "app", None)
    companion, owner = spec.deployments
    assert companion.id.owner == (DeploymentId("Counter", "app"), "tally")
    assert companion.options.num_cpus == 0.25
    assert companion.options.max_ongoing_requests == 1
    assert (owner.companions, owner.options.deployment_actors) == (("tally",), [])


def test_a_name_that_is_not_there_is_told_with_those_that_are() -> None:
    handle = serve.run(counting().bind(), name="app", route_prefix=None)
    with pytest.raises(ValueError, match=r"no deployment actor 'talley'.*: 'tally'\."):
        handle.other.remote().result()


def test_an_app_in_this_process_has_it_too() -> None:
    handle = serve.run(counting().bind(), name="local", _local_testing_mode=True)
    assert sorted(handle.remote().result() for _ in range(2)) == [12, 14]
    session._inline.pop("local").close()


def test_outside_there_is_none() -> None:
    with pytest.raises(SalverError, match="in a replica"):
        serve.get_deployment_actor("tally")
    with pytest.raises(SalverError, match="deployment actor's code"):
        serve.get_deployment_actor_context()


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ([{"name": "a", "actor_class": Tally}] * 2, ValueError, "two of the name 'a'"),
        ([{"name": "a/b", "actor_class": Tally}], ValueError, "none of them # or /"),
        ([{"name": "a", "actor_class": 3}], ValueError, "expected a class"),
        ([{"name": "a"}], ValueError, "actor_class"),
        ([{"name": "a", "actor_class": Tally, "args": ()}], ValueError, "args"),
        ({"name": "a"}, TypeError, "deployment_actors"),
    ],
)
def test_what_is_wrong_is_named(config: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        serve.deployment(deployment_actors=config)(Counter)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"actor_class": "no_such_module:Tally"}, "actor_class='no_such_module:Tally'"),
        ({"actor_class": "os:getpid"}, "expected a class"),
        ({"actor_class": Tally, "actor_options": {"num_cpu": 1}}, "Did you mean num_cpus"),
        ({"actor_class": Tally, "actor_options": {"max_concurrency": 0}}, "max_ongoing"),
    ],
)
def test_what_is_wrong_is_found_when_the_app_is_built(config: Any, message: str) -> None:
    app = counting(deployment_actors=[{"name": "a", **config}]).bind()
    with pytest.raises(SalverError, match=message):
        build(app, "app", None)


@pytest.fixture(autouse=True)
def _no_app() -> Any:
    yield
    session.delete("app", wait=True)
