"""One request in each of the forms that HTTP knows: bytes to arguments, results to answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from salver.oip.codecs.json import to_json
from salver.oip.errors import InvalidMessageError
from salver.oip.generate import named, read_generate, write_generate
from salver.oip.rest import HttpBody, RestFormat, write_response
from salver.oip.types import InferRequest, InferResponse
from salver.oip.v1 import V1Request, bind_v1, read_v1, write_v1
from salver.replica.oip.asks import Ask
from salver.replica.oip.coding import inflated
from salver.replica.oip.headers import as_http, received, taken_from
from salver.replica.oip.model import Model
from salver.replica.oip.outgoing import fail, send, send_events

if TYPE_CHECKING:
    from salver.replica.calls import ServedCall

__all__ = (
    "ExplainExchange",
    "GenerateExchange",
    "HttpExchange",
    "InferExchange",
    "PlainExchange",
    "PredictExchange",
    "described",
)

Body = bytes | memoryview
_INFLATED_LIMIT: Final = 256 << 20


class HttpExchange:
    """Made for one request; `events`: it is answered by a stream of events."""

    __slots__ = ("ask", "body", "events", "head", "headers", "model", "request", "rest")

    request: InferRequest

    def __init__(
        self,
        model: Model,
        ask: Ask,
        head: bytes,
        body: Body,
        rest: RestFormat,
        *,
        events: bool = False,
    ) -> None:
        self.model = model
        self.ask = ask
        self.head = head
        self.headers: dict[str, Any] = {}  # of the answer, beside those that it has anyway
        self.body = body
        self.rest = rest
        self.events = events

    # ---- as it is served

    def arguments(self) -> list[dict[str, Any]]:
        """What the method is called with: once, or once for each row of a request."""
        if self.ask.coding:
            self.body = inflated(self.body, self.ask.coding, _INFLATED_LIMIT)
        given = self.read()
        if self.model.requests:
            self.model.tell_headers(given, received(self.head))
        return given

    def send(self, call: ServedCall, answer: HttpBody) -> None:
        send(call, self.ask.accepts, answer, as_http(self.headers) if self.headers else ())

    async def send_items(self, call: ServedCall, items: Any) -> None:
        await send_events(call, self.item, items, self.model.counters.failure)

    def fail(self, call: ServedCall, error: BaseException) -> None:
        fail(call, error)

    # ---- the form

    def read(self) -> list[dict[str, Any]]:
        """The arguments in the body."""
        raise NotImplementedError

    def answer(self, results: list[Any]) -> HttpBody:
        """The body that says what the calls returned."""
        return HttpBody(self.item(results[0]))

    def item(self, result: Any) -> bytes:
        """One result, or one item of a stream, as JSON."""
        raise NotImplementedError


class InferExchange(HttpExchange):
    """V2 inference, JSON and binary."""

    __slots__ = ()

    def read(self) -> list[dict[str, Any]]:
        model = self.model
        self.request = self.rest.read_request(self.body, self.ask.header_length, model.metadata)
        self.body = b""  # what refers to it keeps it
        return [model.arguments(self.request)]

    def answer(self, results: list[Any]) -> HttpBody:
        response = self.model.response(results[0], self.request)
        self.headers = taken_from(response)
        return write_response(response, self.request.wants_binary)

    def item(self, result: Any) -> bytes:
        return write_response(self.model.response(result, self.request)).text


class GenerateExchange(HttpExchange):
    """The generate extension: plain members in and out."""

    __slots__ = ()

    def read(self) -> list[dict[str, Any]]:
        model = self.model
        self.request = read_generate(self.body, model.metadata, self.rest)
        try:
            return [model.arguments(self.request)]
        except InvalidMessageError as error:
            raise named(error, self.request, model.metadata) from None

    def item(self, result: Any) -> bytes:
        response = self.model.response(result, self.request)
        self.headers = taken_from(response)
        return write_generate(response)


class PredictExchange(HttpExchange):
    """V1: rows or columns."""

    __slots__ = ("_v1",)

    _v1: V1Request

    def read(self) -> list[dict[str, Any]]:
        self._v1 = read_v1(self.body)
        return bind_v1(self.model.binder, self._v1)

    def answer(self, results: list[Any]) -> HttpBody:
        return HttpBody(write_v1(self.model.binder, self._v1, results))


class ExplainExchange(PredictExchange):
    """V1 explanations: predictions under another name."""

    __slots__ = ()

    def answer(self, results: list[Any]) -> HttpBody:
        answer = super().answer(results).text
        for name in (b'{"predictions":', b'{"outputs":'):
            if answer.startswith(name):
                return HttpBody(b'{"predictions":[],"explanations":' + answer[len(name) :])
        return HttpBody(answer)


class PlainExchange(HttpExchange):
    """Named arguments as a JSON object, the result as JSON."""

    __slots__ = ()

    def read(self) -> list[dict[str, Any]]:
        return [self.model.binder.bind_json(self.body)]

    def item(self, result: Any) -> bytes:
        if isinstance(result, InferResponse):
            self.headers = taken_from(result)
        return self.model.binder.pack_json(result)


def described(models: list[Model]) -> bytes:
    """What a plain GET is told: that somebody is there, and who."""
    return to_json({"status": "alive", "models": [model.name for model in models]})
