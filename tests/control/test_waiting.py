"""Waiting for an app aloud: what is said, and how much of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from salver.control.client import ControlClient
from salver.control.waiting import wait_aloud
from salver.spec.status import (
    ApplicationStatus,
    AppStatus,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
    Event,
    ServeStatus,
)


class Starting:
    """A controller of one app with so many deployments, of which none starts; one says why."""

    def __init__(self, deployments: int) -> None:
        self.over = asyncio.Event()
        self.app = AppStatus(
            ApplicationStatus.DEPLOYING,
            "",
            0.0,
            {
                f"D{number}": DeploymentStatusOverview(
                    DeploymentStatus.UPDATING,
                    DeploymentStatusTrigger.CONFIG_UPDATE_STARTED,
                    {},
                    "no CPU" if number == 7 else "",
                )
                for number in range(deployments)
            },
        )

    async def wait(self, _: str) -> AppStatus:
        await self.over.wait()
        return self.app

    async def status(self) -> ServeStatus:
        return ServeStatus(applications={"app": self.app})

    async def events(self) -> AsyncIterator[Event]:
        await self.over.wait()
        for event in list[Event]():
            yield event


async def said_of(deployments: int) -> str:
    control, said = Starting(deployments), list[str]()

    def say(text: str) -> None:
        said.append(text)
        control.over.set()

    await wait_aloud(cast("ControlClient", cast("Any", control)), "app", say, quiet_s=0.0)
    (text,) = said
    return text


async def test_of_many_deployments_those_that_say_why_are_named() -> None:
    assert await said_of(500) == (
        "D7: no CPU; D0: starting; D1: starting; D2: starting; D3: starting; 495 more"
    )


async def test_a_few_are_all_named() -> None:
    assert await said_of(2) == "D0: starting; D1: starting"
