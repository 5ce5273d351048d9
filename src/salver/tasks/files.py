"""Queues in a folder, as kombu keeps them, but none of their files is ever seen half written.

Kombu writes a message under the name that readers look for: one that is quick takes an empty file,
loses the message and ends its consumer.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns
from typing import Any
from uuid import uuid4

from kombu.transport import filesystem
from kombu.utils.json import dumps

__all__ = ("Channel", "Transport")


class Channel(filesystem.Channel):  # type: ignore[misc]
    """Gives a file its name when it is whole."""

    def _put(self, queue: str, payload: Any, **_kwargs: Any) -> None:
        folder = Path(self.data_folder_out)
        whole = _written(folder, payload)
        whole.rename(folder / f"{monotonic_ns() // 1_000_000}_{uuid4()}.{queue}.msg")

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        table = self._exchange_file(exchange)
        if not table.exists():
            self.control_folder.mkdir(exist_ok=True)
            empty = _written(self.control_folder, [])
            with suppress(FileExistsError):  # somebody else was first
                os.link(empty, table)
            empty.unlink()
        super()._queue_bind(exchange, routing_key, pattern, queue)


class Transport(filesystem.Transport):  # type: ignore[misc]
    """Kombu's, with these channels."""

    Channel = Channel


def _written(folder: Path, content: Any) -> Path:
    path = folder / f".{uuid4()}"
    path.write_text(dumps(content))
    return path
