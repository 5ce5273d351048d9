"""Clients of models, Salver's or any that speak the Open Inference Protocol.

    from salver.client import Client

    with Client("http://127.0.0.1:8000") as client:
        sums = client.model("Scorer")(rows=array)

`AsyncClient` is the same with `await`. On the machine of the instance, tensors travel by shared
memory.
"""

from __future__ import annotations

from salver.client.clients import AsyncClient, AsyncModel, Client, Model
from salver.client.errors import (
    ClientError,
    DeadlineError,
    InputError,
    LinkError,
    NotFoundError,
    ServerError,
    UnavailableError,
)

__all__ = (
    "AsyncClient",
    "AsyncModel",
    "Client",
    "ClientError",
    "DeadlineError",
    "InputError",
    "LinkError",
    "Model",
    "NotFoundError",
    "ServerError",
    "UnavailableError",
)
