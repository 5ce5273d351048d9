"""A gRPC service: a plain class whose methods are those of `FruitShop` in fruit.proto.

pip install 'salver[grpc]' grpcio-tools
python -m grpc_tools.protoc -I. --python_out=. --grpc_python_out=. fruit.proto
salver run shop:app --grpc-servicer-functions fruit_pb2_grpc.add_FruitShopServicer_to_server
python client.py
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from fruit_pb2 import Basket, Bill, Line

import salver
from salver.serve.grpc_util import gRPCInputStream


@salver.deployment
class Shelf:
    """Knows what one piece costs."""

    def __init__(self, prices: dict[str, float]) -> None:
        self.prices = prices

    def price(self, fruit: str) -> float | None:
        return self.prices.get(fruit)


@salver.deployment(max_ongoing_requests=100)
class Shop:
    """Answers gRPC; asks the shelf."""

    def __init__(self, shelf: Any) -> None:
        self.shelf = shelf

    async def Price(self, basket: Basket, grpc_context: Any) -> Bill:
        total = 0.0
        for fruit, pieces in basket.pieces.items():
            price = await self.shelf.price.remote(fruit)
            if price is None:
                grpc_context.set_code(grpc.StatusCode.NOT_FOUND)
                grpc_context.set_details(f"There are no {fruit}s today.")
                return Bill()
            total += pieces * price
        grpc_context.set_trailing_metadata([("fruits", str(len(basket.pieces)))])
        return Bill(total=total)

    async def Itemise(self, basket: Basket) -> AsyncIterator[Line]:
        for fruit, pieces in sorted(basket.pieces.items()):
            price = await self.shelf.price.remote(fruit)
            yield Line(fruit=fruit, pieces=pieces, price=pieces * (price or 0))

    async def PriceAll(self, baskets: gRPCInputStream[Basket], grpc_context: Any) -> Bill:
        bills = [await self.Price(basket, grpc_context) async for basket in baskets]
        return Bill(total=sum(bill.total for bill in bills))

    async def PriceEach(
        self, baskets: gRPCInputStream[Basket], grpc_context: Any
    ) -> AsyncIterator[Bill]:
        async for basket in baskets:
            yield await self.Price(basket, grpc_context)


app = Shop.bind(Shelf.bind({"apple": 0.5, "kiwi": 0.25}))
