"""`salver.serve.batching`: where `batch` is at home."""

from __future__ import annotations

from salver.replica.batching import batch

__all__ = ("batch",)
