"""For tests of what is built with Salver: apps in this process, leak checks, a virtual clock."""

from __future__ import annotations

from salver.testing.running import run_inline

__all__ = ("run_inline",)
