"""Time that a test moves."""

from __future__ import annotations

import asyncio

import pytest

from salver.testing.clock import VirtualClock, virtual_loop


def test_a_clock_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock(5.0)
    assert (clock(), clock()) == (5.0, 5.0)
    clock.advance(1.5)
    assert clock() == 6.5
    with pytest.raises(ValueError, match=r"^Time cannot go back by 1 s\.$"):
        clock.advance(-1)


def test_an_hour_of_waiting_takes_no_time_and_keeps_its_order() -> None:
    clock = VirtualClock()
    woken: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((name, round(clock())))

    async def main() -> None:
        await asyncio.gather(wait("late", 3600), wait("early", 60), wait("now", 0))

    loop = virtual_loop(clock)
    loop.run_until_complete(main())
    loop.close()
    assert woken == [("now", 0), ("early", 60), ("late", 3600)]


def test_threads_still_answer() -> None:
    loop = virtual_loop(VirtualClock())
    assert loop.run_until_complete(loop.run_in_executor(None, lambda: 7)) == 7
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
