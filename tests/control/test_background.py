"""Tasks that nobody awaits."""

from __future__ import annotations

import asyncio

import pytest

from salver.control.background import Background


async def test_a_task_that_fails_is_told_and_takes_no_other_along(
    caplog: pytest.LogCaptureFixture,
) -> None:
    background = Background()
    other = asyncio.get_running_loop().create_future()

    failing = asyncio.get_running_loop().create_future()
    background.run(failing)
    background.run(other)
    failing.set_exception(KeyError("a mistake of ours"))
    await asyncio.wait([failing])
    assert "A step of the controller failed" in caplog.text
    assert "a mistake of ours" in caplog.text
    assert not other.done()
    await background.close()


async def test_the_end_abandons_what_is_under_way() -> None:
    background, begun, left = Background(), asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    background.run(wait())
    await begun.wait()
    await background.close()
    assert left.is_set()
