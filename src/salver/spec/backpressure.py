"""How a request is answered for which the queue has no room."""

from __future__ import annotations

import math
from typing import Final

from salver.spec.model import ConfigModel

__all__ = ("BackpressureConfig",)

_CODES: Final = (503, 429)


class BackpressureConfig(ConfigModel):
    """`retry_after_s` is sent as the header `Retry-After`, in whole seconds."""

    status_code: int = 503
    retry_after_s: float | None = None

    def __post_init__(self) -> None:
        if self.status_code not in _CODES:
            raise ValueError(
                f"status_code={self.status_code!r} is not valid: expected 503 or 429. "
                "Leave it out for 503."
            )
        wait = self.retry_after_s
        if wait is None:
            return
        if isinstance(wait, bool) or not isinstance(wait, int | float):
            raise TypeError(
                f"retry_after_s={wait!r} is not valid: expected seconds, got {type(wait).__name__}."
            )
        if not (math.isfinite(wait) and wait >= 0):
            raise ValueError(
                f"retry_after_s={wait!r} is not valid: expected a finite number of seconds, 0 or "
                "more. Leave it out to name no time."
            )
