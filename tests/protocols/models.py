"""Models that judges ask: one of each kind, as a user would write them."""

# A class decorator cannot change what a type checker takes the class for.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import numpy as np
import pydantic

import salver
from salver import Field, InferRequest, InferResponse, Tensor


class Person(pydantic.BaseModel):
    name: str
    age: int = 0


class Order(pydantic.BaseModel, extra="forbid"):
    counts: list[int]

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return sum(self.counts)


@dataclasses.dataclass
class Point:
    x: float
    y: float


@salver.deployment(max_ongoing_requests=64)
class Models:
    @salver.endpoint(name="identity")
    async def identity(self, x: np.ndarray) -> np.ndarray:
        """What comes in goes out."""
        return x

    @salver.endpoint(name="add_sub")
    def add_sub(
        self,
        a: Annotated[np.ndarray, Field("FP32", (-1, 4))],
        b: Annotated[np.ndarray, Field("FP32", (-1, 4))],
    ) -> tuple[
        Annotated[np.ndarray, Field("FP32", (-1, 4), name="sum")],
        Annotated[np.ndarray, Field("FP32", (-1, 4), name="difference")],
    ]:
        return a + b, a - b

    @salver.endpoint(name="upper")
    def upper(self, words: list[str]) -> list[str]:
        return [word.upper() for word in words]

    @salver.endpoint(name="raises")
    async def raises(self, x: float) -> float:
        raise ValueError(f"cannot do {x}")

    @salver.endpoint(name="count")
    async def count(self, text_input: str, n: int = 3) -> AsyncIterator[str]:
        for number in range(n):
            yield f"{text_input} {number}"

    @salver.endpoint(name="breaks")
    def breaks(self, text_input: str) -> Iterator[str]:
        yield text_input
        raise RuntimeError("in the middle")

    @salver.endpoint(name="scores", labels=["cat", "dog", "cow"])
    async def scores(self, x: Annotated[np.ndarray, Field("FP32")]) -> np.ndarray:
        return x

    @salver.endpoint(name="versioned", version="1")
    async def first(self, x: int) -> int:
        return x + 1

    @salver.endpoint(name="versioned", version="10")
    async def tenth(self, x: int) -> int:
        return x + 10

    @salver.endpoint(name="raw")
    async def raw(self, request: InferRequest) -> InferResponse:
        names = sorted(request.parameters.keys() - {"headers"})
        return InferResponse([Tensor.of("names", np.array(names, dtype=object))])

    @salver.endpoint(name="headers")
    def headers(self, request: InferRequest) -> InferResponse:
        asked = request.parameters["headers"]["x-ask"]
        names = np.array(sorted(request.parameters), dtype=object)
        headers = {"X-Answer": asked, "Content-Length": "1"}
        return InferResponse([Tensor.of("names", names)], parameters={"headers": headers, "n": 1})

    @salver.endpoint(name="typed")
    def typed(
        self, person: Person, point: Point, scale: float = 1.0, note: str | None = None
    ) -> dict[str, Any]:
        return {"name": person.name, "x": point.x * scale, "note": note}

    @salver.endpoint(name="person")
    def person(self, person: Person, image: bytes) -> Person:
        return person

    @salver.endpoint(name="order")
    async def order(self, order: Order) -> Order:
        return order

    @salver.endpoint(name="batched", labels=["even", "odd"])
    @salver.batch(max_batch_size=8, batch_wait_timeout_s=0.01)
    async def batched(self, x: list[float], word: list[str]) -> list[str]:
        if "fail" in word:
            raise ValueError("a batch that fails")
        return [f"{one} {word} of {len(x)}" for one, word in zip(x, word, strict=True)]

    @salver.batch(max_batch_size=4)
    @salver.endpoint(name="batched_stream")
    async def batched_stream(self, text_input: list[str]) -> AsyncIterator[list[str]]:
        for number in range(2):
            yield [f"{text} {number}" for text in text_input]

    @salver.endpoint(name="awaited")
    def awaited(self, x: int) -> Any:
        return asyncio.sleep(0, x)


@salver.deployment
@salver.endpoint(name="double")
def double(x: float) -> float:
    return 2 * x


@salver.deployment
@salver.endpoint(name="versioned", version="3")
def third(x: int) -> int:
    return x + 3


@salver.deployment(max_ongoing_requests=1, max_queued_requests=1)
class Slow:
    def __init__(self) -> None:
        self.gate = asyncio.Event()

    @salver.endpoint(name="slow")
    async def wait(self, x: int) -> int:
        await self.gate.wait()
        return x

    async def open(self) -> None:
        self.gate.set()

    async def __call__(self, request: Any) -> str:
        return f"plain {request.method}"


models = Models.bind()
