"""run, start, delete, shutdown, status and handles by name."""

# A class decorator cannot change what a type checker takes the class for.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from salver import serve
from salver.serve.exceptions import RayServeException
from salver.serve.handle import DeploymentHandle
from salver.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
    ServeStatus,
)


@serve.deployment
class Says:
    def __init__(self, word: str = "hello", *, mark: str = "") -> None:
        self.word = word + mark

    def __call__(self, request: Any = None) -> str:
        return self.word

    def name(self) -> str:
        return self.word


@serve.deployment
class Front:
    def __init__(self, back: DeploymentHandle[Any]) -> None:
        self.back = back

    async def __call__(self, request: Any = None) -> str:
        return f"front of {await self.back.name.remote()}"


@serve.deployment(max_constructor_retry_count=1)
class Fails:
    def __init__(self) -> None:
        raise ValueError("no such weights")


@serve.deployment
class ClosesItsStreams:
    def __init__(self) -> None:
        for fd in (0, 1, 2):
            os.close(fd)

    def __call__(self, request: Any = None) -> str:
        os.write(1, b"to stdout\n")
        os.write(2, b"to stderr\n")
        return "hello"


def test_what_is_printed_never_goes_to_a_connection(client: httpx.Client) -> None:
    """Which has the number of a stream that the constructor has closed."""
    serve.run(ClosesItsStreams.bind(), name="closes", route_prefix="/closes")
    assert [client.get("/closes").text for _ in range(3)] == ["hello"] * 3


def test_run_returns_the_ingress_s_handle_once_it_answers(client: httpx.Client) -> None:
    handle = serve.run(Front.bind(Says.bind("a")), name="first", route_prefix="/first")
    assert isinstance(handle, DeploymentHandle)
    assert (handle.deployment_name, handle.app_name) == ("Front", "first")
    assert client.get("/first").text == "front of a"
    assert handle.remote().result() == "front of a"
    serve.delete("first")


def test_arguments_may_be_given_by_place(client: httpx.Client) -> None:
    """As `serve.run(app, blocking, name, route_prefix)`."""
    serve.run(Says.bind("placed"), False, "placed", "/placed")
    assert client.get("/placed").text == "placed"
    serve.delete("placed")


def test_status_is_read_by_ray_serve_s_names(door: str) -> None:
    serve.run(Front.bind(Says.bind()), name="seen", route_prefix="/seen")
    status = serve.status()
    assert isinstance(status, ServeStatus)
    app = status.applications["seen"]
    assert isinstance(app, ApplicationStatusOverview)
    assert app.status == ApplicationStatus.RUNNING == "RUNNING"
    assert app.message == ""
    assert app.last_deployed_time_s > 1e9
    assert set(app.deployments) == {"Front", "Says"}
    one = app.deployments["Says"]
    assert isinstance(one, DeploymentStatusOverview)
    assert one.status == DeploymentStatus.HEALTHY == "HEALTHY"
    assert one.replica_states == {"RUNNING": 1}
    assert isinstance(status.proxies, dict)
    assert status.proxies
    serve.delete("seen")
    assert "seen" not in serve.status().applications


def test_the_same_name_replaces_the_app_and_a_new_prefix_moves_it(client: httpx.Client) -> None:
    serve.run(Says.bind("old"), name="moves", route_prefix="/old")
    handle = serve.run(Says.bind("new"), name="moves", route_prefix="/new")
    assert client.get("/new").text == "new"
    assert client.get("/old").status_code == 404
    assert handle.name.remote().result() == "new"
    assert "/old" not in client.get("/-/routes").json()
    serve.delete("moves")


def test_two_apps_cannot_have_one_prefix(client: httpx.Client) -> None:
    serve.run(Says.bind("one"), name="one", route_prefix="/same")
    with pytest.raises(RayServeException, match="/same"):
        serve.run(Says.bind("two"), name="two", route_prefix="/same")
    assert client.get("/same").text == "one"
    serve.delete("one")
    serve.delete("two")


def test_delete_of_what_is_not_there_is_no_error(door: str) -> None:
    serve.delete("never was")


def test_a_failed_app_says_why_and_is_seen_as_failed(door: str) -> None:
    with pytest.raises(RuntimeError, match=r"Deploying application bad failed: (?s:.*)weights"):
        serve.run(Fails.bind(), name="bad", route_prefix="/bad")
    app = serve.status().applications["bad"]
    assert app.status == "DEPLOY_FAILED"
    assert "no such weights" in app.message
    serve.delete("bad")


