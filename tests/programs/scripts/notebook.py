"""Cells of a notebook: each is compiled and run on one loop that never stops, as IPython does."""

import ast
import asyncio
import inspect
import types

CELLS = [
    """
from salver import serve
from fastapi import FastAPI
import httpx
api = FastAPI()

@serve.deployment
class Model:
    def __call__(self, x):
        return x * factor

@serve.deployment
@serve.ingress(api)
class Door:
    def __init__(self, model):
        self.model = model

    @api.get("/{x}")
    async def get(self, x: int) -> int:
        return await self.model.remote(x)

factor = 3
""",
    """
serve.start(http_options={"port": 0})
handle = serve.run(Model.bind(), name="model", route_prefix=None)
print(await handle.remote(2))
""",
    """
serve.run(Door.bind(Model.bind()), route_prefix="/door")
from salver.api import session
async with httpx.AsyncClient() as client:
    print((await client.get(session._instance.url + "/door/5")).json())
""",
    """
factor = 10
handle = serve.run(Model.bind(), name="model", route_prefix=None)
print(await handle.remote(2), sorted(serve.status().applications))
""",
    "await serve.shutdown_async()",
]


async def main() -> None:
    import __main__

    for number, cell in enumerate(CELLS):
        code = compile(cell, f"<cell {number}>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = types.FunctionType(code, vars(__main__))()
        if inspect.isawaitable(result):
            await result


asyncio.run(main())
