"""A function is a deployment too: `salver run function:app`.

curl -d '{"celsius": 20}' http://127.0.0.1:8000/
"""

from __future__ import annotations

from starlette.responses import JSONResponse

import salver


@salver.deployment(num_replicas=2)
async def fahrenheit(request):
    celsius = (await request.json()).get("celsius")
    if not isinstance(celsius, int | float):
        return JSONResponse({"error": 'send {"celsius": a number}'}, 400)
    return {"fahrenheit": celsius * 9 / 5 + 32}


app = fahrenheit.bind()
