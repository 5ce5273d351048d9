"""What a client asks of a server, whatever the protocol it speaks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

from salver.client.deadline import Deadline
from salver.oip.metadata import ModelIndexEntry, ModelMetadata, ServerMetadata
from salver.oip.types import InferRequest, InferResponse

__all__ = ("Transport", "sendable")


def sendable(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Headers that both protocols can send. ValueError: others."""
    found = [(str(name), str(value)) for name, value in headers.items()]
    for name, value in found:
        right = name and ":" not in name and not any(map(str.isspace, name))
        if not right or not f"{name}{value}".isascii() or not f"{name}{value}".isprintable():
            raise ValueError(f"Header {name!r}: {value!r} cannot be sent: expected text in ASCII.")
    return found


class Transport(Protocol):
    """One server. Raises what `errors` has."""

    async def live(self, deadline: Deadline) -> bool: ...

    async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
        """Of the server, where no model is named."""

    async def server(self, deadline: Deadline) -> ServerMetadata: ...

    async def models(self, deadline: Deadline) -> list[ModelIndexEntry]: ...

    async def metadata(self, model: str, version: str, deadline: Deadline) -> ModelMetadata: ...

    async def infer(self, request: InferRequest, deadline: Deadline) -> InferResponse: ...

    def stream(
        self, request: InferRequest, deadline: Deadline
    ) -> AsyncGenerator[InferResponse, None]: ...

    async def call(self, path: str, arguments: dict[str, Any], deadline: Deadline) -> Any:
        """Plain JSON to a path."""

    def close(self) -> None: ...

    async def aclose(self) -> None:
        """The same, for what only a loop can close."""
