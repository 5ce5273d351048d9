"""Asks the service of shop.py: `python client.py [host:port]`."""

from __future__ import annotations

import sys

import grpc
from fruit_pb2 import Basket
from fruit_pb2_grpc import FruitShopStub


def main(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        shop = FruitShopStub(channel)
        basket = Basket(pieces={"apple": 4, "kiwi": 2})
        bill, call = shop.Price.with_call(basket)
        print("one basket:", bill.total, dict(call.trailing_metadata())["fruits"], "fruits")
        for line in shop.Itemise(basket):
            print("  ", line.pieces, line.fruit, line.price)
        print("three baskets:", shop.PriceAll(iter([basket] * 3)).total)
        print("each:", [bill.total for bill in shop.PriceEach(iter([basket, Basket()]))])
        try:
            shop.Price(Basket(pieces={"pear": 1}))
        except grpc.RpcError as error:
            print(error.code().name, error.details())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9000")
