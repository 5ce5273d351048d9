"""What LitServe serves. usage: python -m bench.apps.lit_app APP PORT"""

from __future__ import annotations

import sys
import time
from typing import Any

import litserve


class Hello(litserve.LitAPI):
    """POST /predict answers the quickstart's text."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe reads the types
        return request

    def predict(self, x: Any) -> dict[str, str]:
        return {"result": "Hello world!"}

    def encode_response(self, output: Any) -> Any:
        return output


class Batches(Hello):
    """The same for up to 32 requests at once, in 10 ms."""

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, x: list[Any]) -> Any:
        time.sleep(0.010)
        return [{"result": "Hello world!"}] * len(x)

    def unbatch(self, output: Any) -> Any:
        return output


if __name__ == "__main__":
    app, port = sys.argv[1], int(sys.argv[2])
    api = Hello() if app == "hello" else Batches(max_batch_size=32, batch_timeout=0.01)
    litserve.LitServer(
        api, accelerator="cpu", workers_per_device=2 if app == "batch_two" else 1
    ).run(
        host="127.0.0.1",
        port=port,
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
