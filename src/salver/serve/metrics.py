"""`salver.serve.metrics`: users' own numbers."""

from __future__ import annotations

from salver.telemetry.metrics import Counter, Gauge, Histogram

__all__ = ("Counter", "Gauge", "Histogram")
