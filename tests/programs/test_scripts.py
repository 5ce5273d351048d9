"""Programs run as users run them: scripts, a REPL, a notebook, the command, signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, Command
from tests.programs.conftest import HERE, run_program

SCRIPTS = HERE / "scripts"


def test_a_script_with_everything_of_its_own() -> None:
    assert run_program("own_classes.py").splitlines() == [
        "hello!",
        "{'name': 'CUP', 'count': 2}",
        "[1, 2] ['out of stock', 'LARGE']",
        "200 200",
        "True",
        "caught LARGE True",
        "[[0], [1], [2]]",
        "{}",
    ]


def test_handles_in_spawned_processes_and_threads() -> None:
    assert run_program("spawned.py").splitlines() == [
        "[[2, [0, 1, 2]], [3, [0, 1, 2]]]",
        "10",
        "[1, 2, 3, 4]",
    ]


def test_a_module_that_cannot_be_imported_goes_by_value() -> None:
    assert run_program("loaded.py") == "life: 42\n"


def test_a_notebook_s_cells_on_a_running_loop() -> None:
    assert run_program("notebook.py").splitlines() == ["6", "15", "20 ['default', 'model']"]


REPL = """
from salver import serve
@serve.deployment
class Greets:
    def __call__(self, name):
        return greeting + name

greeting = "hello "
handle = serve.run(Greets.bind(), route_prefix=None)
handle.remote("you").result()
try:
    handle.remote(5).result()
except TypeError:
    print("a type error")

serve.status().applications["default"].status.value
serve.delete("default")
serve.shutdown()
"""


def test_a_repl_s_own_code_is_served() -> None:
    said = run_program("-i", "-q", stdin=REPL)
    assert said.splitlines() == ["'hello you'", "a type error", "'RUNNING'"]


def test_starlette_s_modules_are_there_for_annotations() -> None:
    assert run_program("plain_starlette.py") == "said text/x-echo; charset=utf-8\n"


def test_code_on_the_command_line() -> None:
    code = (
        "from salver import serve\n"
        "f = serve.deployment(name='f')(lambda x: x + 1)\n"
        "print(serve.run(f.bind(), route_prefix=None).remote(1).result())"
    )
    assert run_program("-c", code) == "2\n"


FULL_DISK = """
import sqlite3

def connect(*_args, **_options):
    raise sqlite3.OperationalError("disk I/O error")

sqlite3.connect = connect
"""


def test_a_script_is_told_why_there_is_no_controller(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(FULL_DISK)
    code = (
        f"import os; os.environ['PYTHONPATH'] += ':{tmp_path}'\n"
        "from salver import serve\n"
        "app = serve.deployment(name='f')(lambda: 1).bind()\n"
        "for _ in range(2):\n"
        "    try: serve.run(app)\n"
        "    except serve.exceptions.RayServeException as error: print(error)\n"
        "    serve.shutdown()"
    )
    first, second = run_program("-c", code).splitlines()
    assert first == second
    assert "ended with exit code 1: sqlite3.OperationalError: disk I/O error. " in first


def test_log_lines_carry_the_request_s_id() -> None:
    done = subprocess.run(
        [sys.executable, "logging_ids.py"],
        cwd=SCRIPTS,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "SALVER_HTTP_PORT": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    for name, text in [("Outer", "outer works"), ("Inner", "inner works")]:
        line = rf"(?m)^\[default#{name}#\w+\] WARNING .* id-of-mine .*{text}$"
        assert re.search(line, done.stderr), done.stderr
    assert re.search(r"(?m)^\[default#Outer#\w+\] printed$", done.stderr), done.stderr


@pytest.mark.parametrize("how", ["one", "many"])
def test_run_blocking_stays_until_it_is_interrupted(how: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "stays.py", how],
        cwd=SCRIPTS,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "SALVER_HTTP_PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "blocks\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "interrupted\n"
        assert "KeyboardInterrupt" in process.stderr.read()
    assert process.returncode != 0


@pytest.mark.parametrize(
    ("how", "code", "said", "error"),
    [
        ("killed", 1, "blocks\n", "The keeper has ended unexpectedly, and everything with it (sig"),
        ("shutdown", 0, "blocks\nreturned\n", ""),
    ],
)
def test_run_blocking_stays_no_longer_than_the_instance(
    how: str, code: int, said: str, error: str
) -> None:
    done = subprocess.run(
        [sys.executable, "stays.py", how],
        cwd=SCRIPTS,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "SALVER_HTTP_PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, said), done.stderr
    assert error in done.stderr


def test_the_command_runs_a_module(salver_command: Command) -> None:
    served = salver_command("run", "cli_app:app", "--port", "0", cwd=SCRIPTS)
    assert httpx.get(served.url + "word", timeout=60).json() == "bound"
    assert served.stop() == 0


def test_the_command_runs_a_builder_with_arguments(salver_command: Command) -> None:
    served = salver_command(
        "run", "cli_app:build", "word=given", "--port", "0", "--route-prefix", "/p", cwd=SCRIPTS
    )
    assert httpx.get(served.url.rstrip("/") + "/word", timeout=60).json() == "given"
    assert served.stop() == 0


def test_local_testing_mode() -> None:
    assert run_program("local_testing.py").splitlines() == [
        "['configured', True, [1, 'changed', 'changed']]",
        "[0, 2, 4]",
        "True",
        "True",
        "['configured', True, [2, 'changed', 'changed']]",
    ]


def test_annotations_that_are_strings() -> None:
    assert run_program("later_annotations.py").splitlines() == [
        '{"name":"a m 4 POST","parts":[{"number":1}]}',
        '{"size":3} upload',
        '[{"name":"1","parts":[]},{"name":"2","parts":[]}] {"name":"1","parts":[]}',
    ]
