"""The same answers from FastAPI, as its own tutorial writes them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

CHUNKS = 100
EVENT = "data: token 0123456789\n\n"

app = FastAPI()


@app.get("/")
async def hello() -> dict[str, str]:
    """The coroutine."""
    return {"result": "Hello world!"}


@app.get("/sync")
def hello_sync() -> dict[str, str]:
    """The plain function, which FastAPI runs in a thread pool."""
    return {"result": "Hello world!"}


@app.get("/sse")
async def sse() -> StreamingResponse:
    """A stream of small events."""

    async def events() -> AsyncIterator[str]:
        for _ in range(CHUNKS):
            yield EVENT

    return StreamingResponse(events(), media_type="text/event-stream")


@app.post("/upload")
async def upload(request: Request) -> dict[str, int]:
    """The length of a body."""
    return {"length": len(await request.body())}
