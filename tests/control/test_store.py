"""What is wanted outlives the controller, in order of deployment."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from salver.control.store import MemoryStore, SqliteStore
from salver.core.unloading import Unloaded
from salver.spec.app import AppSpec, DeploymentSpec, ImportedCode, PickledCode
from salver.spec.ids import DeploymentId
from salver.spec.options import DeploymentOptions

Open = Callable[[], MemoryStore | SqliteStore]


def app(name: str, route: str = "/") -> AppSpec:
    options = DeploymentOptions(user_config={"a": [1, None]}, resources={"x": 1.0})
    code = ImportedCode("m", "C") if name == "a" else PickledCode(b"\0\xff")
    spec = DeploymentSpec(DeploymentId("D", name), code, b"\x80", options, "1", ingress=True)
    return AppSpec(name, route, (spec,), ("/src",), "/")


@pytest.fixture(params=["memory", "sqlite"])
def open_(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    memory = MemoryStore()
    return (lambda: memory) if request.param == "memory" else lambda: SqliteStore(str(tmp_path))


def test_apps_come_back_as_they_were_put_the_latest_last(open_: Open) -> None:
    store = open_()
    for each in (app("a"), app("b"), app("c"), app("a", "/new")):
        store.put(each)
    store.put(app("d", "/2"), app("d", "/1"))
    store.remove("b")
    store.remove("never")
    store.close()
    again = open_()
    assert again.load() == [
        (app("c"), None),
        (app("a", "/new"), None),
        (app("d", "/2"), app("d", "/1")),  # an update that is not over
    ]
    again.close()


def test_what_was_unloaded_comes_back_as_it_was_put_last(open_: Open) -> None:
    store = open_()
    assert store.unloaded() == Unloaded()
    wanted = Unloaded(frozenset({"m", "n"}), frozenset({"a"}))
    store.put_unloaded(Unloaded(frozenset({"x"})))
    store.put_unloaded(wanted)
    store.close()
    again = open_()
    assert again.unloaded() == wanted
    again.close()


def test_settings_come_back_as_they_were_put_last(open_: Open) -> None:
    store = open_()
    assert store.settings() == b""
    store.put_settings(b"first")
    store.put_settings(b"\0last")
    store.close()
    again = open_()
    assert again.settings() == b"\0last"
    again.close()


def test_what_cannot_be_written_is_said_in_the_log_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqliteStore(str(tmp_path))
    with closing(sqlite3.connect(tmp_path / "state.db")) as other:  # as a full disk would do
        for table in ("apps", "counts", "notes"):
            other.execute(f"DROP TABLE {table}")
    writes: tuple[Callable[[], None], ...] = (
        lambda: store.put(app("a")),
        lambda: store.remove("a"),
        lambda: store.put_count(DeploymentId("D", "a"), 2),
        lambda: store.put_count(DeploymentId("D", "a"), None),
        lambda: store.put_settings(b"{}"),
        lambda: store.put_unloaded(Unloaded(frozenset({"x"}))),
    )
    for write in writes:
        caplog.clear()
        write()
        assert "state could not be written (no such table: " in caplog.text
    store.close()
