"""The smallest app: `salver run hello:app`, then `curl http://127.0.0.1:8000/`."""

from __future__ import annotations

import salver


@salver.deployment
class Hello:
    async def __call__(self, request):
        name = request.query_params.get("name", "world")
        return f"Hello, {name}!"


app = Hello.bind()
