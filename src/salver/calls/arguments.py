"""The arguments of a handle call, made ready to be sent."""

from __future__ import annotations

from typing import Any, Final

from salver.calls.outgoing import HandleCall
from salver.calls.response import DeploymentResponse
from salver.calls.splice import Encoded
from salver.calls.stream import DeploymentResponseGenerator
from salver.wire.frames import LARGE
from salver.wire.payload import dumps, dumps_call

__all__ = ("encode_call",)

_RESPONSES: Final = frozenset((DeploymentResponse, DeploymentResponseGenerator))


def encode_call(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[bytes | Encoded, list[HandleCall]]:
    """The payload, and the calls whose results are to be spliced into it before it is sent."""
    for argument in args:
        if type(argument) in _RESPONSES:
            return _encode_around(args, kwargs)
    if kwargs and not _RESPONSES.isdisjoint(map(type, kwargs.values())):
        return _encode_around(args, kwargs)
    inline, buffers = dumps_call(args, kwargs)
    if buffers or len(inline) > LARGE:
        return (inline, buffers), []
    return inline, []


def _encode_around(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[bytes | Encoded, list[HandleCall]]:
    """The same where responses are among the arguments: each leaves its place empty."""
    upstreams: list[HandleCall] = []
    places: list[tuple[int | str, int]] = []
    left = list(args)
    named = dict(kwargs)
    every: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    for place, argument in every:
        if type(argument) is not DeploymentResponse:
            continue  # a generator says for itself, when it is pickled, that it cannot be passed
        known = argument.value_if_known()
        value = known[0] if known else None
        if not known:
            if argument not in upstreams:
                upstreams.append(argument)
            places.append((place, upstreams.index(argument)))
        if isinstance(place, int):
            left[place] = value
        else:
            named[place] = value
    if not upstreams:
        return dumps_call(tuple(left), named), []
    return dumps((tuple(left), named, places)), upstreams
