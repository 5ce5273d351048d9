"""Composition, FastAPI, streaming, batching, user_config: as a Ray Serve program has it."""

import asyncio

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle, DeploymentResponse
from starlette.responses import StreamingResponse

api = FastAPI()


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.1})
class Adder:
    def __init__(self, increment: int):
        self.increment = increment

    def add(self, number: int) -> int:
        return number + self.increment


@serve.deployment(user_config={"factor": 3})
class Multiplier:
    def reconfigure(self, config):
        self.factor = config["factor"]

    @serve.batch(max_batch_size=4, batch_wait_timeout_s=0.01)
    async def multiply(self, numbers: list[int]) -> list[int]:
        return [number * self.factor for number in numbers]


@serve.deployment
@serve.ingress(api)
class Calculator:
    def __init__(self, adder: DeploymentHandle, multiplier: DeploymentHandle):
        self.adder = adder
        self.multiplier = multiplier

    @api.get("/calculate/{number}")
    async def calculate(self, number: int) -> dict:
        added: DeploymentResponse = self.adder.add.remote(number)
        return {
            "result": await self.multiplier.multiply.remote(added),
            "app": serve.get_replica_context().app_name,
        }

    @api.get("/count")
    def count(self) -> StreamingResponse:
        async def numbers():
            for number in range(3):
                yield f"{number} "
                await asyncio.sleep(0)

        return StreamingResponse(numbers(), media_type="text/plain")

    @api.get("/where")
    def where(self) -> dict:
        context = ray.get_runtime_context()
        return {"replica": context.get_actor_id() is not None, "gpus": ray.get_gpu_ids()}


def build(args: dict) -> Application:
    return Calculator.bind(Adder.bind(int(args["increment"])), Multiplier.bind())


app = Calculator.bind(Adder.bind(2), Multiplier.bind())
