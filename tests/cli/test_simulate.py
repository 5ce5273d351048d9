"""`salver simulate` as it is used: loads, traces, targets, tables, pictures, and what is wrong."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from salver.cli.main import main
from salver.cli.traffic import TrafficError, arrivals, read_service, read_trace, shape, volume

APP = """
import asyncio
import salver

def answers_three(ctx):
    return 3

def lazy(ctx):
    return 3, {}

def lost(ctx):
    raise ValueError("no idea")

@salver.deployment(max_ongoing_requests=3, autoscaling_config={"max_replicas": 7})
class Model:
    def __call__(self): ...

@salver.deployment(num_replicas="auto")
class Door:
    def __init__(self, model=None): ...

one = Model.bind()
two = Door.bind(Model.bind())
fixed = Model.options(num_replicas=2).bind()
own = Model.options(
    autoscaling_config={"max_replicas": 7, "upscale_delay_s": 0,
                        "policy": {"policy_function": lazy}}
).bind()

class Patient:
    def __init__(self, number):
        self.number, self.woken = number, asyncio.Event()
        asyncio.get_running_loop().call_soon(self.woken.set)

    def __call__(self, ctx):
        return self.number if self.woken.is_set() else 1, {}

tasked = Model.options(
    autoscaling_config={"max_replicas": 7, "upscale_delay_s": 0,
                        "policy": {"policy_function": Patient, "policy_kwargs": {"number": 4}}}
).bind()
odd = Model.options(
    autoscaling_config={"max_replicas": 7, "policy": {"policy_function": "scaled:answers_three"}}
).bind()
bad = Model.options(
    autoscaling_config={"max_replicas": 7, "policy": {"policy_function": lost}}
).bind()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "scaled.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "scaled", raising=False)
    return tmp_path


