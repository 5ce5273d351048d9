"""Two calls for one place in a queue: which of them waits there."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc


async def the_one_that_waits(*two: Any) -> Any:
    """Return it when the other one has been refused, as the queue was full."""
    codes = {asyncio.ensure_future(call.code()): call for call in two}
    done, (waiting,) = await asyncio.wait(codes, return_when=asyncio.FIRST_COMPLETED)
    # grpc's client says INTERNAL itself where it was still sending when the refusal came.
    assert {code.result() for code in done} <= {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
    }
    assert len(done) == 1
    waiting.cancel()
    return codes[waiting]
