"""Zips by their addresses: fetched from a real server, kept, asked for again, refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from salver.environment.prepare import prepare
from salver.errors import EnvironmentFailedError
from salver.spec.environment import RuntimeEnv, read_runtime_env
from tests.environment.shelf import Server, zipped
from tests.environment.wheels import make_wheel

ONE = {"top/a.py": ""}


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


def test_a_zip_is_fetched_once_for_its_version(server: Server, tmp_path: Path) -> None:
    env = RuntimeEnv(working_dir=server.put("code.zip", zipped({"top/a.py": "A = 1\n"})))
    first = prepare(env, tmp_path)
    assert (Path(first.cwd) / "a.py").read_text() == "A = 1\n"
    assert first.sys_path == (first.cwd,)
    assert prepare(env, tmp_path) == first
    assert server.answers == [200, 304]
    server.put("code.zip", zipped({"top/a.py": "A = 2\n"}))
    assert (Path(prepare(env, tmp_path).cwd) / "a.py").read_text() == "A = 2\n"
    assert (Path(first.cwd) / "a.py").read_text() == "A = 1\n"  # which replicas may still run


def test_what_lies_beside_the_folder_keeps_it(server: Server, tmp_path: Path) -> None:
    two = RuntimeEnv(working_dir=server.put("two.zip", zipped({"a.py": "", "inner/b.py": ""})))
    mac = RuntimeEnv(
        working_dir=server.put("mac.zip", zipped({"top/a.py": "", "__MACOSX/top/._a.py": ""}))
    )
    assert sorted(p.name for p in Path(prepare(two, tmp_path).cwd).iterdir()) == ["a.py", "inner"]
    assert [p.name for p in Path(prepare(mac, tmp_path).cwd).iterdir()] == ["a.py"]


def test_a_server_that_is_gone_matters_only_the_first_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server()
    env = RuntimeEnv(working_dir=server.put("code.zip", zipped(ONE)) + "?signature=secret")
    first = prepare(env, tmp_path / "cache")
    server.stop()
    assert prepare(env, tmp_path / "cache") == first
    said = capsys.readouterr().err
    assert "refused): what it was the last time is used." in said
    assert "secret" not in said
    with pytest.raises(EnvironmentFailedError, match=r"^working_dir='http.* cannot be fetched: .*"):
        prepare(env, tmp_path / "another")


@pytest.mark.parametrize("name", ["m.zip", "m.zip?version=3", "m-1.0-py3-none-any.whl"])
def test_modules_are_fetched_too(server: Server, tmp_path: Path, name: str) -> None:
    """A package may lie at the top, or in a folder that holds nothing else, as Ray wants it."""
    wheel = make_wheel(tmp_path, "m", "").read_bytes()
    flat, deep = zipped({"m/__init__.py": ""}), zipped({"any/m/__init__.py": "", "any/n.py": ""})
    for content in [wheel] if name.endswith(".whl") else [flat, deep]:
        env = RuntimeEnv(py_modules=[server.put(name.partition("?")[0], content)])
        (entry,) = prepare(env, tmp_path / "cache").sys_path
        assert (Path(entry) / "m").is_dir() or (Path(entry) / "m.py").is_file()


def test_what_cannot_be_used_is_told_and_not_kept(server: Server, tmp_path: Path) -> None:
    outside = zipped({"../a.py": ""})
    for name, content, why in (
        ("no.zip", b"no zip", "cannot be unpacked: File is not a zip file"),
        ("out.zip", outside, "cannot be unpacked: '../a.py' in it would lie outside"),
    ):
        env = RuntimeEnv(working_dir=server.put(name, content))
        with pytest.raises(EnvironmentFailedError, match=why):
            prepare(env, tmp_path / "cache")
        server.put(name, zipped(ONE))
        assert prepare(env, tmp_path / "cache").cwd
    assert not (tmp_path / "a.py").exists()
    missing = server.put("gone.zip", b"").replace("gone", "nowhere")
    with pytest.raises(EnvironmentFailedError, match="the server answers 404 Not Found"):
        prepare(RuntimeEnv(working_dir=missing), tmp_path / "cache")
    server.cut = True
    cut = server.put("cut.zip", zipped(ONE))
    with pytest.raises(EnvironmentFailedError, match=r"ended after \d+ of \d+ bytes"):
        prepare(RuntimeEnv(working_dir=cut), tmp_path / "cache")
    assert not list((tmp_path / "cache" / "fetched").glob("*.part"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"working_dir": "https://x/y.tar.gz"}, r"expected the address of a \.zip\."),
        ({"working_dir": "https://x/y.whl"}, r"expected the address of a \.zip\."),
        ({"py_modules": ["https://x/y"]}, r"expected the address of a \.zip or \.whl\."),
    ],
)
def test_an_address_names_a_zip(given: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_runtime_env(given)


def test_an_address_of_a_zip_is_taken() -> None:
    address = "https://github.com/someone/something/archive/v1.zip?token=a/b.c"
    assert read_runtime_env({"working_dir": address}).working_dir == address
