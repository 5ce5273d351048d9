"""Entry points for tests: small processes that say what they see and do as they are told."""

from __future__ import annotations

import signal

from salver.engine.seat import Seat


def sleeper(seat: Seat) -> None:
    """Says that it lives, then waits for SIGTERM."""
    print(f"{seat.kind} lives", flush=True)
    signal.sigwait({signal.SIGTERM})


def wait_for_end(seat: Seat) -> None:
    signal.pause()
