"""What log lines of a Salver process look like. Programs call `configure`; imports do not."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

__all__ = ("LineFormatter", "configure")


class LineFormatter(logging.Formatter):
    """`INFO 2026-11-20 14:00:00,123 <request id> message`; a traceback follows on its own lines."""

    def __init__(self, request_id: Callable[[], str] = str) -> None:
        super().__init__("%(levelname)s %(asctime)s %(request_id)s%(message)s")
        self._request_id = request_id

    def format(self, record: logging.LogRecord) -> str:
        found = self._request_id()
        record.request_id = f"{found} " if found else ""
        return super().format(record)


def configure(request_id: Callable[[], str] = str, level: int | str = logging.INFO) -> None:
    """Send every record of this process to stderr, one line each, with the current request's id.

    What user code prints is passed on line by line, in the order in which it was written.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(request_id))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)
