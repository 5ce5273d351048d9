"""`salver.serve.gradio_integrations`: Gradio's pages as deployments."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from fastapi import FastAPI

from salver.program import deployment, ingress

__all__ = ("GradioIngress", "GradioServer")


@ingress()
class GradioIngress:
    """Serves the page that `builder` makes in each replica, a `gradio.Blocks` or `Interface`.

    Or the base of a deployment of one's own, whose methods the page calls:
    `super().__init__(lambda: gradio.Interface(self.greet, "text", "text"))`.
    """

    def __init__(self, builder: Callable[[], Any]) -> None:
        self.io = builder()

    def __serve_build_asgi_app__(self) -> Any:
        return _gradio().mount_gradio_app(FastAPI(), self.io, path="/")


GradioServer = deployment(GradioIngress).options(name="GradioServer")


def _gradio() -> Any:
    try:
        return import_module("gradio")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"GradioServer needs gradio ({error}). Install it with: pip install 'salver[gradio]'"
        ) from None
