"""HTTP calls of a deployment with endpoints: which model, which form, or none of it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

import msgspec

from salver.oip.configuration import configuration
from salver.oip.errors import UnsupportedError
from salver.oip.openapi import document
from salver.oip.page import page_of
from salver.oip.rest import RestFormat
from salver.replica.heads import JSON
from salver.replica.oip.asks import Ask, NotFoundError, ask_of, plain_ask_of
from salver.replica.oip.exchanges import (
    ExplainExchange,
    GenerateExchange,
    HttpExchange,
    InferExchange,
    PlainExchange,
    PredictExchange,
    described,
)
from salver.replica.oip.model import Model, Models
from salver.replica.oip.outgoing import fail
from salver.replica.oip.serve import serve
from salver.replica.reply import Rendered, send_rendered, send_response
from salver.replica.roots import root_of
from salver.wire.frames import BODY, STREAM

if TYPE_CHECKING:
    from salver.replica.calls import ServedCall
    from salver.replica.host import Host

__all__ = ("EndpointDoor",)

Door = Callable[["ServedCall", Context], None]

_KEPT: Final = 1024  # heads that are understood once
_LONGEST: Final = 2048
_UPGRADE: Final = BODY | STREAM
_OURS: Final = (b"/v2/models/", b"/v1/models/")
_THEIRS: Final = "/v2"  # the server itself: no method of that name has it for plain JSON


class EndpointDoor:
    """Answers for the models; what is none of them goes to `inner`, or is plain JSON."""

    def __init__(self, host: Host, models: Models, inner: Door | None) -> None:
        self._host = host
        self._models = models
        self._inner = inner
        self._rest = RestFormat()
        self._asks: dict[bytes, tuple[Ask, Model]] = {}
        mount = host.mount.rstrip("/").encode()  # of the whole server
        self._mount = len(mount)
        self._ours = tuple(mount + path for path in _OURS)
        self._settle()

    def _settle(self) -> None:
        """Go by the prefixes that the app has now; what was understood by others is forgotten."""
        self._roots = self._host.roots
        self._asks.clear()
        # An app that was put on one of the protocols' own paths has it for itself.
        owns = (root.encode() for root in self._roots)
        own = [root + b"/" for root in owns if root[self._mount :].startswith((b"/v1", b"/v2"))]
        self._own = tuple(own)

    def __call__(self, call: ServedCall, space: Context) -> None:
        if self._host.roots is not self._roots:
            self._settle()
        head = call.head
        start = head.find(b" ") + 1
        if head.startswith(self._ours, start) and not head.startswith(self._own, start):
            self._answer(call, space)
        elif self._inner is not None:
            self._inner(call, space)
        elif call.flags & _UPGRADE == _UPGRADE:
            send_response(call, 426, [(b"connection", b"close")], b"No WebSocket is served here.")
        else:
            self._answer_plain(call, space)

    # ---- V2 and V1

    def _answer(self, call: ServedCall, space: Context) -> None:
        try:
            ask, model = self._ask(call.head, self._read)
            if ask.action in _FORMS:
                form, events = _FORMS[ask.action]
                if ask.action == "explain":
                    model = self._explainer(model)
                exchange = form(model, ask, call.head, call.payload, self._rest, events=events)
                call.payload = b""
                serve(call, space, exchange)
            else:
                send_rendered(call, self._told(ask.action, model))
        except Exception as error:  # noqa: BLE001 - a strange head: whoever sent it is told
            space.run(fail, call, error)

    def _ask(self, head: bytes, read: Callable[[bytes], tuple[Ask, Model]]) -> tuple[Ask, Model]:
        raw = head[: head.rfind(b"\r\n\r\n") + 4]  # behind it is the client's address
        found = self._asks.get(raw)
        if found is None:
            found = read(raw)
            if len(raw) <= _LONGEST:
                if len(self._asks) >= _KEPT:
                    self._asks.clear()
                self._asks[raw] = found
        return found

    def _read(self, raw: bytes) -> tuple[Ask, Model]:
        ask = ask_of(raw, self._mount)
        return ask, self._models.find(ask.model, ask.version)

    def _explainer(self, model: Model) -> Model:
        found = self._models.of_method("explain")
        if found is None:
            raise UnsupportedError(
                f"model {model.name!r} explains nothing; give its deployment an endpoint "
                "`explain` that takes what the model takes"
            )
        return found

    def _told(self, action: str, model: Model) -> Rendered:
        """What is known of a model without asking it."""
        if action == "":
            return JSON, msgspec.json.encode(model.described())
        if action == "config":
            return JSON, msgspec.json.encode(configuration(model.metadata, streams=model.streams))
        text = self._document(model)
        if action == "docs":
            return b"text/html; charset=utf-8", page_of(text).encode()
        return JSON, msgspec.json.encode(text)

    def _document(self, model: Model) -> dict[str, Any]:
        plain = ""
        if self._inner is None and self._host.outermost and self._host.route:
            own = "" if model is self._models.main else model.method.name
            plain = f"{self._host.route.rstrip('/')}/{own}"
            plain = "" if plain == _THEIRS else plain
        explains = self._models.of_method("explain") is not None
        found = document(
            model.metadata, model.signature, version=model.version, plain=plain, explains=explains
        )
        return found | {"servers": [{"url": self._host.mount}]} if self._host.mount else found

    # ---- plain JSON

    def _answer_plain(self, call: ServedCall, space: Context) -> None:
        try:
            ask, model = self._ask(call.head, self._read_plain)
            if ask.action == "described":
                send_rendered(call, (JSON, described(self._models.all())))
                return
            exchange = PlainExchange(
                model, ask, call.head, call.payload, self._rest, events=model.streams
            )
            call.payload = b""
            serve(call, space, exchange)
        except Exception as error:  # noqa: BLE001 - a strange head: whoever sent it is told
            space.run(fail, call, error)

    def _read_plain(self, raw: bytes) -> tuple[Ask, Model]:
        ask = plain_ask_of(raw, root_of(raw, self._roots))
        model = self._models.of_method(ask.model) if ask.model else self._models.main
        if model is None:
            raise NotFoundError(f"There is no endpoint {ask.model[:60]!r} here.")
        return ask, model


_FORMS: Final[dict[str, tuple[type[HttpExchange], bool]]] = {
    "infer": (InferExchange, False),
    "infer_stream": (InferExchange, True),
    "generate": (GenerateExchange, False),
    "generate_stream": (GenerateExchange, True),
    "predict": (PredictExchange, False),
    "explain": (ExplainExchange, False),
}
