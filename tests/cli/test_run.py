"""`salver run` as it is used: it starts, serves, reloads, stops, and says what is wrong."""

from __future__ import annotations

import asyncio
import itertools
import re
import signal
import socket
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from salver.control.client import ControlClient
from salver.engine.doorplate import find_instance
from salver.errors import WireError
from tests.conftest import Command, put

APP = """
import salver

@salver.deployment
class App:
    def __init__(self, word="{word}"):
        self.word = word
    def __call__(self, request):
        print("answering", flush=True)
        return self.word

app = App.bind()

def build(args):
    return App.bind(args["word"])
"""
SESSIONS = """
import salver

@salver.deployment(num_replicas=3, request_router_config={
    "request_router_class": "salver.serve.experimental:ConsistentHashRouter",
    "request_router_kwargs": {"num_fallback_replicas": 0},
})
class Sessions:
    def __call__(self, request):
        return salver.get_replica_context().replica_id.unique_id

app = Sessions.bind()
"""
QUIET = """
import salver

@salver.deployment
class Quiet:
    def price(self): ...

@salver.deployment
def answer(): ...

quiet, f = Quiet.bind(), answer.bind()
"""

ROUTES = """
import salver
from fastapi import FastAPI

api = FastAPI()

@salver.deployment
@salver.ingress(api)
class Routes:
    @api.get("/items")
    def items(self):
        return []

app = Routes.bind()
"""
FAILING = """
import salver

@salver.deployment(max_constructor_retry_count=1)
class Failing:
    def __init__(self):
        raise ValueError("the user's own mistake")

app = Failing.bind()
"""
HANGING = """
import threading
import salver

@salver.deployment
class App:
    def __init__(self):
        threading.Event().wait()

app = App.bind()
"""
SERVICE = """
import os
from types import SimpleNamespace

if os.environ.get("SALVER_PROCESS") == "grpc":
    raise ImportError("half installed")

def add(servicer, server):
    kind = dict.fromkeys(("request_streaming", "response_streaming"), False)
    coders = dict.fromkeys(("request_deserializer", "response_serializer"), bytes)
    server.add_registered_method_handlers("shop.Shop", {"Buy": SimpleNamespace(**kind, **coders)})
"""

# It serves as soon as it is imported: nothing asks whether it is the main program.
PROGRAM = """
import salver

@salver.deployment
class Program:
    def __call__(self, request=None):
        return salver.get_replica_context().replica_id.unique_id

app = Program.bind()
salver.start(http_options={"port": 1})
handle = salver.run(app, blocking=True)
print("imported as", handle.remote().result(timeout_s=60), flush=True)
"""
OWN_LOOP = """
import asyncio

async def own():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(2, print)
    loop.remove_signal_handler(2)

asyncio.run(own())
"""
IMPORTED_FOR_EVER = """
import threading

print("importing", flush=True)
threading.Event().wait()
"""
IMPORTED_AND_DEAF = """
import threading

print("importing", flush=True)
try:
    threading.Event().wait()
except BaseException:
    raise ValueError("something came between") from None
"""
FILE = """
http_options: {port: 0}
applications: [{import_path: "shop:app"}]
"""