def test_handles_by_name(door: str) -> None:
    serve.run(Front.bind(Says.bind("x")), name="named", route_prefix="/named")
    assert serve.get_app_handle("named").remote().result() == "front of x"
    assert serve.get_deployment_handle("Says", "named").name.remote().result() == "x"
    assert serve.get_deployment_handle("Says", app_name="named").name.remote().result() == "x"
    assert serve.get_app_handle("named") is serve.get_app_handle("named")
    with pytest.raises(RayServeException, match="nope"):
        serve.get_app_handle("nope")
    with pytest.raises(KeyError, match="Nope"):
        serve.get_deployment_handle("Nope", "named")
    with pytest.raises(RayServeException):
        serve.get_deployment_handle("Says")
    unchecked = serve.get_deployment_handle("Nope", "named", False, _record_telemetry=False)
    assert unchecked.deployment_name == "Nope"
    serve.delete("named")


def test_only_replicas_have_a_context(door: str) -> None:
    with pytest.raises(RayServeException):
        serve.get_replica_context()
    assert serve.context._get_internal_replica_context() is None


@pytest.mark.parametrize("target", [Says, Says.func_or_class, "app:app", None])
def test_only_an_application_can_be_run(target: Any) -> None:
    with pytest.raises(TypeError, match=r"bind\(\)"):
        serve.run(target)


@pytest.mark.parametrize("prefix", ["x", "/x/", "/{x}", "", "/-", "/-/x"])
def test_prefixes_that_no_path_has(prefix: str) -> None:
    with pytest.raises(ValueError, match="route_prefix"):
        serve.run(Says.bind(), route_prefix=prefix)


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(RayServeException, match="name"):
        serve.run(Says.bind(), name="")


@pytest.mark.parametrize(
    "call",
    [
        lambda: serve.run(Says.bind(), external_scaler_enabled=True),
    ],
)
def test_what_is_not_there_yet_is_refused_by_name(call: Any) -> None:
    with pytest.raises(NotImplementedError, match="not there yet"):
        call()


def test_what_is_not_there_yet_can_be_imported() -> None:
    """A program fails where it uses such a part, and hears of it there."""
    from salver.serve import TracingConfig

    assert callable(TracingConfig)


@pytest.mark.parametrize("name", ["http_host", "http_port", "http_middlewares"])
def test_old_arguments_of_start_lead_to_http_options(name: str) -> None:
    with pytest.raises(ValueError, match="http_options"):
        serve.start(**{name: 1})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["host", "port"])
def test_old_arguments_of_run_lead_to_http_options(name: str) -> None:
    with pytest.raises(ValueError, match=r"go into start\(http_options"):
        serve.run(serve.deployment(dict).bind(), **{name: 1})  # type: ignore[arg-type]


def test_everything_ray_serve_exports_is_there() -> None:
    missing = [name for name in EXPORTED if not hasattr(serve, name)]
    assert missing == []


EXPORTED = (
    "_run",
    "_run_many",
    "batch",
    "start",
    "ControllerOptions",
    "HTTPOptions",
    "TracingConfig",
    "get_replica_context",
    "get_deployment_actor",
    "get_deployment_actor_context",
    "status",
    "get_trace_context",
    "shutdown",
    "shutdown_async",
    "ingress",
    "deployment",
    "run",
    "run_many",
    "RunTarget",
    "delete",
    "Application",
    "Deployment",
    "multiplexed",
    "get_multiplexed_model_id",
    "get_app_handle",
    "get_deployment_handle",
)


async def test_on_a_running_loop_as_in_a_notebook(client: httpx.Client) -> None:
    """`run` blocks for a moment, as in Ray Serve; awaiting works at once."""
    handle = serve.run(Says.bind("cell"), name="notebook", route_prefix="/notebook")
    assert await handle.name.remote() == "cell"
    assert await asyncio.gather(*(handle.name.remote() for _ in range(20))) == ["cell"] * 20
    with pytest.raises(RuntimeError, match="await response"):
        handle.name.remote().result()
    async with httpx.AsyncClient(base_url=client.base_url, timeout=60) as other:
        assert (await other.get("/notebook")).text == "cell"
    serve.delete("notebook")


