"""`run` and its kin, with real processes, as a script uses them."""

# A decorated class is a Deployment, which mypy does not follow.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import salver
from salver import serve
from salver.api import session
from salver.serve.config import (
    AutoscalingConfig,
    AutoscalingContext,
    AutoscalingPolicy,
    ControllerOptions,
)
from salver.serve.handle import DeploymentHandle
from tests.conftest import ROOT


@salver.deployment
class Echo:
    def __init__(self, word: str = "echo") -> None:
        self.word = word

    async def __call__(self, request: Any) -> str:
        return self.word

    def say(self, more: str) -> str:
        return f"{self.word} {more}"


@salver.deployment
class Asking:
    """Asks Salver from within a replica."""

    def __init__(self, echo: DeploymentHandle[Any]) -> None:
        self.echo = echo
        self.context = salver.get_replica_context()

    async def where(self) -> tuple[str, str]:
        return self.context.app_name, self.context.deployment

    async def by_app(self, name: str) -> str:
        answer: str = await salver.get_app_handle(name).say.remote("by app")
        return answer

    async def by_name(self) -> str:
        answer: str = await salver.get_deployment_handle("Echo").say.remote("by name")
        return answer

    def apps(self) -> list[str]:
        return sorted(salver.status().applications)


@salver.deployment(max_constructor_retry_count=1)
class Alone:
    """Knows of no other deployment but by the names of apps and deployments."""

    def __init__(self, app: str = "") -> None:
        self.other = salver.get_app_handle(app) if app else None

    async def kept(self) -> str:
        assert self.other is not None
        answer: str = await self.other.say.remote("from the start")
        return answer

    async def on_the_loop(self, app: str) -> str:
        answer: str = await salver.get_app_handle(app).say.remote("on the loop")
        return answer

    def in_a_thread(self, app: str) -> str:
        answer: str = salver.get_app_handle(app).say.remote("in a thread").result()
        return answer

    async def named(self, deployment: str, app: str) -> str:
        answer: str = await salver.get_deployment_handle(deployment, app).say.remote("by name")
        return answer


@salver.deployment(max_constructor_retry_count=1)
class Failing:
    def __init__(self) -> None:
        raise ValueError("the user's own mistake")


@salver.deployment
class Slow:
    def __init__(self, fifo: str) -> None:
        Path(fifo).read_text()


