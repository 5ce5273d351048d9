"""What Salver serves of the inference protocols: an array comes in and goes out."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

import salver
from salver import serve

MANY = 256
Readable = Annotated[np.ndarray, salver.Field("FP32", (-1, -1), writable=False)]


class Echo:
    """By an endpoint."""

    @salver.endpoint(name="m")
    async def echo(self, x: np.ndarray) -> np.ndarray:
        """What came."""
        return x


class Held:
    """The same with an array that lies where it came: it may be read, not written."""

    @salver.endpoint(name="m")
    async def echo(self, x: Readable) -> Readable:
        """What came."""
        return x


class Plain:
    """The same request by hand, in plain JSON."""

    async def __call__(self, request: Any) -> dict[str, Any]:
        body = await request.json()
        tensor = body["inputs"][0]
        output = {k: tensor[k] for k in ("shape", "datatype", "data")} | {"name": "echo"}
        return {"model_name": "m", "outputs": [output]}


oip_small = oip_image = oip_binary = oip_grpc = serve.deployment(max_ongoing_requests=MANY)(
    Echo
).bind()
oip_held = serve.deployment(Held).bind()
oip_plain = serve.deployment(max_ongoing_requests=MANY)(Plain).bind()
