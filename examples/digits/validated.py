"""Step 6, input that is checked: `salver run digits.validated:build weights=digits.pt`.

Wrong input is answered with what is wrong, and http://127.0.0.1:8000/docs shows how to do better.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, Field

import salver
from digits import Args
from digits.network import Reader

api = FastAPI(title="Digits")

Pixel = Annotated[float, Field(ge=0, le=16)]
Row = Annotated[list[Pixel], Field(min_length=8, max_length=8)]


class Picture(BaseModel):
    """A handwritten digit."""

    pixels: Annotated[list[Row], Field(min_length=8, max_length=8)]


class Answer(BaseModel):
    digit: int


@salver.deployment(max_ongoing_requests=64)
@salver.ingress(api)
class Digits:
    def __init__(self, weights: str) -> None:
        self.reader = Reader(weights)

    @api.post("/read")
    async def answer(self, picture: Picture) -> Answer:
        return Answer(digit=await self.read(picture.pixels))

    @salver.batch(max_batch_size=32)
    async def read(self, images: list) -> list[int]:
        return self.reader.read(images)


def build(args: Args) -> salver.Application:
    return Digits.bind(args.weights)
