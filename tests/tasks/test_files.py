"""Queues in a folder: what a reader finds there is whole."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu import Connection

from salver.tasks.celery import FILES


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    names = ("data_folder_in", "data_folder_out", "control_folder")
    return {name: str(tmp_path) for name in names}


def test_a_message_is_not_there_before_it_is_whole(options: dict[str, Any]) -> None:
    with Connection(transport=FILES, transport_options=options) as connection:
        channel = connection.channel()

        class Slow:
            def __json__(self) -> str:
                with pytest.raises(Empty):
                    channel._get("words")
                assert channel._size("words") == 0
                return "whole"

        channel._put("words", [Slow()])
        assert channel._size("words") == 1
        assert channel._get("words") == ["whole"]
        with pytest.raises(Empty):
            channel._get("words")


def test_queues_bound_at_once_are_all_in_the_table_and_it_is_whole(
    options: dict[str, Any],
) -> None:
    names = [f"q{number}" for number in range(40)]
    found: list[int] = []

    def asking(stop: threading.Event) -> None:
        with Connection(transport=FILES, transport_options=options) as connection:
            channel = connection.channel()
            while not stop.is_set():
                found.append(len(channel.get_table("words")))

    def binding(name: str) -> None:
        with Connection(transport=FILES, transport_options=options) as connection:
            connection.channel()._queue_bind("words", name, "", name)

    stop = threading.Event()
    asker = threading.Thread(target=asking, args=[stop])
    asker.start()
    binders = [threading.Thread(target=binding, args=[name]) for name in names]
    for binder in binders:
        binder.start()
    for binder in binders:
        binder.join()
    stop.set()
    asker.join()
    with Connection(transport=FILES, transport_options=options) as connection:
        table = connection.channel().get_table("words")
    assert sorted(row.queue for row in table) == sorted(names)
    assert found == sorted(found)  # asked to the end, and never less than before
    assert not [path for path in Path(options["control_folder"]).iterdir() if path.name[0] == "."]
