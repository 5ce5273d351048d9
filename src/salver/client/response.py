"""What `handle.remote()` gives back."""

from __future__ import annotations

from salver.client.call import Call

__all__ = ("DeploymentResponse", "DeploymentResponseGenerator")


class DeploymentResponse(Call):
    """The answer to a call: `await` it, or `.result()` from code without an event loop."""


class DeploymentResponseGenerator:
    """The items of a streamed answer: `async for`, or `for` from code without an event loop."""
