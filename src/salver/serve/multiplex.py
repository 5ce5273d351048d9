"""`salver.serve.multiplex`: where `multiplexed` is at home."""

from __future__ import annotations

from salver.replica.multiplex import multiplexed

__all__ = ("multiplexed",)
