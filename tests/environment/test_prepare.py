"""`runtime_env` made real: what goes on the path, what is made once, what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from salver.environment.prepare import Prepared, prepare
from salver.errors import EnvironmentFailedError
from salver.spec.environment import RuntimeEnv, read_runtime_env
from tests.environment.wheels import make_wheel


def test_nothing_asks_for_nothing(tmp_path: Path) -> None:
    assert prepare(RuntimeEnv(), tmp_path) == Prepared()


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_folder_is_where_replicas_start_and_import_from(tmp_path: Path, form: str) -> None:
    env = RuntimeEnv(working_dir=form.format(tmp_path))
    assert prepare(env, tmp_path / "cache") == Prepared((str(tmp_path),), str(tmp_path))


def test_a_zip_is_unpacked_once_for_its_content(tmp_path: Path) -> None:
    code = tmp_path / "code" / "inner"
    code.mkdir(parents=True)
    (code / "a.py").write_text("A = 1\n")
    archive = shutil.make_archive(str(tmp_path / "code"), "zip", tmp_path / "code")
    env = RuntimeEnv(working_dir=archive)
    first = prepare(env, tmp_path / "cache")
    assert (Path(first.cwd) / "a.py").read_text() == "A = 1\n"
    assert prepare(env, tmp_path / "cache") == first
    (code / "a.py").write_text("A = 2\n")
    shutil.make_archive(str(tmp_path / "code"), "zip", tmp_path / "code")
    assert prepare(env, tmp_path / "cache") != first


def test_modules_can_be_imported_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "single.py").touch()
    wheel = make_wheel(tmp_path, "wheeled", "")
    modules = [str(tmp_path / "package"), str(tmp_path / "single.py"), str(wheel)]
    prepared = prepare(RuntimeEnv(py_modules=modules), tmp_path / "cache")
    assert prepared.sys_path == (str(tmp_path), str(wheel))


def test_packages_are_installed_once_and_see_the_installed_ones(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wheel = make_wheel(tmp_path, "salver_tiny", "VALUE = 41\n")
    (tmp_path / "requirements.txt").write_text(f"{wheel}\n")
    env = RuntimeEnv(pip=[str(wheel)])
    with ThreadPoolExecutor(2) as threads:  # two at once: one waits for the other
        first, second = threads.map(lambda _: prepare(env, tmp_path / "cache"), range(2))
    assert first == second
    assert capfd.readouterr().err.count("Successfully installed") == 1
    (site,) = first.sys_path
    code = f"import sys; sys.path.insert(0, {site!r})\n"
    code += "import salver_tiny, msgspec; print(salver_tiny.VALUE)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "41\n"
    by_file = prepare(RuntimeEnv(pip=str(tmp_path / "requirements.txt")), tmp_path / "cache")
    assert (Path(by_file.sys_path[0]) / "salver_tiny.py").exists()
    make_wheel(tmp_path, "salver_tiny", "VALUE = 42\n")
    assert prepare(env, tmp_path / "cache") != first


def test_what_was_half_made_is_made_anew(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "salver_tiny", "VALUE = 41\n")
    missing = RuntimeEnv(pip=[str(wheel), str(tmp_path / "nothing-1.0-py3-none-any.whl")])
    with pytest.raises(EnvironmentFailedError, match=r"could not be installed\n(?s:.*)nothing"):
        prepare(missing, tmp_path / "cache")
    make_wheel(tmp_path, "nothing", "")
    assert prepare(missing, tmp_path / "cache").sys_path


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (RuntimeEnv(working_dir="/no/where"), r"^working_dir='/no/where': .* is no folder and no"),
        (RuntimeEnv(py_modules=["/no/where"]), r"^py_modules: '/no/where': there is no /no"),
        (RuntimeEnv(pip="/no/where"), r"^pip='/no/where': there is no requirements file"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named(env: RuntimeEnv, message: str, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailedError, match=message):
        prepare(env, tmp_path / "cache")


def test_a_broken_zip_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_text("no zip")
    with pytest.raises(EnvironmentFailedError, match=r"broken\.zip' cannot be unpacked"):
        prepare(RuntimeEnv(working_dir=str(tmp_path / "broken.zip")), tmp_path / "cache")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"working_dir": "s3://x/y.zip"}, r"'s3://x/y.zip' is not .*: Salver fetches by https://"),
        ({"py_modules": ["gs://x.whl"]}, r"'gs://x.whl' is not .*or download it"),
        ({"conda": "x"}, "pip environments only"),
        ({"container": {"image": "x"}}, "inside the container"),
        ({"uv": ["x"]}, "give the same list as `pip`"),
        ({"pip": {"packages": ["x"], "pip_version": "1"}}, r"\['pip_version'\]='1' is not"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(given: object, message: str) -> None:
    with pytest.raises(NotImplementedError, match=message):
        read_runtime_env(given)


def test_a_deployment_s_environment_lies_over_the_app_s() -> None:
    under = RuntimeEnv({"A": "1", "B": "1"}, "/w", ["m"], ["p"])
    over = RuntimeEnv({"B": "2"}, pip=["q"])
    assert over.over(under) == RuntimeEnv({"A": "1", "B": "2"}, "/w", ["m"], ["q"])