class Regional:
    """A policy that writes down where it is, once."""

    def __init__(self, fifo: str) -> None:
        Path(fifo).write_text(os.environ.get("REGION", "nowhere"))

    def __call__(self, ctx: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        return ctx.target_num_replicas, {}


@salver.deployment
class Scaled:
    def region(self) -> str:
        return os.environ.get("REGION", "nowhere")


@pytest.fixture
def started() -> Iterator[str]:
    """An instance on a free port; its URL."""
    salver.start(http_options={"port": 0})
    assert session._instance is not None
    yield session._instance.url
    salver.shutdown()


def test_an_app_answers_by_handle_and_by_http(started: str) -> None:
    handle = salver.run(Echo.bind("hi"))
    assert handle.say.remote("there").result() == "hi there"
    assert httpx.get(started, timeout=60).text == "hi"


def test_apps_share_a_door_by_the_longest_prefix(started: str) -> None:
    serve.run(Echo.bind("root"), name="root")
    serve.run(Echo.bind("sub"), name="sub", route_prefix="/sub")
    serve.run(Echo.bind("silent"), name="silent", route_prefix=None)
    answers = [httpx.get(started + path, timeout=60).text for path in ("/x", "/sub/x", "/subx")]
    assert answers == ["root", "sub", "root"]
    assert salver.get_app_handle("silent").say.remote("!").result() == "silent !"
    assert set(salver.status().applications) == {"root", "sub", "silent"}


def test_a_second_run_takes_the_first_one_s_place(started: str) -> None:
    salver.run(Echo.bind("old"))
    salver.run(Echo.bind("new"))
    assert httpx.get(started, timeout=60).text == "new"


def test_a_deleted_app_is_gone_and_the_others_stay(started: str) -> None:
    salver.run(Echo.bind("a"), name="a", route_prefix="/a")
    salver.run(Echo.bind("b"), name="b", route_prefix="/b")
    salver.delete("a")
    salver.delete("never there")
    assert set(salver.status().applications) == {"b"}
    assert httpx.get(started + "/b", timeout=60).text == "b"
    assert httpx.get(started + "/a", timeout=60).status_code == 404
    with pytest.raises(salver.SalverError, match=r"^No app named 'a' runs"):
        salver.get_app_handle("a")


def test_code_in_a_replica_speaks_for_its_own_instance(started: str) -> None:
    handle = salver.run(Asking.bind(Echo.bind("hello")), name="asking", route_prefix=None)
    salver.run(Echo.bind("other"), name="other", route_prefix=None)
    assert handle.where.remote().result() == ("asking", "Asking")
    assert handle.by_name.remote().result() == "hello by name"
    assert handle.by_app.remote("other").result() == "other by app"
    assert handle.apps.remote().result() == ["asking", "other"]


@pytest.mark.parametrize(
    ("method", "given", "answer"),
    [
        ("on_the_loop", ["other"], "hi on the loop"),
        ("in_a_thread", ["other"], "hi in a thread"),
        ("named", ["Echo", "other"], "hi by name"),
    ],
)
def test_a_replica_without_handles_finds_other_apps(
    started: str, method: str, given: list[str], answer: str
) -> None:
    salver.run(Echo.bind("hi"), name="other", route_prefix=None)
    handle = salver.run(Alone.bind(), name="alone", route_prefix=None)
    assert getattr(handle, method).remote(*given).result(timeout_s=60) == answer


def test_a_constructor_finds_another_app(started: str) -> None:
    salver.run(Echo.bind("hi"), name="other", route_prefix=None)
    handle = salver.run(Alone.bind("other"), name="alone", route_prefix=None)
    assert handle.kept.remote().result(timeout_s=60) == "hi from the start"


@pytest.mark.parametrize(
    ("method", "given", "error"),
    [
        ("on_the_loop", ["nope"], salver.SalverError),
        ("in_a_thread", ["nope"], salver.SalverError),
        ("named", ["Nope", "alone"], KeyError),
        ("named", ["Echo", "nope"], KeyError),
    ],
)
def test_a_replica_without_handles_is_told_what_is_not_there(
    started: str, method: str, given: list[str], error: type[Exception]
) -> None:
    handle = salver.run(Alone.bind(), name="alone", route_prefix=None)
    with pytest.raises(error, match=r"No (app|deployment) "):
        getattr(handle, method).remote(*given).result(timeout_s=60)


def test_a_deployment_s_handle_is_found_by_name(started: str) -> None:
    salver.run(Asking.bind(Echo.bind("hello")), name="asking")
    assert salver.get_deployment_handle("Echo", "asking").say.remote("x").result() == "hello x"
    with pytest.raises(KeyError, match="No deployment 'Nope' in app 'asking'"):
        salver.get_deployment_handle("Nope", "asking")
    with pytest.raises(salver.SalverError, match="needs app_name here"):
        salver.get_deployment_handle("Echo")


def test_a_constructor_that_fails_says_why(started: str) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)^Deploying application bad failed: .*own mistake"):
        salver.run(Failing.bind(), name="bad")


