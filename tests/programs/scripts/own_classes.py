"""Everything is defined in the script itself: classes, an app, exceptions, data, closures."""

import dataclasses
import enum
import sys
import threading

import httpx
from fastapi import Depends, FastAPI
from pydantic import BaseModel

from salver import serve
from salver.api import session
from salver.serve.handle import DeploymentHandle

api = FastAPI()
GREETING = "hello"


class Wish(BaseModel):
    name: str
    count: int = 1


class OutOfStock(Exception):
    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Size(enum.Enum):
    SMALL = 1
    LARGE = 2


@dataclasses.dataclass
class Box:
    size: Size
    inside: list


def helper() -> str:
    return GREETING + "!"


def depends() -> str:
    return helper()


@serve.deployment
class Store:
    def __init__(self, boxes: list[Box], rule) -> None:
        self.boxes = boxes
        self.rule = rule

    def take(self, size: Size) -> Box:
        for box in self.boxes:
            if box.size is size and self.rule(box):
                return box
        raise OutOfStock(size.name)

    def numbers(self, count: int):
        yield from (Box(Size.SMALL, [n]) for n in range(count))


@serve.deployment
@serve.ingress(api)
class Door:
    def __init__(self, store: DeploymentHandle) -> None:
        self.store = store
        self.lock = threading.Lock()

    @api.get("/hello")
    def hello(self, word: str = Depends(depends)) -> str:
        with self.lock:
            return word

    @api.post("/wish")
    async def wish(self, wish: Wish) -> Wish:
        return Wish(name=wish.name.upper(), count=wish.count + 1)

    @api.get("/box/{size}")
    async def box(self, size: str) -> list:
        try:
            box = await self.store.take.remote(Size[size])
        except OutOfStock as error:
            return ["out of stock", error.what]
        return box.inside


limit = 2
app = Door.bind(Store.bind([Box(Size.SMALL, [1, 2])], lambda box: len(box.inside) <= limit))

if __name__ == "__main__":
    serve.start(http_options={"port": 0})
    serve.run(app, route_prefix="/own")
    with httpx.Client(base_url=session._instance.url + "/own") as client:
        print(client.get("/hello").json())
        print(client.post("/wish", json={"name": "cup"}).json())
        print(client.get("/box/SMALL").json(), client.get("/box/LARGE").json())
        print(client.get("/docs").status_code, client.get("/openapi.json").status_code)
    store = serve.get_deployment_handle("Store", "default")
    print(store.take.remote(Size.SMALL).result() == Box(Size.SMALL, [1, 2]))
    try:
        store.take.remote(Size.LARGE).result()
    except OutOfStock as error:
        print("caught", error.what, type(error) is OutOfStock)
    print([box.inside for box in store.options(stream=True).numbers.remote(3)])
    serve.shutdown()
    print(serve.status().applications)
    sys.stdout.flush()
