"""What a door says about the server and its models without asking a replica."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from salver.doors.inference import InferenceServer
from salver.doors.local import Answer
from salver.errors import SalverError
from salver.oip.errors import (
    InvalidMessageError,
    ModelNotFoundError,
    ModelNotReadyError,
    UnsupportedError,
)
from salver.oip.metadata import ErrorBody, ModelReady, ServerLive, ServerReady
from salver.oip.page import page_of
from salver.oip.repository import read_index, read_load, read_register, read_unload
from salver.oip.server_document import server_document
from salver.oip.service_settings import read_changes

if TYPE_CHECKING:
    from salver.doors.head import Head

__all__ = ("Answers",)

_MODEL: Final = r"/v[12]/models/([^/:]+)(?:/versions/([^/:]+))?"
_NAMED: Final = re.compile(rf"{_MODEL}(?:[/:].*)?", re.DOTALL)
_STATUS_OF: Final[Mapping[type[Exception], int]] = {
    ModelNotFoundError: 404,
    ModelNotReadyError: 503,
    UnsupportedError: 501,
    InvalidMessageError: 400,
    SalverError: 503,  # the controller is not there just now
}

_AGAIN: Final = (("retry-after", "1"),)
_Result: TypeAlias = Answer | Awaitable[Answer]


class Answers:
    """`answer(head, body)` for every request of the protocols that no replica is needed for."""

    def __init__(self, server: InferenceServer) -> None:
        self._at = server

    async def answer(self, head: Head, body: bytes) -> Answer:
        """Every error is in the protocol's own form."""
        try:
            found = self._find(head)
            if isinstance(found, Answer):
                return found
            handler, arguments = found
            result = handler(self, body, *arguments)
            return await result if inspect.isawaitable(result) else result
        except SalverError as error:
            status = next(_STATUS_OF[kind] for kind in type(error).__mro__ if kind in _STATUS_OF)
            return _error(status, str(error), _AGAIN if status == 503 else ())

    def _find(self, head: Head) -> Answer | tuple[Callable[..., _Result], tuple[Any, ...]]:
        path = head.path.rstrip("/")
        for pattern, methods in _TABLE:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            method = head.method.decode("latin-1")
            handler = methods.get("GET" if method == "HEAD" else method)
            if handler is not None:
                return handler, found.groups()
            text = f"{method[:20]} is not allowed here; use {' or '.join(methods)}."
            return _error(405, text, (("allow", ", ".join(methods)),))
        named = _NAMED.fullmatch(path)
        if named is not None:  # a model that is not there is the better reason
            model = self._at.models.find(named[1], named[2] or "")
            if model.view.withheld:
                raise ModelNotReadyError(named[1], named[2] or "")
        return _error(404, f"Path {path[:80]!r} is not part of the protocol.")

    # ---- the server

    def _server(self, _: bytes) -> Answer:
        return _json(self._at.metadata())

    def _live(self, _: bytes) -> Answer:
        return _json(ServerLive())

    def _server_ready(self, _: bytes) -> Answer:
        ready = self._at.ready()
        return _json(ServerReady(ready), 200 if ready else 503)

    def _docs(self, _: bytes) -> Answer:
        views = [model.view for model in self._at.models]
        paths = [f"{v.name}/versions/{v.version}" if v.version else v.name for v in views]
        links = {f"Model {path}": f"/v2/models/{path}/docs" for path in paths}
        return Answer(200, page_of(server_document(), links), "text/html; charset=utf-8")

    def _document(self, _: bytes) -> Answer:
        return _json(server_document())

    # ---- models

    def _names(self, _: bytes) -> Answer:
        return _json({"models": list(dict.fromkeys(m.view.name for m in self._at.models))})

    def _ready(self, _: bytes, name: str, version: str | None) -> Answer:
        ready = self._at.model_ready(name, version or "")
        return _json(ModelReady(name, ready), 200 if ready else 503)

    def _index(self, body: bytes) -> Answer:
        return _json(self._at.index(read_index(body)))

    # ---- what the controller does

    async def _load(self, body: bytes, name: str) -> Answer:
        await self._at.load(name, read_load(body))
        return Answer(200)

    async def _unload(self, body: bytes, name: str) -> Answer:
        await self._at.unload(name, dependents=read_unload(body))
        return Answer(200)

    async def _statistics(
        self, _: bytes, name: str | None = None, version: str | None = None
    ) -> Answer:
        return _json({"model_stats": await self._at.statistics(name or "", version or "")})

    async def _trace(self, _: bytes, name: str | None = None) -> Answer:
        return _json(await self._at.trace(name or "", {}))

    async def _change_trace(self, body: bytes, name: str | None = None) -> Answer:
        return _json(await self._at.trace(name or "", read_changes(body)))

    async def _log(self, _: bytes) -> Answer:
        return _json(await self._at.log({}))

    async def _change_log(self, body: bytes) -> Answer:
        return _json(await self._at.log(read_changes(body)))

    async def _regions(self, _: bytes, name: str | None = None) -> Answer:
        return _json(await self._at.regions(name or ""))

    async def _register(self, body: bytes, name: str) -> Answer:
        await self._at.register(read_register(name, body))
        return Answer(200)

    async def _unregister(self, _: bytes, name: str | None = None) -> Answer:
        await self._at.unregister(name or "")
        return Answer(200)

    def _no_gpu(self, _: bytes, *_names: str) -> Answer:
        raise self._at.no_gpu()


