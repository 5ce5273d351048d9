"""A function is a deployment too: `salver run function:app`.

curl -d '{"celsius": 20}' http://127.0.0.1:8000/
"""

from __future__ import annotations

import salver


@salver.deployment(num_replicas=2)
async def fahrenheit(request):
    given = await request.json()
    return {"fahrenheit": given["celsius"] * 9 / 5 + 32}


app = fahrenheit.bind()
