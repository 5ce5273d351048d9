"""What a replica says of itself: the user's figures, in time or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

from salver.replica.facts import Facts
from salver.spec.routing import RequestRouterConfig
from salver.spec.status import ReplicaFacts
from salver.testing.clock import VirtualClock, virtual_loop


class Measured:
    """The second time it is asked, it takes five seconds."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def record_routing_stats(self) -> dict[str, Any]:
        self.asked.append(asyncio.get_running_loop().time())
        if len(self.asked) == 2:
            await asyncio.sleep(5)
        return {"asked": len(self.asked)}


def test_figures_come_every_period_and_late_ones_are_given_up() -> None:
    target, told = Measured(), list[ReplicaFacts]()
    config = RequestRouterConfig(
        request_routing_stats_period_s=10, request_routing_stats_timeout_s=2
    )

    async def main() -> None:
        facts = Facts("app#D#1")
        facts.tell = told.append
        await facts.begin(target, config)
        await asyncio.sleep(30)
        await facts.close()

    with asyncio.Runner(loop_factory=lambda: virtual_loop(VirtualClock())) as runner:
        runner.run(main())
    begun = target.asked[0]
    assert [moment - begun for moment in target.asked] == [0, 10, 22]
    assert [facts.stats for facts in told] == [{"asked": 1}, {"asked": 3}]
