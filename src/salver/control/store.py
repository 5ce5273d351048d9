"""What is wanted, kept through the controller's death."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from salver.spec.app import AppSpec

__all__ = ("MemoryStore", "SqliteStore")


class MemoryStore:
    """For the inline engine, whose controller dies with what it controls."""

    def __init__(self) -> None:
        self._apps: dict[str, AppSpec] = {}

    def load(self) -> list[AppSpec]:
        return list(self._apps.values())

    def put(self, app: AppSpec) -> None:
        self._apps.pop(app.name, None)
        self._apps[app.name] = app

    def remove(self, name: str) -> None:
        self._apps.pop(name, None)

    def close(self) -> None:
        """Nothing to close."""


class SqliteStore:
    """A file in the runtime directory. It has to survive processes, not power cuts."""

    def __init__(self, instance: str) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(AppSpec)
        self._database = sqlite3.connect(Path(instance) / "state.db", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS apps"
            " (position INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, spec BLOB)"
        )

    def load(self) -> list[AppSpec]:
        rows = self._database.execute("SELECT spec FROM apps ORDER BY position")
        return [self._decoder.decode(spec) for (spec,) in rows]

    def put(self, app: AppSpec) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO apps (name, spec) VALUES (?, ?)",
            (app.name, self._encoder.encode(app)),
        )

    def remove(self, name: str) -> None:
        self._database.execute("DELETE FROM apps WHERE name = ?", (name,))

    def close(self) -> None:
        self._database.close()
