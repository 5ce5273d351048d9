"""Looks come at once where they are quick, and together where they take long."""

from __future__ import annotations

import asyncio

from salver.control.pace import Pace


async def test_what_is_due_in_one_tick_is_looked_at_once() -> None:
    looked: list[int] = []
    pace = Pace(lambda: looked.append(1), lambda: 0.0)
    pace.due()
    pace.due()
    await asyncio.sleep(0)
    assert looked == [1]
    pace.due()
    await asyncio.sleep(0)
    assert looked == [1, 1]


async def test_after_a_long_look_changes_come_together() -> None:
    now, looked = [0.0], list[float]()
    again = asyncio.Event()

    def look() -> None:
        looked.append(now[0])
        now[0] += 0.012
        if len(looked) == 2:
            again.set()

    pace = Pace(look, lambda: now[0])
    pace.due()
    await asyncio.sleep(0)
    assert looked == [0.0]
    pace.due()
    await asyncio.sleep(0)
    assert looked == [0.0]  # it rests
    pace.due()
    await again.wait()
    assert looked == [0.0, 0.012]


async def test_one_that_is_closed_looks_no_more() -> None:
    looked: list[int] = []
    pace = Pace(lambda: looked.append(1), lambda: 0.0)
    pace.due()
    pace.close()
    await asyncio.sleep(0)
    assert looked == []
