"""A user's ASGI app over calls: what it is built from, its lifespan, its requests."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from salver.errors import SalverError
from salver.replica.class_routes import as_app
from salver.replica.heads import RawHeaders
from salver.replica.http_request import build_scope
from salver.replica.reply import send_response
from salver.replica.stream import ByteStream

if TYPE_CHECKING:
    from salver.replica.calls import ServedCall

__all__ = ("MARK", "AsgiReply", "Lifespan", "build_app", "serve_asgi")

MARK: Final = "__salver_asgi__"  # what `@ingress` leaves on a class
_BUILDER: Final = "__serve_build_asgi_app__"

App = Callable[..., Any]


async def build_app(source: Any, instance: Any) -> App:
    """The app of `@ingress(source)` for this instance."""
    if source is None:
        build = getattr(instance, _BUILDER)
        made = build()
        what = f"{type(instance).__name__}.{_BUILDER}"
    elif _is_builder(source):
        made = source()
        what = f"The function {source.__name__} given to @ingress"
    else:
        return as_app(source, instance)
    if inspect.isawaitable(made):
        made = await made
    if not callable(made):
        raise TypeError(f"{what} returned {made!r}; expected an ASGI app.")
    return as_app(made, instance)


def _is_builder(source: Any) -> bool:
    """An ASGI function takes scope, receive and send; a builder takes nothing."""
    if not inspect.isfunction(source):
        return False
    parameters = inspect.signature(source).parameters.values()
    return not any(
        p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters
    )


class Lifespan:
    """Startup and shutdown of an app; one that knows nothing of lifespans is left alone."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.state: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None
        self._inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._answer: asyncio.Future[dict[str, Any] | None] | None = None

    async def startup(self) -> None:
        """Raise RuntimeError when the app's startup fails."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        message = await self._ask("lifespan.startup")
        if message is not None and message["type"] == "lifespan.startup.failed":
            await asyncio.gather(self._task, return_exceptions=True)
            raise RuntimeError(
                f"The ASGI app's startup failed: {message.get('message') or 'it gave no reason'}"
            )

    async def shutdown(self) -> None:
        """Run the app's shutdown, if its startup ran; raise RuntimeError when it fails."""
        if self._task is None or self._task.done():
            return
        message = await self._ask("lifespan.shutdown")
        await asyncio.gather(self._task, return_exceptions=True)
        if message is not None and message["type"] == "lifespan.shutdown.failed":
            raise RuntimeError(f"The ASGI app's shutdown failed: {message.get('message')}")

    async def _ask(self, event: str) -> dict[str, Any] | None:
        self._answer = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait({"type": event})
        return await self._answer

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
        try:
            await self._app({**scope, "state": self.state}, self._inbox.get, self._send)
        except Exception:  # noqa: BLE001 - the app's own code; `_answer` tells what it means
            # Before any message: the app does not support lifespans, which is its right. After
            # one, the message has said what went wrong.
            return
        finally:
            self._reply(None)

    async def _send(self, message: dict[str, Any]) -> None:
        self._reply(message)

    def _reply(self, message: dict[str, Any] | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(message)


class AsgiReply:
    """The `send` of one request: a whole response as one frame, else a stream."""

    __slots__ = ("_call", "_headers", "_status", "_stream", "done")

    def __init__(self, call: ServedCall) -> None:
        self._call = call
        self._status = 0
        self._headers: RawHeaders = ()
        self._stream: ByteStream | None = None
        self.done = False

    async def __call__(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if self._call.cancelled:
            raise OSError("the client has gone")
        if kind == "http.response.body" and self._status and not self.done:
            await self._body(message.get("body", b""), message.get("more_body", False))
        elif kind == "http.response.start" and not self._status:
            self._status = int(message["status"])
            self._headers = message.get("headers", ())
            # Most apps send the body in the same tick. When this one does not, the client is to
            # see the head now.
            self._call.caller.host.loop.call_soon(self._open_late)
        elif kind != "http.response.trailers":
            raise RuntimeError(f"Unexpected ASGI message {kind!r} at this point of the response.")

    async def _body(self, body: Any, more: bool) -> None:
        if self._stream is None:
            if not more:
                self.done = True
                send_response(self._call, self._status, self._headers, body)
                return
            self._stream = ByteStream(self._call, self._status, self._headers)
        if body:
            await self._stream.put(body)
        if not more:
            self.done = True
            self._stream.finish()

    def _open_late(self) -> None:
        if self._stream is None and not self.done and not self._call.ended:
            try:
                self._stream = ByteStream(self._call, self._status, self._headers)
            except SalverError as error:  # headers that cannot be sent; no caller to raise it to
                self.done = True
                self._call.fail(error)


async def serve_asgi(call: ServedCall, app: App, scope: dict[str, Any] | None = None) -> None:
    """Run one request through the app."""
    if scope is None:
        scope = build_scope(call.head, "http", call.root_path, call.state, secure=call.secure)
    reply = AsgiReply(call)
    await app(scope, call.next_body, reply)
    if not reply.done and not call.cancelled:
        raise SalverError(
            "The ASGI app returned without completing its response. "
            "It must send http.response.body with more_body=False."
        )
