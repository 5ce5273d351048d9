"""Programs whose imports say `ray`, by both commands, over real HTTP, with Ray there or not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import Command
from tests.programs.conftest import HERE, run_program

SCRIPTS = HERE / "scripts"
# What another `ray` would do, if it were imported.
OTHER_RAY = "raise RuntimeError('this is not the ray that was asked for')\n"


def test_a_script_runs_as_it_is() -> None:
    printed = run_program("-m", "salver.like.ray", "ray_script.py", "an argument")
    assert printed.splitlines() == [
        "2.60.0 True 8.0",
        "[2, 4]",
        "kept 10 level 7",
        "ValueError less than nothing",
        "an argument RUNNING",
        "['store a', 'store b']",
        "False",
    ]


TESTS = """
import pytest
import ray
from ray import serve


@serve.deployment
class Twice:
    def __call__(self, request):
        return 2 * int(request.query_params["x"])

    def twice(self, x):
        return 2 * x


@pytest.fixture(scope="module")
def twice():
    ray.init(num_cpus=2)
    serve.start(http_options={"port": 0})
    yield serve.run(Twice.bind())
    serve.shutdown()
    ray.shutdown()


def test_by_handle(twice):
    assert serve.status().applications["default"].status == "RUNNING"
    assert twice.twice.remote(2).result() == 4


def test_without_processes():
    handle = serve.run(Twice.bind(), name="here", _local_testing_mode=True)
    assert handle.twice.remote(3).result() == 6
