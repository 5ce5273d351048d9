"""A script that starts Ray, runs two apps, calls them by handle and over HTTP, and stops."""

import os
import sys
import urllib.request
from dataclasses import dataclass

import ray
import ray.serve
from ray import serve
from ray.exceptions import RayTaskError
from ray.util.metrics import Counter


@dataclass
class Order:
    item: str
    amount: int


@serve.deployment
class Store:
    def __init__(self):
        self.orders = Counter("orders_seen", description="Orders.", tag_keys=("item",))

    def price(self, order: Order) -> int:
        self.orders.inc(tags={"item": order.item})
        if order.amount < 0:
            raise ValueError("less than nothing")
        return 2 * order.amount

    def level(self) -> str:
        return f"level {os.environ['LEVEL']}"

    async def __call__(self, request) -> str:
        return f"store {request.query_params['q']}"


@ray.remote
def ask(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


if __name__ == "__main__":
    ray.init(num_cpus=8, namespace="serve", runtime_env={"env_vars": {"LEVEL": "7"}})
    serve.start(http_options={"port": 0})
    handle = serve.run(Store.bind(), name="store", route_prefix="/store")
    print(ray.__version__, ray.is_initialized(), ray.cluster_resources()["CPU"])
    print(ray.get([handle.price.remote(Order("tea", number)) for number in (1, 2)]))
    price = handle.price.remote(Order("tea", 5)).result()
    print(ray.get(ray.put("kept")), price, ray.get(handle.level.remote()))
    try:
        ray.get(handle.price.remote(Order("tea", -1)))
    except RayTaskError as error:
        print(type(error).__name__, str(error).splitlines()[0])
    base = sys.argv[1] if len(sys.argv) > 1 else None
    print(base, serve.status().applications["store"].status)
    from salver.api import session

    url = f"{session._instance.url}/store?q="
    print(ray.get([ask.remote(url + letter) for letter in "ab"]))
    serve.delete("store")
    ray.shutdown()
    print(ray.is_initialized())
