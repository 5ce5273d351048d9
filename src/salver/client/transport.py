"""What a client asks of a server, whatever the protocol it speaks."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

from salver.client.deadline import Deadline
from salver.oip.metadata import ModelIndexEntry, ModelMetadata, ServerMetadata
from salver.oip.types import InferRequest, InferResponse

__all__ = ("Transport",)


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
