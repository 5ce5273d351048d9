"""Queues in a folder: Celery's own transport for files, between processes as any broker is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from salver import serve
from salver.spec.tasks import CeleryAdapterConfig, TaskProcessorConfig, TaskResult
from salver.tasks.adapter import TaskProcessorAdapter
from salver.tasks.celery import CeleryTaskProcessorAdapter

# Without pauses before a task is tried again.
IMPATIENT = {"retry_backoff": False, "default_retry_delay": 0}


def settings(folder: Path, **options: Any) -> TaskProcessorConfig:
    """A queue in this folder."""
    for name in ("queue", "results", "control"):
        (folder / name).mkdir(exist_ok=True)
    celery = CeleryAdapterConfig(
        broker_url="filesystem://",
        backend_url=f"file://{folder / 'results'}",
        broker_transport_options={
            "data_folder_in": str(folder / "queue"),
            "data_folder_out": str(folder / "queue"),
            "control_folder": str(folder / "control"),
            "polling_interval": 0.02,
        },
        task_custom_config=IMPATIENT,
    )
    return TaskProcessorConfig(**{"queue_name": "q", "adapter_config": celery, **options})


def ended(adapter: TaskProcessorAdapter, task: TaskResult) -> TaskResult:
    """What has become of it, once it has ended."""
    assert isinstance(adapter, CeleryTaskProcessorAdapter)
    result = adapter._app.AsyncResult(task.id)
    # It may be asked where a consumer runs, too: not in a task of its.
    result.get(timeout=60, interval=0.02, propagate=False, disable_sync_subtasks=False)
    return adapter.get_task_status_sync(task.id)


@pytest.fixture
def queue(tmp_path: Path) -> Callable[..., TaskProcessorConfig]:
    """Makes a configuration; of the same folder each time."""
    return lambda **options: settings(tmp_path, **options)


@pytest.fixture
def _instance() -> Iterator[None]:
    """One that ends with the test."""
    serve.start(http_options={"port": 0})
    yield
    serve.shutdown()