def _json(value: Any, status: int = 200) -> Answer:
    text = msgspec.json.encode(value).decode()
    return Answer(status, text, more=_AGAIN if status == 503 else ())


def _error(status: int, text: str, more: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, msgspec.json.encode(ErrorBody(text)).decode(), more=more)


_Handlers: TypeAlias = Mapping[str, Callable[..., _Result]]
_TABLE: Final[tuple[tuple[re.Pattern[str], _Handlers], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), methods)
    for pattern, methods in (
        (r"/v2", {"GET": Answers._server}),
        (r"/v2/health/live", {"GET": Answers._live}),
        (r"/v2/health/ready", {"GET": Answers._server_ready}),
        (r"/v2/docs", {"GET": Answers._docs}),
        (r"/v2/docs/dataplane\.json", {"GET": Answers._document}),
        (r"/v[12]/models", {"GET": Answers._names}),
        (rf"{_MODEL}/ready", {"GET": Answers._ready}),
        (r"/v1/models/([^/:]+)(?:/versions/([^/:]+))?", {"GET": Answers._ready}),
        (r"/v2/models/stats", {"GET": Answers._statistics}),
        (rf"{_MODEL}/stats", {"GET": Answers._statistics}),
        (
            r"/v2(?:/models/([^/]+))?/trace/setting",
            {"GET": Answers._trace, "POST": Answers._change_trace},
        ),
        (r"/v2/logging", {"GET": Answers._log, "POST": Answers._change_log}),
        (r"/v2/repository(?:/[^/]+)?/index", {"POST": Answers._index}),
        (r"/v2/repository(?:/[^/]+)?/models/([^/]+)/load", {"POST": Answers._load}),
        (r"/v2/repository(?:/[^/]+)?/models/([^/]+)/unload", {"POST": Answers._unload}),
        (r"/v2/systemsharedmemory(?:/region/([^/]+))?/status", {"GET": Answers._regions}),
        (r"/v2/systemsharedmemory/region/([^/]+)/register", {"POST": Answers._register}),
        (r"/v2/systemsharedmemory(?:/region/([^/]+))?/unregister", {"POST": Answers._unregister}),
        (
            r"/v2/cudasharedmemory(?:/region/([^/]+))?/([a-z]+)",
            {"GET": Answers._no_gpu, "POST": Answers._no_gpu},
        ),
    )
)
