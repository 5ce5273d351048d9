"""What BentoML serves: `bentoml serve bench.apps.bento_app:Hello`."""

from __future__ import annotations

import bentoml


@bentoml.service(workers=1, traffic={"timeout": 60})
class Hello:
    """POST /hello answers the quickstart's text."""

    @bentoml.api
    async def hello(self) -> dict[str, str]:
        return {"result": "Hello world!"}
