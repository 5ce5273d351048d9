"""An instance of this process, for a module of tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from salver import serve
from salver.api import session
from salver.launch import Instance
from salver.testing import leaks


@contextmanager
def serving(http: dict[str, Any] | None = None, **options: Any) -> Iterator[Instance]:
    """What `serve.start` starts, on free ports. It must leave nothing."""
    resource_tracker.ensure_running()  # of multiprocessing: stays until this process ends
    with leaks.no_leaks():
        serve.start(http_options={"port": 0} | (http or {}), **options)
        assert session._instance is not None
        yield session._instance
        serve.shutdown()
