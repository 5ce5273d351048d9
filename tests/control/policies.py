"""An autoscaling policy that answers what a test wants it to."""

from __future__ import annotations

import asyncio
import threading
from typing import Any


class Script:
    """What is to be answered next, and how often it was asked."""

    def __init__(self) -> None:
        self.answer: Any = (1, {})
        self.asked = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, _told: Any) -> Any:
        self.asked.release()
        answer = self.answer
        self.go_on.wait(60)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def was_asked(self, times: int = 1) -> None:
        for _ in range(times):
            await asyncio.to_thread(self.asked.acquire)


SCRIPT = Script()


def scripted(told: Any) -> Any:
    return SCRIPT(told)