# What every process begins with: the controller cannot keep its state.
FULL_DISK = """
import sqlite3

def connect(*_args, **_options):
    raise sqlite3.OperationalError("disk I/O error")

sqlite3.connect = connect
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APP.format(word="first"))
    (tmp_path / "bad.py").write_text(FAILING)
    return tmp_path


def test_it_serves_until_ctrl_c(salver_command: Command, folder: Path) -> None:
    served = salver_command("run", "shop:app", "--port", "0", cwd=folder)
    assert httpx.get(served.url, timeout=60).text == "first"
    assert served.stop() == 0
    text = "".join(served.said)
    assert "RUNNING" in text
    assert text.endswith("Stopped.\n")
    assert "answering" in served.errors()


def test_a_program_that_runs_its_app_as_it_is_imported_runs_it_here_and_once(
    salver_command: Command, folder: Path
) -> None:
    (folder / "program.py").write_text(PROGRAM)
    served = salver_command("run", "program:app", "--port", "0", cwd=folder)
    first = served.line(r"imported as (\w+)").group(1)
    assert httpx.get(served.url, timeout=60).text == first
    assert served.stop() == 0
    assert "STOPPING" not in "".join(served.said[:-1])
    assert "these are ignored: port=1" in served.errors()


def test_a_program_that_shuts_down_first_ends_its_own_apps_and_not_the_command(
    salver_command: Command, folder: Path
) -> None:
    (folder / "program.py").write_text(
        f"{PROGRAM}salver.run(app, name='second', route_prefix='/second')\n"
        "salver.shutdown()\nprint('apps:', list(salver.status().applications), flush=True)\n"
    )
    served = salver_command("run", "program:app", "--port", "0", cwd=folder)
    assert served.line(r"apps: (.*)").group(1) == "[]"
    assert httpx.get(served.url, timeout=60).status_code == 200
    assert served.stop() == 0


def test_what_is_only_imported_to_be_built_runs_nothing(
    salver_command: Command, folder: Path
) -> None:
    program = PROGRAM.replace("handle.remote().result(timeout_s=60)", "'nothing'")
    (folder / "program.py").write_text(program)
    checked = salver_command("check", "program:app", cwd=folder)
    checked.line(r"imported as nothing")
    checked.line(r"program:app is valid: 1 app\.")
    assert checked.process.wait() == 0
    assert checked.errors() == (
        "run() runs nothing: what makes app default is imported only to be built.\n"
    )


def test_a_program_that_cannot_be_sent_is_told_how_to_run_as_a_module(
    salver_command: Command, folder: Path
) -> None:
    held = PROGRAM.replace("import salver", "import salver, sqlite3\nheld = sqlite3.connect('')", 1)
    (folder / "program.py").write_text(held.replace("return ", "return held and "))
    served = salver_command("run", "program:app", "--port", "0", cwd=folder)
    assert served.process.wait() == 1
    assert 'call run() of program under `if __name__ == "__main__":`' in served.errors()


def test_the_environment_names_the_header_of_sessions(
    salver_command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sessions.py").write_text(SESSIONS)
    monkeypatch.setenv("RAY_SERVE_SESSION_ID_HEADER_KEY", "X-Chat-ID")
    served = salver_command("run", "sessions:app", "--port", "0", cwd=folder)
    with httpx.Client(base_url=served.url, timeout=60) as client:

        def homes(header: str) -> set[str]:
            return {client.get("/", headers={header: "anna"}).text for _ in range(12)}

        assert len(homes("x_chat_id")) == 1
        while len(homes("x-session-id")) < 3:
            pass  # it means nothing here: all replicas are asked, once they are dialled
    assert served.stop() == 0
    assert "SESSION_ID" not in served.errors()


def test_sigterm_stops_it_too(salver_command: Command, folder: Path) -> None:
    served = salver_command("run", "shop:app", "--port", "0", cwd=folder)
    assert served.url
    assert served.stop(signal.SIGTERM) == 0


def test_nothing_survives_its_sudden_death(salver_command: Command, folder: Path) -> None:
    """The leak check sees to the rest."""
    served = salver_command("run", "shop:app", "--port", "0", cwd=folder)
    assert served.url
    assert served.stop(signal.SIGKILL) == -signal.SIGKILL


def test_nobody_who_reads_on_ends_it_without_blame(salver_command: Command, folder: Path) -> None:
    served = salver_command("run", "shop:app", "--port", "0", cwd=folder)  # | head -1
    served.line(r"default DEPLOYING")
    assert served.process.stdout is not None
    served.process.stdout.close()
    assert served.process.wait() == 1
    assert "Error" not in served.errors()


def test_name_route_and_arguments(salver_command: Command, folder: Path) -> None:
    served = salver_command(
        *("run", "shop:build", "word=built", "--name", "mine", "--route-prefix", "/mine"),
        *("--app-dir", str(folder), "--port", "0"),
        cwd=folder.parent,
    )
    url = served.url
    assert url.endswith("/mine")
    assert httpx.get(url, timeout=60).text == "built"
    assert served.stop() == 0


def test_where_nothing_answers_at_the_root_the_page_that_does_is_named(
    salver_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(ROUTES)
    words = ("run", "shop:app", "--route-prefix", "/mine", "--port", "0")
    served = salver_command(*words, cwd=tmp_path)
    url = served.url
    page = served.line(r"^    open (\S+)$")[1]
    assert page == f"{url}/docs"
    assert httpx.get(page, timeout=60).status_code == 200
    assert served.stop() == 0


def test_nobody_is_sent_to_a_class_that_answers_no_http(
    salver_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "quiet.py").write_text(QUIET)
    for name, said in (
        ("quiet", "Quiet has no __call__, and so no answer to HTTP."),
        ("f", "curl"),
    ):
        served = salver_command("run", f"quiet:{name}", "--port", "0", cwd=tmp_path)
        served.line(r"^App default is ready: ")
        served.line(rf"^    {said}")
        assert served.stop() == 0


def test_a_failing_constructor_is_shown(salver_command: Command, folder: Path) -> None:
    served = salver_command("run", "bad:app", "--port", "0", cwd=folder)
    served.line(r" FAILED ValueError: the user's own mistake$")
    assert served.process.wait() == 1
    errors = served.errors()
    assert "Error: app default could not be brought up." in errors
    assert "ValueError: the user's own mistake" in errors


def test_a_door_that_dies_at_every_start_ends_it_with_the_cause(
    salver_command: Command, folder: Path
) -> None:
    (folder / "service.py").write_text(SERVICE)
    door = ("--grpc-port", "0", "--grpc-servicer-functions", "service.add")
    served = salver_command("run", "shop:app", "--port", "0", *door, cwd=folder)
    assert served.process.wait() == 1
    (error,) = (line for line in served.errors().splitlines() if line.startswith("Error: "))
    # Where the command is slow to hear of it, the door is tried once more.
    assert re.match(r"Error: The gRPC door does not start; it was tried [3-9] times", error)
    assert "exit code 1: salver.errors.TargetError: " in error
    assert "half installed" in error
    assert "pip install --force-reinstall 'salver[grpc]'" in error


def test_a_controller_that_dies_at_every_start_ends_it_with_the_cause(
    salver_command: Command, folder: Path
) -> None:
    (folder / "sitecustomize.py").write_text(FULL_DISK)
    served = salver_command("run", "shop:app", "--port", "0", cwd=folder, first=folder)
    assert served.process.wait() == 1
    (error,) = (line for line in served.errors().splitlines() if line.startswith("Error: "))
    assert error.startswith("Error: The controller does not start; it was tried 3 times, and ended")
    assert "exit code 1: sqlite3.OperationalError: disk I/O error. " in error


async def _runs_again(place: str) -> None:
    """The controller that answers there has told that the app runs."""
    secret = (Path(place) / "secret").read_bytes()
    while True:
        with suppress(OSError, WireError):  # it is only about to be there
            control = await ControlClient.dial(place, secret)
            async for event in control.events():
                if (event.subject, event.state) == ("default", "RUNNING"):
                    control.close()
                    return


def test_a_new_controller_is_no_change_of_state(salver_command: Command, folder: Path) -> None:
    served = salver_command("run", "shop:app", "--port", "0", cwd=folder)
    found = find_instance("127.0.0.1", httpx.URL(served.url).port or 0)
    assert found is not None
    every = {process.pid: process for process in psutil.Process(served.process.pid).children(True)}
    named = {Path(f"/proc/{pid}/comm").read_text().strip(): every[pid] for pid in every}
    (controller,) = (named[name] for name in named if name.startswith("salver:controll"))
    (replica,) = (named[name] for name in named if name.startswith("salver:App"))
    controller.kill()
    controller.wait()
    asyncio.run(asyncio.wait_for(_runs_again(found[0]), 60))
    replica.kill()
    served.line(r"#App#\w+ RUNNING")  # that of the next controller
    assert served.stop() == 0
    states = re.findall(r"^[\d:]+ default (\w+)", "".join(served.said), re.MULTILINE)
    assert states
    assert all(state != after for state, after in itertools.pairwise(states)), states


def test_a_busy_port_is_named(salver_command: Command, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        served = salver_command("run", "shop:app", "--port", str(port), cwd=folder)
        assert served.process.wait() == 1
    errors = served.errors()
    assert errors.startswith("Error: ")
    assert str(port) in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("target", ["nowhere:app", "shop:nothing"])
def test_a_wrong_target_is_one_line(salver_command: Command, folder: Path, target: str) -> None:
    served = salver_command("run", target, "--port", "0", cwd=folder)
    assert served.process.wait() == 1
    assert served.errors().startswith("Error: ")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--name", ""), ("--name", "a#b"), ("--route-prefix", "/-/x"), ("--host", "192.0.2.1")],
)
def test_a_wrong_option_is_one_line(
    salver_command: Command, folder: Path, option: str, value: str
) -> None:
    served = salver_command("run", "shop:app", "--port", "0", option, value, cwd=folder)
    assert served.process.wait() == 1
    (line,) = served.errors().splitlines()
    assert line.startswith("Error: ")
    assert (value or "''") in line


def test_reload_runs_the_new_code_and_survives_a_mistake(
    salver_command: Command, folder: Path
) -> None:
    served = salver_command("run", "shop:app", "--port", "0", "--reload", cwd=folder)
    url = served.url
    assert httpx.get(url, timeout=60).text == "first"
    put(folder / "shop.py", "this is no Python\n")
    served.line(r"Changed: shop\.py\.")
    served.error("The old code keeps serving.")
    put(folder / "shop.py", FAILING.replace("Failing", "App"))
    served.line(r"DEPLOY_FAILED")
    served.error("The old code keeps serving.")
    assert httpx.get(url, timeout=60).text == "first"
    put(folder / "shop.py", APP.format(word="second, and longer"))
    served.line(r"Changed: shop\.py\.")
    served.line(r"is ready")
    assert httpx.get(url, timeout=60).text == "second, and longer"
    assert served.stop() == 0


@pytest.mark.parametrize("first", [HANGING, APP.format(word="first")])
def test_a_change_does_not_wait_for_the_one_before(
    salver_command: Command, folder: Path, first: str
) -> None:
    put(folder / "shop.py", first)
    served = salver_command("run", "shop:app", "--port", "0", "--reload", cwd=folder)
    if first is not HANGING:
        served.line(r"is ready")
        put(folder / "shop.py", HANGING)
    served.line(r" STARTING")
    put(folder / "shop.py", APP.format(word="last, and longer"))
    assert httpx.get(served.url, timeout=60).text == "last, and longer"
    assert served.stop() == 0


def test_reloaded_code_is_imported_as_by_a_program(salver_command: Command, folder: Path) -> None:
    """It may run loops of its own, ask apps that it runs, and listen to signals."""
    (folder / "program.py").write_text(PROGRAM)
    served = salver_command("run", "program:app", "--port", "0", "--reload", cwd=folder)
    first = served.line(r"imported as (\w+)").group(1)
    assert served.url
    (folder / "program.py").write_text(OWN_LOOP + PROGRAM)
    assert served.line(r"imported as (\w+)").group(1) != first
    assert served.url
    assert served.stop() == 0


def test_ctrl_c_does_not_wait_for_code_that_is_imported(
    salver_command: Command, folder: Path
) -> None:
    (folder / "shop.py").write_text(IMPORTED_FOR_EVER)
    served = salver_command("run", "shop:app", "--port", "0", cwd=folder)
    served.line("importing")
    assert served.stop() == 130
    assert served.errors() == "Interrupted.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("target", ["shop:app", "config.yaml"])
def test_it_stops_at_once_while_changed_code_is_imported(
    salver_command: Command, folder: Path, target: str, number: signal.Signals
) -> None:
    (folder / "config.yaml").write_text(FILE)
    port = ("--port", "0") if target == "shop:app" else ()
    served = salver_command("run", target, *port, "--reload", cwd=folder)
    assert served.url
    put(folder / "shop.py", IMPORTED_AND_DEAF)
    served.line("importing")
    assert served.stop(number) == 0
    assert served.said[-1].endswith("Stopped.\n")
    assert "Traceback" not in served.errors()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("command", ["check", "run"])
def test_what_imports_the_apps_of_a_file_ends_with_the_command(
    salver_command: Command, folder: Path, command: str, number: signal.Signals
) -> None:
    """The leak check sees to the rest."""
    (folder / "config.yaml").write_text(FILE)
    (folder / "shop.py").write_text(IMPORTED_FOR_EVER)
    served = salver_command(command, "config.yaml", cwd=folder)
    served.line("importing")
    assert served.stop(number) == (130 if number == signal.SIGINT else -number)
    assert served.errors() == ("Interrupted.\n" if number == signal.SIGINT else "")
