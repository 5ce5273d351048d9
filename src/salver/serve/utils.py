"""`salver.serve.utils`: where programs find the span of a request."""

from __future__ import annotations

from salver.api import get_trace_context

__all__ = ("get_trace_context",)
