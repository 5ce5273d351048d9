"""What can be asked of the command without starting anything."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest
from click.testing import CliRunner

import salver
from salver.cli.main import main


def ask(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(args))
    return result.exit_code, result.output


def test_version_says_which_salver_this_is() -> None:
    assert ask("--version") == (0, f"salver {salver.__version__}\n")


@pytest.mark.parametrize(
    ("option", "said"),
    [("--version", f"salver {salver.__version__}\n"), ("--help", "Usage: salver ")],
)
def test_the_installed_script_is_this_command(option: str, said: str, tmp_path: Path) -> None:
    script = Path(sysconfig.get_path("scripts"), "salver")
    done = subprocess.run(
        [script, option], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(said)
    assert done.stderr == ""


@pytest.mark.parametrize("args", [("--help",), ("run", "--help"), ("-h",)])
def test_help_shows_a_line_to_copy(args: tuple[str, ...]) -> None:
    code, text = ask(*args)
    assert code == 0
    assert "salver run hello:app" in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("rn",), "No command 'rn'. Did you mean 'salver run'?"),
        (("deploy", "config.yaml"), "'salver run config.yaml' serves until Ctrl-C."),
        (("hello:app",), "Did you mean 'salver run hello:app'?"),
        (("run", "hello:app", "word"), "'word' must be of the form '<key>=<val>'."),
        (("run", "hello:app", "--port", "70000"), "70000 is not in the range"),
        (("run", "hello:app", "--host", ""), "'' is no address"),
        (("run", "hello:app", "--resources", '{"GPU": 1}'), "num_gpus says that"),
        (("run", "hello:app", "--num-gpus", "-1"), "-1.0 is not in the range x>=0."),
        (("run", "hello:app", "--num-cpus", "nan"), "'nan' is not a finite number."),
        (("run", "hello:app", "--resources", "tpu"), "must be JSON such as"),
        (("run", "hello:app", "--prt", "1"), "No such option"),
        (("run",), "Missing argument 'TARGET'"),
    ],
)
def test_a_wrong_command_line_is_explained(args: tuple[str, ...], message: str) -> None:
    code, text = ask(*args)
    assert code == 2
    assert message in text
