"""`salver.serve.deployment`: what `@deployment` makes, and what its `bind` returns."""

from __future__ import annotations

from salver.program import Application, Deployment

__all__ = ("Application", "Deployment")
