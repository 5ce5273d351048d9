"""A line in the log for each call, where that is wanted; the calls of others know nothing of it."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from salver.replica.calls import ServedCall
from salver.replica.grpc.status import CANCELLED, name_of
from salver.wire.frames import GRPC, HTTP

if TYPE_CHECKING:
    from salver.calls.context import CallContext
    from salver.replica.caller import Caller

__all__ = ("LoggedCall",)

_logger: Final = logging.getLogger("salver.access")
_CLIENT_LEFT: Final = 499


class LoggedCall(ServedCall):
    """Says `GET /path 200 1.5ms` at its end, `CALL method OK 0.2ms`, `GRPC /a.B/Do OK 0.3ms`."""

    __slots__ = ("_arrived", "_error", "_withdrawn")

    def __init__(self, caller: Caller, flags: int, call_id: int, context: CallContext) -> None:
        super().__init__(caller, flags, call_id, context)
        self._arrived = perf_counter()
        self._error = False
        self._withdrawn = False

    def fail(self, error: BaseException) -> None:
        self._error = True
        super().fail(error)

    def withdraw(self) -> None:
        self._withdrawn = True  # whoever does it says so
        super().withdraw()

    def finish(self) -> None:
        if not self.ended:
            super().finish()
            if not self._withdrawn and _logger.isEnabledFor(logging.INFO):
                self._tell()

    def _tell(self) -> None:
        took = (perf_counter() - self._arrived) * 1000
        if self.flags & HTTP:
            method, path, status = self._http()
        else:
            method, path, status = self._grpc() if self.flags & GRPC else self._call()
        context = self.context
        about: dict[str, Any] = {
            "request_id": context.request_id,
            "route": context.route,
            "method": method,
            "path": path,
            "status": status,
            "latency_ms": round(took, 3),
            "serve_access_log": True,
        }
        _logger.info("%s %s %s %.1fms", method, path, status, took, extra=about)

    def _http(self) -> tuple[str, str, str]:
        method, _, rest = self.head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        status = self.status or (_CLIENT_LEFT if self.cancelled else 500)
        return method.decode("latin-1"), path.decode("latin-1"), str(status)

    def _grpc(self) -> tuple[str, str, str]:
        return "GRPC", self.name or "?", name_of(CANCELLED if self.cancelled else self.status)

    def _call(self) -> tuple[str, str, str]:
        outcome = "CANCELLED" if self.cancelled else "ERROR" if self._error else "OK"
        return "CALL", self.name or "?", outcome
