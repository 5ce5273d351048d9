"""Annotations that are strings, of routes and of models, in a script."""

from __future__ import annotations

from typing import Annotated

import httpx
from fastapi import BackgroundTasks, Depends, FastAPI, Header, Query, Request, Response, UploadFile
from pydantic import BaseModel

from salver import serve
from salver.api import session
from salver.serve.handle import DeploymentHandle

api = FastAPI()


class Wish(BaseModel):
    name: str
    parts: list[Part] = []


class Part(BaseModel):
    number: int


Wish.model_rebuild()


def chosen(q: int | None = None) -> int | None:
    return q


@api.get("/free")
def free(x: int) -> Wish:
    return Wish(name=str(x))


@serve.deployment
class Maker:
    def make(self, number: int) -> Wish:
        return Wish(name=str(number))


@serve.deployment
@serve.ingress(api)
class Door:
    def __init__(self, maker: DeploymentHandle[Maker]) -> None:
        self.maker = maker

    @api.post("/wish")
    async def wish(
        self,
        wish: Wish,
        request: Request,
        q: Annotated[int | None, Depends(chosen)],
        mark: Annotated[str, Header()] = "none",
    ) -> Wish:
        return Wish(name=f"{wish.name} {mark} {q} {request.method}", parts=wish.parts)

    @api.post("/upload")
    async def upload(
        self, file: UploadFile, tasks: BackgroundTasks, response: Response
    ) -> dict[str, int]:
        response.headers["x-kind"] = "upload"
        return {"size": len(await file.read())}

    @api.get("/list", response_model=list[Wish])
    async def list_all(self, ids: Annotated[list[int], Query()]):
        return [await self.maker.make.remote(number) for number in ids]


serve.start(http_options={"port": 0})
serve.run(Door.bind(Maker.bind()))
with httpx.Client(base_url=session._instance.url) as client:
    wish = {"name": "a", "parts": [{"number": 1}]}
    print(client.post("/wish?q=4", json=wish, headers={"mark": "m"}).text)
    reply = client.post("/upload", files={"file": ("x", b"123")})
    print(reply.text, reply.headers["x-kind"])
    print(client.get("/list?ids=1&ids=2").text, client.get("/free?x=1").text)
