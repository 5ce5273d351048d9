"""What replicas are given, what is said when there is not enough, and how their ends are told."""

from __future__ import annotations

import asyncio

import pytest

from salver.build import build
from salver.launch import Capacity
from salver.spec.status import ApplicationStatus
from tests.real.rig import PATIENCE_S, Running, apps


async def test_a_deployment_waits_for_a_gpu_says_so_and_gives_up() -> None:
    """The reason names what is asked for and what there is; others run meanwhile."""
    with Running.start(Capacity(num_gpus=0)) as running:
        app = apps.Plain.options(ray_actor_options={"num_gpus": 1}, startup_timeout_s=3)
        async with running.control() as control:
            await control.deploy(build(app.bind(), "app", "/"))
        waits = await running.until_event("WAITING", "Plain")
        assert waits == "needs num_gpus=1 (0 free of 0)"
        status = (await running.status()).applications["app"]
        assert status.status is ApplicationStatus.DEPLOYING
        assert waits in status.deployments["Plain"].message
        other = await running.deploy(apps.Quick.bind(), "other", "/other")
        assert other.status is ApplicationStatus.RUNNING
        failed = await running.wait()
        assert failed.status is ApplicationStatus.DEPLOY_FAILED
        assert "startup_timeout_s" in failed.message
        assert waits in failed.message
        async with running.client() as client:
            assert (await client.get("/other")).text == "quick"


async def test_two_halves_share_one_declared_gpu_and_a_third_waits() -> None:
    """Declared is enough: no GPU need be there. What is given back is given to who waits."""
    with Running.start(Capacity(num_gpus=1)) as running:
        half = apps.Plain.options(ray_actor_options={"num_gpus": 0.5}, num_replicas=2)
        await running.deploy(half.bind(), "two", "/two")
        handle = running.handle("Plain", "two")
        seen: list[dict[str, str]] = []
        while (
            len({one["SALVER_PROCESS"] for one in seen}) < 2
        ):  # links are made with the first call
            seen += await asyncio.gather(*(handle.environment.remote() for _ in range(8)))
        assert {one["CUDA_VISIBLE_DEVICES"] for one in seen} == {"0"}
        third = apps.Plain.options(ray_actor_options={"num_gpus": 0.5})
        async with running.control() as control:
            await control.deploy(build(third.bind(), "third", "/third"))
            await running.until_event("WAITING", "third#")
            await control.delete("two")
        assert (await running.wait("third")).status is ApplicationStatus.RUNNING
        environment = await running.handle("Plain", "third").environment.remote()
        assert environment["CUDA_VISIBLE_DEVICES"] == "0"


async def test_threads_follow_num_cpus_and_variables_are_set(running: Running) -> None:
    options = {"num_cpus": 2, "runtime_env": {"env_vars": {"MKL_NUM_THREADS": "7", "MINE": "x"}}}
    with Running.start(Capacity(num_cpus=4)) as roomy:
        await roomy.deploy(apps.Plain.options(ray_actor_options=options).bind())
        seen = await roomy.handle("Plain").environment.remote()
    assert (seen["OMP_NUM_THREADS"], seen["MKL_NUM_THREADS"], seen["MINE"]) == ("2", "7", "x")
    await running.deploy(apps.Plain.bind())
    seen = await running.handle("Plain").environment.remote()
    assert seen["OMP_NUM_THREADS"] == "1"


async def test_what_a_replica_prints_is_in_the_log_under_its_name(running: Running) -> None:
    await running.deploy(apps.Plain.bind())
    await running.handle("Plain").say.remote("some words")
    await running.log.until(r"^\[app#Plain#[0-9a-f]+\] some words$")
    await running.log.until(r"^\[app#Plain#[0-9a-f]+\] some words as an error$")


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("raise", "ValueError: no weights in this constructor"),
        ("exit", "exit code 3"),
        ("segv", "SIGSEGV"),
        ("abort", "SIGABRT"),
    ],
)
async def test_why_a_constructor_ended_is_told(running: Running, how: str, told: str) -> None:
    status = await running.deploy(apps.Doomed.bind(how))
    assert status.status is ApplicationStatus.DEPLOY_FAILED
    assert told in status.message
    if how == "raise":
        assert "apps.py" in status.message
        assert "Traceback (most recent call last)" in status.message
    async with running.client() as client:
        assert (await client.get("/")).status == 503


async def test_why_a_running_replica_ended_is_told(running: Running) -> None:
    """And it is replaced; the call that ended it fails with a reason."""
    await running.deploy(apps.Plain.bind())
    handle = running.handle("Plain")
    with pytest.raises(Exception, match="died while it worked on this request"):
        await handle.leave.remote(5)
    assert "exit code 5" in await running.until_event("DIED", "Plain")
    assert (await running.wait()).status is ApplicationStatus.RUNNING
    async with running.client() as client, asyncio.timeout(PATIENCE_S):
        assert (await client.get("/")).text == "plain"
