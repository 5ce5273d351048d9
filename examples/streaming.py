"""Text that arrives word by word: `salver run streaming:app`, then `curl -N http://127.0.0.1:8000/`."""

from __future__ import annotations

import asyncio

from starlette.responses import StreamingResponse

import salver

WORDS = ("words", "arrive", "one", "by", "one", "as", "they", "are", "made")


@salver.deployment
class Speaker:
    async def words(self):
        for word in WORDS:
            await asyncio.sleep(0.01)
            yield word + " "

    async def __call__(self, request):
        return StreamingResponse(self.words(), media_type="text/plain")


app = Speaker.bind()
