"""A page in the browser for a model: `salver run gradio_page:app` (`pip install '.[gradio]'`).

Open http://127.0.0.1:8000/. The page is made in the replica, and its function is a method there,
which may call other deployments.
"""

from __future__ import annotations

from typing import Any

import gradio

import salver
from salver.serve.gradio_integrations import GradioIngress


@salver.deployment
class Counter:
    def __call__(self, text: str) -> int:
        return len(text.split())


@salver.deployment
class Page(GradioIngress):
    def __init__(self, counter: Any) -> None:
        self.counter = counter
        super().__init__(lambda: gradio.Interface(self.count, "text", "number", api_name="count"))

    async def count(self, text: str) -> Any:
        return await self.counter.remote(text)


app = Page.bind(Counter.bind())
