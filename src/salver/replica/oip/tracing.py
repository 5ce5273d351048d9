"""Traces of single calls, in the log, where clients asked for them by the trace extension."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Final

__all__ = ("Tracer",)

_logger: Final = logging.getLogger("salver.trace")


class Tracer:
    """Of one model: every `trace_rate`-th call, `trace_count` of them (-1: no end)."""

    def __init__(self) -> None:
        self._settings: Mapping[str, object] | None = None
        self._seen = 0
        self._left = -1

    def call(
        self, settings: Mapping[str, object], model: str, request_id: str, times: tuple[int, ...]
    ) -> None:
        """A call has ended; `times`: began, read, answered, written, in nanoseconds."""
        if settings is not self._settings:
            self._settings, self._seen = settings, 0
            self._left = int(str(settings["trace_count"]))
        self._seen += 1
        rate = int(str(settings["trace_rate"]))
        if self._left == 0 or rate < 1 or (self._seen - 1) % rate:
            return
        self._left -= self._left > 0
        names = ("REQUEST_START", "COMPUTE_START", "COMPUTE_END", "REQUEST_END")
        stamps = [{"name": n, "ns": t} for n, t in zip(names, times, strict=True)]
        text = json.dumps({"model_name": model, "request_id": request_id, "timestamps": stamps})
        _logger.info("%s", text)
