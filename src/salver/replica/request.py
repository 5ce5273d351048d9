"""The current call under the names that users of Ray Serve read."""

from __future__ import annotations

from contextvars import Token
from typing import Any, Final

import msgspec

from salver.calls.context import CallContext, current_call, request_id_of
from salver.replica.batch import current_batch

__all__ = ("RequestContext", "batch_request_contexts", "request_context")


class RequestContext(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the current call. Empty outside of one."""

    route: str = ""
    request_id: str = ""
    _internal_request_id: str = ""  # of this very call; the other one is its whole request's
    app_name: str = ""
    multiplexed_model_id: str = ""
    session_id: str = ""
    grpc_context: Any = None
    is_http_request: bool = False
    cancel_on_parent_request_cancel: bool = True  # always so: a call ends with its caller
    _client: str = ""
    _ray_trace_ctx: dict[str, str] | None = None  # calls are not traced

    @classmethod
    def of(cls, call: CallContext | None) -> RequestContext:
        """Empty where there is no call."""
        if call is None:
            return cls()
        return cls(
            route=call.route,
            request_id=call.request_id,
            _internal_request_id=request_id_of(call.peer, call.call_id) if call.peer else "",
            app_name=call.app,
            multiplexed_model_id=call.model_id,
            session_id=call.session_id,
            is_http_request=bool(call.head),
            _client=_client(call.head),
        )


class _Current:
    """Read like a context variable: `request_context.get()`."""

    def get(self) -> RequestContext:
        """That of the call which the running code belongs to."""
        return RequestContext.of(current_call.get())

    def set(self, context: RequestContext) -> Token[CallContext | None]:
        """Have the running code, and the calls it makes from now on, belong to this one."""
        return current_call.set(
            CallContext(
                context.request_id,
                context.app_name,
                context.route,
                context.multiplexed_model_id,
                context.session_id,
            )
        )

    def reset(self, token: Token[CallContext | None]) -> None:
        """Undo `set`."""
        current_call.reset(token)


request_context: Final = _Current()


def batch_request_contexts() -> list[RequestContext]:
    """The calls that the running batch works for, in its order; empty outside a batch."""
    return [RequestContext.of(call) for call in current_batch.get()]


def _client(head: bytes) -> str:
    """The client's address, which the door has written behind the head."""
    return head[head.rfind(b"\n") + 1 :].decode("latin-1")