"""


def test_a_module_runs_as_it_is_such_as_pytest_over_tests_of_ray_serve_s(tmp_path: Path) -> None:
    (tmp_path / "test_twice.py").write_text(TESTS)
    words = ("-m", "salver.like.ray", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def calculates(url: str) -> None:
    base = url.rstrip("/")
    assert httpx.get(f"{base}/calculate/4", timeout=60).json() == {"result": 18, "app": "default"}
    assert httpx.get(f"{base}/count", timeout=60).text == "0 1 2 "
    assert httpx.get(f"{base}/where", timeout=60).json() == {"replica": True, "gpus": []}


def test_an_app_runs_as_it_is(salver_command: Command) -> None:
    served = salver_command(
        "run", "--like", "ray", "ray_composition:app", "--port", "0", cwd=SCRIPTS
    )
    calculates(served.url)
    assert served.stop() == 0


def test_where_ray_is_installed_ours_is_taken_nevertheless(
    salver_command: Command, tmp_path: Path
) -> None:
    """In the command, in the processes that build, and in replicas."""
    (tmp_path / "ray.py").write_text(OTHER_RAY)
    (tmp_path / "program.py").write_text((SCRIPTS / "ray_composition.py").read_text())
    (tmp_path / "config.yaml").write_text(
        "http_options: {port: 0}\n"
        "applications: [{import_path: program:build, args: {increment: 2}}]\n"
    )
    served = salver_command("run", "--like", "ray", "config.yaml", cwd=tmp_path)
    calculates(served.url)
    assert served.stop() == 0
    checked = salver_command("check", "--like", "ray", "program:app", cwd=tmp_path)
    assert checked.process.wait() == 0


def test_an_actor_class_is_shared_by_replicas() -> None:
    assert run_program("-m", "salver.like.ray", "shared_counter.py") == "[11, 12, 13]\n"


def test_a_plain_run_is_untouched(salver_command: Command, tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text(OTHER_RAY)
    (tmp_path / "program.py").write_text("from ray import serve\n")
    served = salver_command("check", "program:app", cwd=tmp_path)
    assert served.process.wait() == 1
    assert "this is not the ray that was asked for" in served.errors()


def test_a_file_is_built_and_a_load_played_for_it(salver_command: Command, tmp_path: Path) -> None:
    """And what is said to come next is a command that works."""
    (tmp_path / "ray.py").write_text(OTHER_RAY)
    (tmp_path / "program.py").write_text((SCRIPTS / "ray_composition.py").read_text())
    built = salver_command("build", "--like", "ray", "program:app", "-o", "a.yaml", cwd=tmp_path)
    built.line(r"Wrote a\.yaml\. Next: salver run --like ray a\.yaml")
    assert built.process.wait() == 0
    first, _, _ = (tmp_path / "a.yaml").read_text().partition("\n")
    assert "`salver run --like ray a.yaml`" in first
    played = salver_command("simulate", "--like", "ray", "a.yaml", "--rate", "1", cwd=tmp_path)
    assert played.process.wait() == 0, played.errors()


@pytest.mark.parametrize("program", ["import ray\n", "def app():\n    from ray import serve\n"])
def test_a_program_that_misses_ray_is_told_how_it_runs(
    salver_command: Command, tmp_path: Path, program: str
) -> None:
    (tmp_path / "program.py").write_text(program)
    served = salver_command("check", "program:app", cwd=tmp_path)
    assert served.process.wait() == 1
    said = served.errors()
    assert "No module named 'ray'" in said
    assert "`salver run --like ray program:app`" in said


SAYS_WHY = """
from time import sleep
from salver.like.ray import install
install()
install()
import ray
{code}
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import ray.util.state", "ImportError: ray.util.state is not part of serving"),
        (
            "from ray.util import ActorPool",
            "ImportError: ray.util.ActorPool is not part of serving",
        ),
        ("from ray.exceptions import X", "ImportError: ray.exceptions.X is not part of serving"),
        (
            "ray.get(ray.remote(sleep).remote(2), timeout=0.01)",
            "TimeoutError: No value within 0.01s",
        ),
        ("import ray.data", "ImportError: ray.data is not part of serving"),
        ("from ray import train", "ImportError: ray.train is not part of serving"),
        ("import ray.serve.nothing", "ImportError: ray.serve.nothing: Salver has no such module."),
        ("from ray.serve.llm import LLMConfig", "ImportError: salver.serve.llm is not there in"),
        ("from ray.serve.dag import InputNode", "ImportError: salver.serve.dag (InputNode) is not"),
        (
            "from ray.serve._private.common import ReplicaID",
            "ImportError: ray.serve._private.ReplicaID is of Ray's inside",
        ),
        ("import ray.serve._private.router", "ray.serve._private.router is of Ray's inside"),
        ("from ray.serve import nothing", "ImportError: cannot import name 'nothing'"),
        ("ray.get_actor('x')", "NotImplementedError: ray.get_actor is not supported. Processes"),
        ("ray.init('ray://x')", "NotImplementedError: ray.init(address='ray://x'): there is no cl"),
        ("ray.init(namespce='x')", "TypeError: 'namespce' is not an argument of ray.init. Did you"),
        ("ray.init(runtime_env={'pip': ['x']})", "Give them to deployments: ray_actor_options."),
        ("ray.remote(type('C', (), {})).remote()", "NotImplementedError: C.remote() is not"),
        ("ray.remote(num_returns=2)(print)", "@ray.remote(num_returns=2) is not supported. Return"),
        (
            "ray.remote(print)()",
            "TypeError: Remote functions are not called: use print.remote(...)",
        ),
        ("ray.get(3)", "TypeError: ray.get(3): expected a response, an ObjectRef, or a list of"),
        ("ray.get(ray.remote(lambda: 1 / 0).remote())", "ZeroDivisionError"),
    ],
)
def test_what_is_not_answered_is_refused_by_name(code: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAYS_WHY.format(code=code)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said in done.stderr
    assert done.returncode == 1


def test_the_few_names_of_ray_are_answered() -> None:
    code = """
first = ray.put(1)
import asyncio, pickle, time
from ray.util import metrics
assert metrics.Counter
from ray.util import get_node_ip_address
add = ray.remote(lambda a, b=0: a + b)
async def slow():
    return "async"
done, rest = ray.wait([first, ray.put(2)], num_returns=1)
assert done == [first] and len(rest) == 1
assert ray.get([add.remote(first, b=add.remote(1)), add.options(num_cpus=1).remote(2)]) == [2, 2]
assert ray.get(ray.remote(num_cpus=1)(slow).remote()) == "async"
assert pickle.loads(pickle.dumps(first)) == 1
async def waits():
    return await first
assert asyncio.run(waits()) == 1
assert ray.get_gpu_ids() == ["GPU-a", 1]
assert ray.nodes()[0]["Alive"] and ray.util.get_node_ip_address() == get_node_ip_address()
context = ray.get_runtime_context()
assert context.get_actor_id() is None and context.get_node_id() and context.get_job_id()
assert not ray.is_initialized()
with ray.init(num_cpus=2, address="auto", runtime_env={"env_vars": {"A": "b"}}):
    assert ray.is_initialized()
assert not ray.is_initialized()
from ray.runtime_env import RuntimeEnv
with ray.init(runtime_env=RuntimeEnv(env_vars={"A": "b"}, pip=None)):
    assert ray.runtime_env.RuntimeEnv(pip=["x"]) == {"pip": ["x"]}
from ray.exceptions import ActorDiedError, RuntimeEnvSetupError, WorkerCrashedError
assert not hasattr(ray.util, "__nothing__")
from ray import serve
import ray.serve.handle, salver.serve.handle
from ray.serve.api import get_replica_context, run
from ray.serve.batching import batch
from ray.serve.deployment import Application, Deployment
from ray.serve.multiplex import multiplexed
from ray.serve.utils import get_trace_context
from ray.serve._private.autoscaling_state import AutoscalingContext
from ray.serve._private.common import DeploymentID
assert ray.serve._private.common.DeploymentID is ray.serve.config.DeploymentID is DeploymentID
assert AutoscalingContext is ray.serve.config.AutoscalingContext
assert DeploymentID(name="A", app_name="shop").app_name == "shop"
assert (run, batch, multiplexed) == (serve.run, serve.batch, serve.multiplexed)
assert (Application, Deployment) == (serve.Application, serve.Deployment)
import ray.serve.deployment
assert ray.serve.deployment is serve.deployment is salver.serve.deployment
from salver import deployment
assert serve.deployment is deployment
from ray.serve._private.constants import SERVE_DEFAULT_APP_NAME, SERVE_LOGGER_NAME
assert (SERVE_DEFAULT_APP_NAME, SERVE_LOGGER_NAME) == ("default", "ray.serve")
assert ray.serve.handle is salver.serve.handle
"""
    run = subprocess.run(
        [sys.executable, "-c", SAYS_WHY.format(code=code)],
        capture_output=True, text=True, check=False,
        env={"CUDA_VISIBLE_DEVICES": "GPU-a,1", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Usage: "),
        (("-m",), "Usage: "),
        (("-c", "x"), "Usage: "),
        (("-m", "no_such.module"), "Error: There is no module 'no_such.module'. Usage: "),
        (("-m", "no_such_module"), "Error: There is no module 'no_such_module'. Usage: "),
        (("nowhere.py",), "Error: nowhere.py cannot be read"),
    ],
)
def test_what_is_not_there_is_named(words: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "salver.like.ray", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(said)