def simulate(*words: str) -> str:
    done = CliRunner().invoke(main, ["simulate", "--duration", "20", *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*words: str) -> str:
    done = CliRunner().invoke(main, ["simulate", "--duration", "20", *words])
    assert done.exit_code != 0
    assert "Traceback" not in done.output
    return done.output


def test_it_prints_what_users_would_have_waited() -> None:
    said = simulate(
        "max_replicas=9", "upscale_delay_s=2", "look_back_period_s=2", "--duration", "24",
        "--step", "2,100,6", "--startup", "2", "--rows", "6",
    )  # fmt: skip
    head, *rows = said.splitlines()
    assert head.split() == [
        "time", "requests/s", "replicas", "wanted", "queue", "p50", "p99", "refused",
    ]  # fmt: skip
    assert [row.split()[0] for row in rows[:6]] == ["0s", "4s", "8s", "12s", "16s", "20s"]
    assert rows[0].split()[1:5] == ["2", "1", "1", "0"]
    assert rows[5].split()[1:4] == ["100", "9", "9"]
    assert re.search(r"\d+ requests served, \d+ of them waited, 0 refused", said)
    assert "9 at most; scaled up" in said


def test_without_anything_it_shows_the_defaults() -> None:
    assert "requests served" in simulate()


def test_options_come_from_an_app_and_are_overridden_by_words() -> None:
    assert " 7 at most" in simulate("scaled:one", "--rate", "100", "upscale_delay_s=0")
    quick = ("--rate", "100", "upscale_delay_s=0", "max_replicas=4")
    assert " 4 at most" in simulate("scaled:one", *quick)
    assert " 7 at most" in simulate("scaled:two", "--deployment", "Model", *quick[:-1])
    assert " 5 at most" in simulate(
        "scaled:fixed", "--rate", "100", "upscale_delay_s=0", "max_replicas=5"
    )


def test_a_deployment_that_does_not_autoscale_is_called_so() -> None:
    said = "Model has no autoscaling_config; this is how it would scale.\n"
    assert simulate("scaled:fixed").startswith(said)
    assert said not in simulate("scaled:one")


def test_options_come_from_json_and_from_files(folder: Path) -> None:
    text = '{"max_replicas": 6, "upscale_delay_s": 0}'
    (folder / "scale.json").write_text(text)
    (folder / "config.yaml").write_text(
        "applications:\n- name: a\n  route_prefix: /\n  import_path: scaled:one\n"
        "  deployments:\n  - name: Model\n    autoscaling_config:\n"
        "      max_replicas: 5\n      upscale_delay_s: 0\n"
    )
    assert " 6 at most" in simulate("--config", text, "--rate", "100")
    assert " 6 at most" in simulate("--config", "scale.json", "--rate", "100")
    assert " 5 at most" in simulate("config.yaml", "--rate", "100")


def test_a_policy_of_the_app_decides() -> None:
    assert " 3 at most" in simulate("scaled:own", "--rate", "100")


def test_a_policy_may_have_tasks_as_in_the_controller() -> None:
    assert " 4 at most" in simulate("scaled:tasked", "--rate", "100")


def test_a_policy_that_is_named_by_its_path_needs_no_target() -> None:
    config = '{"max_replicas": 7, "policy": {"policy_function": "scaled:lazy"}}'
    assert " 3 at most" in simulate("--config", config, "upscale_delay_s=0", "--rate", "100")


def test_it_draws_a_picture(folder: Path) -> None:
    said = simulate(
        "scaled:one", "--spike", "5,100,10", "--max-queued-requests", "50", "-o", "a.png"
    )
    assert said.endswith("Drawn: a.png\n")
    with Image.open(folder / "a.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 100  # not an empty one


def test_without_matplotlib_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    monkeypatch.delitem(sys.modules, "salver.cli.chart", raising=False)
    assert "pip install 'salver[plot]'" in refused("--plot", "a.png")
    assert "requests served" in simulate()


def test_chance_is_the_same_for_the_same_seed() -> None:
    words = ("--sine", "5,50", "--poisson", "--service", "exp:0.2", "max_replicas=9")
    assert simulate(*words) == simulate(*words)
    assert simulate(*words) != simulate(*words, "--seed", "1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["max_replica=3"], "'max_replica' is not a field of autoscaling_config. Did you mean"),
        (["max_replicas=0"], "max_replicas=0 is not valid: expected int >= 1"),
        (["min_replicas=5", "max_replicas=3"], "max_replicas=3 is less than min_replicas=5"),
        (["--step", "5"], "--step 5 is not of the form BEFORE,AFTER[,AT_S]"),
        (["--rate", "-5"], "--rate -5 is not of the form RATE"),
        (["--rate", "5", "--ramp", "1,2"], "Several loads are given (--rate, --ramp): give one"),
        (["--service", "gauss:1"], "--service gauss:1 is not a time: expected seconds such as"),
        (["--trace", "nowhere.csv"], "The trace nowhere.csv cannot be read: "),
        (["scaled:three"], "'scaled' has no 'three'. Did you mean"),
        (["scaled:two"], "several deployments that autoscale: Model, Door. Say which with --dep"),
        (["scaled:two", "--deployment", "Modl"], "'Modl' is not a deployment of scaled:two. Did"),
        (["--deployment", "Model"], "--deployment Model is of no target"),
        (["scaled:one", "scaled:two"], "There are two targets"),
        (["--config", "{"], "--config is not JSON"),
        (["--config", "nowhere.json"], "--config nowhere.json cannot be read"),
        (["-o", "nowhere/a.png"], "nowhere/a.png cannot be written: No such file or directory."),
        (["--rows", "x"], "'x' is not a valid integer."),
        (
            ["scaled:odd"],
            "with 1 replicas and 0 requests: it returned 3: expected (number, ",
        ),
        (["scaled:bad"], "The policy failed with 1 replicas and 0 requests: ValueError: no idea"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words: list[str], message: str) -> None:
    assert message in refused(*words)


# ---- traffic


@pytest.mark.parametrize(
    ("kind", "text", "count"),
    [
        ("rate", "10", 1000),
        ("step", "0,10,40", 600),
        ("ramp", "0,10", 500),
        ("spike", "1,11,10", 200),
        ("sine", "0,10,50", 500),
    ],
)
@pytest.mark.parametrize("chance", [None, Random(1)])
def test_a_shape_has_as_many_requests_as_lie_under_it(
    kind: str, text: str, count: int, chance: Random | None
) -> None:
    came = list(arrivals(shape(kind, text, 100), 100, chance))
    assert came == sorted(came)
    assert all(0 <= at < 100 for at in came)
    assert len(came) == pytest.approx(count, rel=0.1 if chance else 0.01, abs=2)


def test_even_arrivals_are_even_and_random_ones_are_not() -> None:
    even = list(arrivals(shape("rate", "10", 100), 100))
    assert all(b - a == pytest.approx(0.1, abs=1e-6) for a, b in pairwise(even))
    wild = [b - a for a, b in pairwise(arrivals(shape("rate", "10", 1000), 1000, Random(1)))]
    mean = sum(wild) / len(wild)
    spread = (sum((gap - mean) ** 2 for gap in wild) / len(wild)) ** 0.5
    assert spread == pytest.approx(mean, rel=0.05)  # as of an exponential


@pytest.mark.parametrize(
    ("text", "expected", "lasts"),
    [
        ("time\n5\n6\n8\n", [0, 1, 3], 5),
        ("5\n6\n8\n", [0, 1, 3], 5),
        ("\ufefftime\n5\n", [0], 1),
        ("time\n5\n5\n", [0, 0], 1),
        ("time,rate\n5,0\n", [], 1),
        ("time,rate\n5,7\n5,2\n", [0.25, 0.75], 1),
        ("time,rate\n100,1\n102,2\n104,0\n", [0.5, 1.5, 2.25, 2.75, 3.25, 3.75], 6),
        ('{"time": 1}\n{"time": 2.5}\n', [0, 1.5], 3),
        ('{"time": 0, "rate": 2}\n\n{"time": 1, "rate": 0}\n', [0.25, 0.75], 2),
        ("name,rate,time\na,1,0\nb,1,2\n", [0.5, 1.5, 2.5, 3.5], 4),
    ],
)
def test_a_trace_is_read_in_every_form(
    folder: Path, text: str, expected: list[float], lasts: float
) -> None:
    (folder / "trace").write_text(text)
    came, duration = read_trace("trace")
    assert came == pytest.approx(expected)
    assert duration == lasts


@pytest.mark.parametrize(
    "kind_and_text", [("rate", "50"), ("spike", "1,900,0.2"), ("sine", "0,9,3")]
)
def test_the_volume_of_a_load_is_the_number_of_its_requests(kind_and_text: tuple[str, str]) -> None:
    rate = shape(*kind_and_text, 20)
    assert volume(rate, 20) == pytest.approx(len(list(arrivals(rate, 20))), abs=1)


def test_a_load_that_would_be_played_for_ever_is_refused() -> None:
    said = "--rate 1e9 is 2e+10 requests in 20 s: expected up to 20,000,000."
    assert said in refused("--rate", "1e9")
    assert "'--duration'" in refused("--duration", "1e9")


def test_a_trace_without_requests_is_played(folder: Path) -> None:
    (folder / "trace").write_text("time,rate\n0,0\n")
    said = simulate("--trace", "trace", "--duration", "1")
    assert said.splitlines()[2].split()[:2] == ["0.07s", "0"]
    assert "0 requests served, 0 of them waited, 0 refused, 0 unfinished." in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("when\n1\n", "has no column `time`; it has: when"),
        ("time\nx\n", r"Row 1 of trace is \{'time': 'x'\}: expected a number"),
        ("time,rate\n1,-1\n", "expected a rate of 0 or more"),
        ("time\n2\n1\n", "not in the order of its times"),
        ("time,rate\n1,1\n2,\n", "some have none"),
        ("time\n0\n1700000000000\n", "lasts 3.4e.12 s: expected times in seconds"),
        ("time,rate\n0,1e9\n1,0\n", "has 1e.09 requests: expected up to 20,000,000"),
        ('{"time": 1}\n{', "Row 2 of trace is not JSON"),
        ('{"at": 1}', "Row 1 of trace is"),
    ],
)
def test_a_trace_that_makes_no_sense_is_refused_with_its_row(
    folder: Path, text: str, message: str
) -> None:
    (folder / "trace").write_text(text)
    with pytest.raises(TrafficError, match=message):
        read_trace("trace")


@pytest.mark.parametrize(
    ("text", "mean"),
    [("0.1", 0.1), ("exp:0.1", 0.1), ("uniform:0.1,0.3", 0.2), ("lognormal:0.1,0.5", 0.1133)],
)
def test_service_times_have_their_mean(text: str, mean: float) -> None:
    draw = read_service(text, Random(1))
    assert sum(draw() for _ in range(20_000)) / 20_000 == pytest.approx(mean, rel=0.03)


@pytest.mark.parametrize("text", ["", "x", "-1", "exp:", "exp:1,2", "uniform:1", "inf"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(TrafficError, match="expected seconds such as"):
        read_service(text, Random(1))


def test_the_shortest_command_is_explained() -> None:
    done: Any = CliRunner().invoke(main, ["simulate", "--help"])
    assert "--step 2,50,60" in done.output
    assert "Try:" in done.output
