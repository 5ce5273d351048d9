"""What is wanted, kept through the controller's death."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Any, Final

import msgspec

from salver.core.unloading import Unloaded
from salver.spec.app import AppSpec
from salver.spec.ids import DeploymentId

__all__ = ("MemoryStore", "SqliteStore")

_logger: Final = logging.getLogger("salver.control")


class MemoryStore:
    """For the inline engine, whose controller dies with what it controls."""

    def __init__(self) -> None:
        self._apps: dict[str, tuple[AppSpec, AppSpec | None]] = {}
        self._counts: dict[DeploymentId, int] = {}
        self._unloaded = Unloaded()
        self._settings = b""

    def load(self) -> list[tuple[AppSpec, AppSpec | None]]:
        return list(self._apps.values())

    def put(self, app: AppSpec, before: AppSpec | None = None) -> None:
        self._apps.pop(app.name, None)
        self._apps[app.name] = app, before

    def remove(self, name: str) -> None:
        self._apps.pop(name, None)

    def counts(self) -> dict[DeploymentId, int]:
        return dict(self._counts)

    def put_count(self, deployment: DeploymentId, count: int | None) -> None:
        self._counts.pop(deployment, None)
        if count is not None:
            self._counts[deployment] = count

    def unloaded(self) -> Unloaded:
        return self._unloaded

    def put_unloaded(self, unloaded: Unloaded) -> None:
        self._unloaded = unloaded

    def settings(self) -> bytes:
        return self._settings

    def put_settings(self, settings: bytes) -> None:
        self._settings = settings

    def close(self) -> None:
        """Nothing to close."""


class SqliteStore:
    """A file in the runtime directory. It has to survive processes, not power cuts.

    What cannot be written, as the disk is full, is an error in the log and no more: it is missed
    only where this controller dies, too, and what runs must not suffer from it before.
    """

    def __init__(self, instance: str) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(AppSpec)
        self._database = sqlite3.connect(Path(instance) / "state.db", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS apps"
            " (position INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, spec BLOB,"
            " before BLOB)"
        )
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS counts"
            " (app TEXT, deployment TEXT, count INTEGER, PRIMARY KEY (app, deployment))"
        )
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, what BLOB)"
        )
        unloaded = self._note("unloaded")
        decode = msgspec.msgpack.Decoder(Unloaded).decode
        self._unloaded = decode(unloaded) if unloaded else Unloaded()

    def load(self) -> list[tuple[AppSpec, AppSpec | None]]:
        rows = self._database.execute("SELECT spec, before FROM apps ORDER BY position")
        decode = self._decoder.decode
        return [(decode(spec), decode(before) if before else None) for spec, before in rows]

    def put(self, app: AppSpec, before: AppSpec | None = None) -> None:
        encode = self._encoder.encode
        self._write(
            "INSERT OR REPLACE INTO apps (name, spec, before) VALUES (?, ?, ?)",
            (app.name, encode(app), encode(before) if before is not None else None),
        )

    def remove(self, name: str) -> None:
        self._write("DELETE FROM apps WHERE name = ?", (name,))

    def counts(self) -> dict[DeploymentId, int]:
        rows = self._database.execute("SELECT deployment, app, count FROM counts")
        return {DeploymentId(name, app): count for name, app, count in rows}

    def put_count(self, deployment: DeploymentId, count: int | None) -> None:
        key = (deployment.app, deployment.name)
        if count is None:
            self._write("DELETE FROM counts WHERE app = ? AND deployment = ?", key)
        else:
            self._write("INSERT OR REPLACE INTO counts VALUES (?, ?, ?)", (*key, count))

    def unloaded(self) -> Unloaded:
        return self._unloaded

    def put_unloaded(self, unloaded: Unloaded) -> None:
        if unloaded != self._unloaded:
            self._unloaded = unloaded
            self._put_note("unloaded", self._encoder.encode(unloaded))

    def settings(self) -> bytes:
        return self._note("settings")

    def put_settings(self, settings: bytes) -> None:
        self._put_note("settings", settings)

    def _note(self, name: str) -> bytes:
        row = self._database.execute("SELECT what FROM notes WHERE name = ?", (name,)).fetchone()
        return row[0] if row is not None else b""

    def _put_note(self, name: str, what: bytes) -> None:
        self._write("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, what))

    def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        try:
            self._database.execute(statement, values)
        except sqlite3.Error as error:
            _logger.error(
                "The controller's state could not be written (%s). All goes on; but if the "
                "controller dies now, the next one finds what was wanted before.", error,
            )  # fmt: skip

    def close(self) -> None:
        self._database.close()
