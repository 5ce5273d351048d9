"""WebSockets of an ASGI app: the protocol is spoken here, the ingress only carries the bytes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from starlette.websockets import WebSocketDisconnect
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from salver.errors import SalverError
from salver.replica.http_request import build_scope
from salver.replica.reply import send_response
from salver.wire.frames import CHUNK, CLOSE, END, HTTP, RES, STREAM, chunk_cost

if TYPE_CHECKING:
    from websockets.http11 import Response

    from salver.replica.calls import ServedCall
    from salver.replica.upload import Upload

__all__ = ("WebSocketSession",)

_logger: Final = logging.getLogger("salver")
_silent: Final = logging.getLogger("salver.websocket")
_silent.setLevel(logging.WARNING)  # the protocol tells of every connection that is opened
_MAX_MESSAGE: Final = 16 * 1024 * 1024
_UNREAD: Final = 16  # messages that wait for the app before reading stops
_CLOSING_S: Final = 5.0
_PIECE: Final = 128 * 1024
_NO_STATUS: Final = 1005
_INTERNAL: Final = 1011
_NOT_TEXT: Final = 1007

Message = dict[str, Any]


class _Gone(OSError):
    """What an app gets that sends to a client who has left."""


class WebSocketSession:
    """One WebSocket: from the upgrade request to the close, as ASGI events."""

    _reader: asyncio.Task[None]

    def __init__(self, call: ServedCall, app: Callable[..., Any]) -> None:
        if call.upload is None:
            raise SalverError("An upgrade needs a call whose body is a stream.")
        self._call = call
        self._app = app
        self._upload: Upload = call.upload
        deflate = ServerPerMessageDeflateFactory(
            server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
        )
        self._protocol = ServerProtocol(extensions=[deflate], max_size=_MAX_MESSAGE, logger=_silent)
        self._inbox: asyncio.Queue[Message] = asyncio.Queue(_UNREAD)
        self._response: Response | None = None
        self._accepted = False
        self._unsent: list[bytes] = []
        self._sending = asyncio.Lock()
        self._denial: tuple[int, list[tuple[bytes, bytes]], list[bytes]] | None = None
        self._closed = False  # by us
        self._message: bytes | bytearray = b""  # as far as it has come
        self._is_text = False

    async def run(self) -> None:
        """Serve it to its end."""
        head = self._call.head
        self._protocol.receive_data(head[: head.rfind(b"\n") + 1])  # the client's address is behind
        requests = [e for e in self._protocol.events_received() if isinstance(e, Request)]
        if not requests:
            send_response(self._call, 400, [], b"This is not a WebSocket handshake.")
            return
        self._response = self._protocol.accept(requests[0])
        if self._response.status_code != 101:
            self._refuse(self._response)
            return
        self._inbox.put_nowait({"type": "websocket.connect"})
        self._reader = asyncio.get_running_loop().create_task(self._read())
        try:
            await self._app(self._scope(requests[0]), self._receive, self._send)
            await self._leave(1000 if self._accepted else 403)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # user code: the client is told, the log has it
            if not (self._call.cancelled or self._is_farewell(error)):
                _logger.error("Uncaught exception in a WebSocket:", exc_info=error)
                self._call.caller.host.errors += 1
            await self._leave(_INTERNAL if self._accepted else 500)
        finally:
            self._reader.cancel()

    def _is_farewell(self, error: BaseException) -> bool:
        """Whether the app only says that the client has left, which is no failure of its."""
        over = self._upload.ended or (self._accepted and self._protocol.state is not OPEN)
        return over and isinstance(error, _Gone | WebSocketDisconnect)

    def _scope(self, request: Request) -> Message:
        call = self._call
        scope = build_scope(call.head, "websocket", call.root_path, call.state, secure=call.secure)
        scope["subprotocols"] = [
            token.strip()
            for line in request.headers.get_all("Sec-WebSocket-Protocol")
            for token in line.split(",")
        ]
        scope["extensions"] = {"websocket.http.response": {}}
        return scope

    # ---- from the client

    async def _read(self) -> None:
        while piece := await self._upload.read():
            self._protocol.receive_data(piece)
            for event in self._protocol.events_received():
                if isinstance(event, Frame):
                    await self._frame(event)
            await self._flush()
            if self._protocol.eof_sent or self._protocol.close_rcvd is not None:
                break
        received, sent = self._protocol.close_rcvd, self._protocol.close_sent
        close = received or sent
        await self._inbox.put(
            {
                "type": "websocket.disconnect",
                "code": close.code if close is not None else 1006,
                "reason": close.reason if close is not None else "",
            }
        )

    async def _frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            self._is_text = frame.opcode is Opcode.TEXT
            self._message = bytes(frame.data)
        elif frame.opcode is Opcode.CONT:
            if isinstance(self._message, bytes):  # a client may send it by the byte
                self._message = bytearray(self._message)
            self._message += frame.data
        else:  # ping is answered, pong ignored, close noticed by the protocol
            return
        if not frame.fin:
            return
        data, self._message = bytes(self._message), b""
        if self._closed:
            return
        if not self._is_text:
            await self._inbox.put({"type": "websocket.receive", "bytes": data})
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self._protocol.fail(_NOT_TEXT, "text that is not UTF-8")
            return
        await self._inbox.put({"type": "websocket.receive", "text": text})

    async def _receive(self) -> Message:
        return await self._inbox.get()

    # ---- to the client

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if self._call.cancelled or self._upload.ended:
            raise _Gone("the client has gone")
        if not self._accepted:
            await self._before_accept(kind, message)
        elif kind == "websocket.send":
            if self._protocol.state is not OPEN:
                raise _Gone("the WebSocket is closed")
            data, text = message.get("bytes"), message.get("text")
            if text is not None:
                self._protocol.send_text(text.encode())
            else:
                self._protocol.send_binary(data or b"")
            await self._flush()
        elif kind == "websocket.close":
            await self._close(message.get("code", 1000), message.get("reason") or "")
        else:
            raise RuntimeError(f"Unexpected ASGI message {kind!r} on an open WebSocket.")

    async def _before_accept(self, kind: str, message: Message) -> None:
        if kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            self._closed = True
            send_response(self._call, 403, [(b"connection", b"close")], b"")
        elif kind == "websocket.http.response.start":
            self._denial = (message["status"], list(message.get("headers", ())), [])
        elif kind == "websocket.http.response.body" and self._denial is not None:
            self._denial[2].append(message.get("body", b""))
            if not message.get("more_body", False):
                status, headers, parts = self._denial
                self._closed = True
                send_response(
                    self._call, status, [*headers, (b"connection", b"close")], b"".join(parts)
                )
        else:
            raise RuntimeError(f"Unexpected ASGI message {kind!r} before websocket.accept.")

    def _accept(self, message: Message) -> None:
        response = self._response
        assert response is not None  # noqa: S101 - the app runs after the handshake was read
        if message.get("subprotocol"):
            response.headers["Sec-WebSocket-Protocol"] = message["subprotocol"]
        for name, value in message.get("headers") or ():
            response.headers[name.decode("latin-1")] = value.decode("latin-1")
        response.headers["x-request-id"] = self._call.context.request_id
        self._protocol.send_response(response)
        self._accepted = True
        call = self._call
        call.status = 101
        call.caller.conn.send(
            RES, HTTP | STREAM, 0, call.call_id, b"".join(self._protocol.data_to_send())
        )

    def _refuse(self, response: Response) -> None:
        headers = [(k.encode(), v.encode("latin-1")) for k, v in response.headers.raw_items()]
        send_response(self._call, response.status_code, headers, bytes(response.body or b""))

    async def _flush(self) -> None:
        """Send what the protocol has for the client, as the client takes it.

        The app's tasks and our reader, which answers pings, may all be here at a time: what they
        have to say leaves whole and in order.
        """
        self._unsent += self._protocol.data_to_send()
        async with self._sending:
            data = b"".join(self._unsent)
            self._unsent.clear()
            await self._send_bytes(data)

    async def _send_bytes(self, data: bytes) -> None:
        call = self._call
        if not self._accepted:
            return
        for start in range(0, len(data), _PIECE):
            if call.blocked and not await call.room():
                return
            if call.ended or call.cancelled:
                return
            piece = data[start : start + _PIECE]
            # The door must know where no message is torn, should it have to say the last word.
            flags = HTTP | STREAM if start + _PIECE < len(data) else HTTP
            call.credit -= chunk_cost(len(piece))
            call.caller.conn.send(CHUNK, flags, 0, call.call_id, piece)

    async def _close(self, code: int, reason: str) -> None:
        self._closed = True
        if self._protocol.state is OPEN:
            self._protocol.send_close(code, reason)
            await self._flush()

    async def _leave(self, status: int) -> None:
        """End the call: by the closing handshake, or by an HTTP reply where it was never open."""
        call = self._call
        if call.ended:
            return
        if call.cancelled:
            call.finish()
            return
        if not self._accepted:
            body = b"Internal Server Error" if status == 500 else b""
            send_response(call, status, [(b"connection", b"close")], body)
            return
        await self._close(status, "")
        while not self._inbox.empty():  # the reader may be waiting for room there
            self._inbox.get_nowait()
        # The client's half of the handshake; without it our last bytes might be lost.
        await asyncio.wait((self._reader,), timeout=_CLOSING_S)
        call.end(END, HTTP | CLOSE, b"")
