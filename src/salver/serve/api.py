"""`salver.serve.api`: where older programs find the public verbs."""

from __future__ import annotations

from typing import Any, Final

from salver import serve

__all__: Final = serve.__all__


def __getattr__(name: str) -> Any:
    return getattr(serve, name)
