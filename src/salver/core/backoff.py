"""How long to wait after failures in a row: nothing at first, then doubling up to a bound."""

from __future__ import annotations

import msgspec

__all__ = ("Backoff",)


class Backoff(msgspec.Struct, frozen=True):
    """`free` failures cost nothing; the next waits `base_s`, then twice that, up to `limit_s`."""

    base_s: float
    limit_s: float
    free: int = 0

    def delay(self, failures: int) -> float:
        """Seconds to wait after this many failures in a row."""
        paid = failures - self.free
        if paid <= 0:
            return 0.0
        # The exponent is bounded so that a count of millions does not overflow.
        return min(self.limit_s, self.base_s * 2.0 ** min(paid - 1, 60))
