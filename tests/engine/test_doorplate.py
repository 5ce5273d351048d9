"""Which instance answers at an address: only a living one of this user is believed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from salver.engine.doorplate import find_instance, put_up


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Path]:
    """A runtime directory in which somebody listens."""
    directory = tmp_path / "salver-x"
    directory.mkdir(mode=0o700)
    put_up(str(directory), "127.0.0.1", 8000, "/root")
    with socket.socket(socket.AF_UNIX) as sock:
        os.chdir(directory)  # paths of sockets are short
        sock.bind("control.sock")
        os.chdir(tmp_path)
        sock.listen()
        yield directory


@pytest.fixture(autouse=True)
def _stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_instance_that_listens_there_is_found(instance: Path) -> None:
    found = find_instance("127.0.0.1", 8000, str(instance.parent))
    assert found is not None
    assert found[0] == str(instance)
    assert found[1].root_path == "/root"
    assert find_instance("127.0.0.1", 8001, str(instance.parent)) is None
    assert find_instance("127.0.0.2", 8000, str(instance.parent)) is None


def test_one_that_listens_everywhere_is_found_too(instance: Path) -> None:
    put_up(str(instance), "0.0.0.0", 8000, "")
    assert find_instance("127.0.0.1", 8000, str(instance.parent)) is not None
    assert find_instance("::1", 8000, str(instance.parent)) is None


def test_a_directory_that_others_can_enter_is_not_believed(instance: Path) -> None:
    instance.chmod(0o755)
    assert find_instance("127.0.0.1", 8000, str(instance.parent)) is None


def test_a_link_to_a_directory_is_not_believed(instance: Path) -> None:
    instance.rename(instance.parent / "other")
    instance.symlink_to(instance.parent / "other")
    assert find_instance("127.0.0.1", 8000, str(instance.parent)) is None


def test_what_a_crash_left_behind_is_not_believed(instance: Path) -> None:
    (instance / "control.sock").unlink()
    assert find_instance("127.0.0.1", 8000, str(instance.parent)) is None


def test_ports_of_another_network_are_not_ours(instance: Path) -> None:
    plate = msgspec.json.decode((instance / "door.json").read_bytes())
    (instance / "door.json").write_bytes(msgspec.json.encode(plate | {"network": "net:[1]"}))
    assert find_instance("127.0.0.1", 8000, str(instance.parent)) is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"host": 1}'])
def test_a_plate_that_cannot_be_read_is_none(instance: Path, content: bytes) -> None:
    (instance / "door.json").write_bytes(content)
    assert find_instance("127.0.0.1", 8000, str(instance.parent)) is None
