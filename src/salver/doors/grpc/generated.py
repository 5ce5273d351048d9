"""Services of generated code that the door answers itself: methods of protobufs, not of bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from salver.doors.grpc.door import refused
from salver.doors.grpc.head import Handler
from salver.replica.grpc.status import INVALID_ARGUMENT, OK, UNIMPLEMENTED

if TYPE_CHECKING:
    from salver.doors.grpc.rpc import Rpc

__all__ = ("handler_of", "unary")

_Decode: TypeAlias = Callable[[bytes], Any]
_Encode: TypeAlias = Callable[[Any], bytes]


class _Context:
    """For generated code of a method that nobody has written: it speaks to it before it raises."""

    def set_code(self, code: Any) -> None:
        """Said by the error, too."""

    def set_details(self, details: str) -> None:
        """Said by the error, too."""


def handler_of(registered: Any) -> Handler:
    """What answers as a handler that generated code has registered."""
    decode, encode = registered.request_deserializer, registered.response_serializer
    if registered.request_streaming:

        async def converse(rpc: Rpc) -> None:
            await _each(rpc, registered.stream_stream(_requests(rpc, decode), _Context()), encode)

        return Handler(lambda rpc, _: rpc.run(converse(rpc)), takes_stream=True)
    if registered.response_streaming:

        async def tell(rpc: Rpc, message: bytes) -> None:
            request = _read(rpc, decode, message)
            await _each(rpc, registered.unary_stream(request, _Context()), encode)

        return Handler(lambda rpc, message: rpc.run(tell(rpc, message)))
    return unary(registered.unary_unary, decode, encode)


def unary(method: Callable[[Any, Any], Any], decode: _Decode, encode: _Encode) -> Handler:
    """What answers one message by one."""

    async def answer(rpc: Rpc, message: bytes) -> None:
        request = _read(rpc, decode, message)
        try:
            response = await method(request, _Context())
        except NotImplementedError as error:
            raise refused(UNIMPLEMENTED, str(error)) from None
        rpc.put(encode(response))
        rpc.end(OK, "")

    return Handler(lambda rpc, message: rpc.run(answer(rpc, message)))


async def _each(rpc: Rpc, responses: AsyncIterator[Any], encode: _Encode) -> None:
    async for response in responses:
        await rpc.write(encode(response))
    rpc.end(OK, "")


async def _requests(rpc: Rpc, decode: _Decode) -> AsyncIterator[Any]:
    while (message := await rpc.read()) is not None:
        yield _read(rpc, decode, message)


def _read(rpc: Rpc, decode: _Decode, message: bytes) -> Any:
    try:
        return decode(message)
    except Exception as error:  # noqa: BLE001 - what reads messages may raise anything
        text = f"The request of {rpc.head.path} cannot be read: {error}"
        raise refused(INVALID_ARGUMENT, text) from None
