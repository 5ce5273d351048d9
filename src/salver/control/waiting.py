"""Waiting for an app on behalf of a script: after a while it is said what is being waited for."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from salver.control.client import ControlClient
from salver.errors import SalverError
from salver.spec.status import AppStatus, DeploymentStatus, in_one_line

__all__ = ("wait_aloud",)

_NAMED: Final = 5  # of many deployments
_TIMES: Final = re.compile(r"\b[\d.]+s\b")


async def wait_aloud(
    control: ControlClient, name: str, say: Callable[[str], None], *, quiet_s: float
) -> AppStatus:
    """`control.wait(name)`; what is missing is said each `quiet_s` in which it has changed."""
    telling = asyncio.create_task(_tell(control, name, say, quiet_s))
    try:
        return await control.wait(name)
    finally:
        telling.cancel()


async def _tell(
    control: ControlClient, name: str, say: Callable[[str], None], quiet_s: float
) -> None:
    await asyncio.sleep(quiet_s)
    looked = time.time()
    with suppress(SalverError):  # the link ended: who waits hears of it
        said = await _tell_news(control, name, say, "")
        async for event in control.events():
            if event.at >= looked and event.subject.partition("#")[0] == name:
                await asyncio.sleep(quiet_s)
                looked = time.time()
                said = await _tell_news(control, name, say, said)


async def _tell_news(
    control: ControlClient, name: str, say: Callable[[str], None], said: str
) -> str:
    """Say what is missing now unless it was said; time that goes by is no news."""
    app = (await control.status()).applications.get(name)
    missing = "; ".join(_missing(app)) if app is not None else ""
    timeless = _TIMES.sub("", missing)
    if missing and timeless != said:
        say(missing)
    return timeless or said


def _missing(app: AppStatus) -> list[str]:
    """Those that have something to say come first."""
    silent: list[str] = []
    telling: list[str] = []
    for name, deployment in app.deployments.items():
        if deployment.status is not DeploymentStatus.HEALTHY:
            why = in_one_line(deployment.message)
            (telling if why else silent).append(f"{name}: {why or 'starting'}")
    more = len(telling) + len(silent) - _NAMED
    return [*telling, *silent][:_NAMED] + ([f"{more} more"] if more > 0 else [])