def test_who_waits_for_an_app_is_told_what_for_and_again_when_it_changes(
    started: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app comes up once it was said that it constructs, and not before."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    heard: list[str] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())
            if "constructing" in heard[-1] and not done.is_set():
                done.set()
                release.start()

    done, listening = threading.Event(), Listening()
    release = threading.Thread(target=fifo.write_text, args=("go",))  # waits for who reads
    monkeypatch.setattr(session, "quiet_s", 0.0)
    logging.getLogger("salver").addHandler(listening)
    try:
        salver.run(Slow.bind(str(fifo)), name="slow", route_prefix=None)
    finally:
        logging.getLogger("salver").removeHandler(listening)
    release.join()
    assert heard[0].startswith("App slow is not up yet. Waiting for Slow: ")
    assert [line for line in heard if "1 replica constructing" in line] == heard[-1:]


async def test_run_works_where_a_loop_runs() -> None:
    """As in a notebook."""
    salver.start(http_options={"port": 0})
    handle = salver.run(Echo.bind("here"), route_prefix=None)
    assert await handle.say.remote("and now") == "here and now"
    await asyncio.to_thread(salver.shutdown)


def test_options_of_a_second_start_are_named_and_ignored(
    started: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "salver"):
        serve.start(http_options={"port": 0, "max_headers": 7})
    assert "max_headers=7 (is 128)" in caplog.text


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"num_cpus": -1}, "num_cpus=-1 is not valid: expected a number >= 0"),
        ({"num_gpus": float("nan")}, "num_gpus=nan is not valid"),
        ({"num_gpus": "two"}, "num_gpus='two' is not valid"),
        ({"resources": {"tpu": -2}}, r"resources\['tpu'\]=-2 is not valid"),
        ({"resources": {"GPU": 2}}, r"resources\['GPU'\]=2 is not valid: num_gpus says that"),
        ({"resources": ["tpu"]}, r"resources=\['tpu'\] is not valid: expected a dict"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(given: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}"):
        salver.start(**given)
    assert salver.status().applications == {}


def test_nothing_runs_until_something_is_run() -> None:
    assert salver.status().applications == {}
    salver.delete("x")
    salver.shutdown()
    with pytest.raises(salver.SalverError, match="No app named 'x' runs"):
        salver.get_app_handle("x")
    with pytest.raises(salver.SalverError, match="only works in code that runs in a replica"):
        salver.get_replica_context()
    assert salver.get_multiplexed_model_id() == ""


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"target": Echo},
            TypeError,
            r"^run\(\) takes an Application.*got Deployment\(name=Echo\)",
        ),
        ({"route_prefix": "x"}, ValueError, r"^route_prefix='x' is not valid"),
        ({"route_prefix": "/x/"}, ValueError, r"^route_prefix='/x/' is not valid"),
        ({"route_prefix": "/{x}"}, ValueError, r"is not valid"),
        ({"name": ""}, salver.SalverError, r"^name='' is not valid"),
        ({"tracing_config": {}}, NotImplementedError, r"^tracing_config=\{\}: not there yet"),
        ({"logging_config": {"level": 1}}, TypeError, r"^'level' is not a key of logging_config"),
        ({"controller_options": 1}, TypeError, r"^controller_options=1 is not valid: expected a d"),
        (
            {"nme": "x"},
            TypeError,
            r"^'nme' is not an argument of run\(\)\. Did you mean name\?$",
        ),
    ],
)
def test_a_wrong_argument_starts_nothing(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        salver.run(**{"target": Echo.bind(), **arguments})


SOUTH: dict[str, Any] = {"runtime_env": {"env_vars": {"REGION": "south"}}}


def start_first(app: salver.Application) -> DeploymentHandle[Any]:
    salver.start(controller_options=SOUTH)
    return salver.run(app)


@pytest.mark.parametrize(
    "run",
    [
        start_first,
        lambda app: salver.run(app, controller_options=ControllerOptions(**SOUTH)),
        lambda app: serve.run_many([serve.RunTarget(app)], controller_options=SOUTH)[0],
    ],
    ids=["start", "run", "run_many"],
)
def test_a_policy_and_no_replica_has_the_controller_s_variables(
    run: Callable[[salver.Application], DeploymentHandle[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SALVER_HTTP_PORT", "0")
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    config = AutoscalingConfig(policy=AutoscalingPolicy(Regional, {"fifo": fifo}))
    try:
        handle = run(Scaled.options(autoscaling_config=config).bind())
        assert Path(fifo).read_text() == "south"
        assert handle.region.remote().result() == "nowhere"
    finally:
        salver.shutdown()


SCRIPT = """
import salver
from fastapi import FastAPI

api = FastAPI()

@salver.deployment
@salver.ingress(api)
class Door:
    @api.get("/{name}")
    def hello(self, name: str) -> str:
        return "hello " + name

@salver.deployment
def plain(x):
    return x + offset

offset = 40
salver.start(http_options={"port": 0})
print(salver.run(plain.bind(), name="plain", route_prefix=None).remote(2).result())
salver.run(Door.bind())
import urllib.request
from salver.api import session
print(urllib.request.urlopen(session._instance.url + "/you").read().decode())
"""


def test_a_script_runs_its_own_code_and_leaves_nothing(tmp_path: Path) -> None:
    """Code of `__main__` goes by value; the end of the script is the end of all it started."""
    (tmp_path / "script.py").write_text(SCRIPT)
    run = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")],
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.splitlines() == ["42", '"hello you"'], run.stderr