def test_threads_run_and_call(door: str) -> None:
    answers: dict[int, str] = {}

    def work(number: int) -> None:
        handle = serve.run(Says.bind(f"t{number}"), name=f"t{number}", route_prefix=None)
        answers[number] = handle.name.remote().result()
        serve.delete(f"t{number}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {0: "t0", 1: "t1", 2: "t2"}


def test_without_a_prefix_there_is_no_http(client: httpx.Client) -> None:
    handle = serve.run(Says.bind("quiet"), name="quiet", route_prefix=None)
    assert handle.name.remote().result() == "quiet"
    assert "quiet" not in client.get("/-/routes").json().values()
    serve.delete("quiet")


@serve.deployment
class Gated:
    """Its constructor, or a call, goes on when somebody has opened a pipe for writing."""

    def __init__(self, gate: str = "") -> None:
        if gate:
            self.wait(gate)

    def __call__(self, request: Any = None) -> str:
        return "passed"

    def wait(self, gate: str) -> str:
        return Path(gate).read_text()


@pytest.fixture
def gate(tmp_path: Path) -> str:
    path = str(tmp_path / "gate")
    os.mkfifo(path)
    return path


def test_internal_run_returns_before_the_replicas_are_there(
    client: httpx.Client, gate: str
) -> None:
    handle = serve._run(Gated.bind(gate), _blocking=False, name="soon", route_prefix="/soon")
    assert str(serve.status().applications["soon"].status) == "DEPLOYING"
    Path(gate).write_text("")
    assert handle.remote().result(timeout_s=60) == "passed"
    while client.get("/-/routes").json().get("/soon") != "soon":
        pass  # nobody waits for the door here
    serve.delete("soon", _blocking=True)
    assert "soon" not in serve.status().applications


def test_several_apps_need_not_be_waited_for(door: str, gate: str) -> None:
    targets = [serve.RunTarget(Gated.bind(gate), name="slow", route_prefix=None)]
    (handle,) = serve.run_many(
        targets, wait_for_ingress_deployment_creation=True, wait_for_applications_running=False
    )
    assert str(serve.status().applications["slow"].status) == "DEPLOYING"
    Path(gate).write_text("")
    assert handle.remote().result(timeout_s=60) == "passed"
    serve.delete("slow")


def test_a_delete_need_not_be_waited_for(door: str, gate: str) -> None:
    handle = serve.run(Gated.bind(), name="goes", route_prefix=None)
    response = handle.wait.remote(gate)
    with open(gate, "w") as open_gate:  # noqa: PTH123 - the call has begun
        serve.delete("goes", _blocking=False)
        assert str(serve.status().applications["goes"].status) == "DELETING"
        open_gate.write("said")
    assert response.result(timeout_s=60) == "said"
    while "goes" in serve.status().applications:
        pass


def test_several_apps_at_once(client: httpx.Client) -> None:
    targets = [
        serve.RunTarget(Says.bind(word), name=word, route_prefix=f"/{word}") for word in "abc"
    ]
    handles = serve.run_many(targets)
    assert [handle.name.remote().result() for handle in handles] == ["a", "b", "c"]
    assert [client.get(f"/{word}").text for word in "abc"] == ["a", "b", "c"]
    (again,) = serve._run_many([serve.RunTarget(Says.bind("d"), "a", "/d")])
    assert again.name.remote().result() == client.get("/d").text == "d"
    for word in "abc":
        serve.delete(word)
    with pytest.raises(ValueError, match="No applications provided"):
        serve.run_many([])
    with pytest.raises(ValueError, match="the same name"):
        serve.run_many([serve.RunTarget(Says.bind(word), "a", f"/{word}") for word in "ab"])
    assert "a" not in serve.status().applications


@serve.deployment
class Level:
    def __call__(self) -> str:
        return logging.getLevelName(logging.getLogger("ray.serve").getEffectiveLevel())


@pytest.mark.parametrize(
    "run",
    [
        lambda app, config: serve.run(app, logging_config=config, name="loud", route_prefix=None),
        lambda app, config: serve._run(app, logging_config=config, name="loud", route_prefix=None),
        lambda app, config: serve.run_many([serve.RunTarget(app, "loud", None, config)])[0],
        lambda app, config: serve.run(
            Level.options(logging_config=config).bind(), name="loud", route_prefix=None
        ),
    ],
    ids=["run", "_run", "RunTarget", "options"],
)
def test_an_app_says_how_its_replicas_log(door: str, run: Any) -> None:
    assert run(Level.bind(), {"log_level": "ERROR"}).remote().result() == "ERROR"
    serve.delete("loud")


def test_no_trace_no_context() -> None:
    assert serve.get_trace_context() is None


def test_a_second_start_keeps_the_first_one_s_options(
    door: str, caplog: pytest.LogCaptureFixture
) -> None:
    serve.start(proxy_location="EveryNode")
    assert caplog.text == ""
    serve.start(http_options={"request_timeout_s": 3})
    assert "request_timeout_s=3" in caplog.text
    assert "host" not in caplog.text
    with pytest.raises(ValueError, match="proxy_location='Nowhere' is not valid"):
        serve.start(proxy_location="Nowhere")


def test_a_running_controller_keeps_what_it_was_given(
    door: str, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"runtime_env": {"env_vars": {"REGION": "south"}}}
    serve.start(controller_options={"runtime_env": {"env_vars": None}})
    assert caplog.text == ""
    serve.start(controller_options=given)
    assert "these are ignored: runtime_env=ControllerEnv(env_vars={'REGION': 'sou" in caplog.text
    assert "(is None)" in caplog.text
    caplog.clear()
    says = serve.run(Says.bind("on"), name="kept", route_prefix=None, controller_options=given)
    assert says.name.remote().result() == "on"
    assert "these are ignored: runtime_env=" in caplog.text


def test_old_programs_start_detached(door: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "salver"):
        serve.start(detached=True)
    assert "the instance ends with its program" in caplog.text
    with pytest.raises(TypeError, match=r"'http_option' is not an argument of start\(\)\. Did you"):
        serve.start(http_option={})
