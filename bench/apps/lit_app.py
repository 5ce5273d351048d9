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


class Digits(Hello):
    """The network of the digits case, one image at a time or in batches."""

    def setup(self, device: str) -> None:
        from bench.apps.digits import Network

        self.network = Network()

    def decode_request(self, request):  # type: ignore[no-untyped-def]
        return request["pixels"]

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, x: Any) -> Any:
        return self.network.read(x) if self.max_batch_size > 1 else self.network.read([x])[0]

    def unbatch(self, output: Any) -> Any:
        return output


def api_of(app: str) -> litserve.LitAPI:
    """The app of this name, as in salver_app.py."""
    if app == "digits":
        return Digits()
    if app == "digits_batch":
        return Digits(max_batch_size=32, batch_timeout=0.001)
    return Hello() if app == "hello" else Batches(max_batch_size=32, batch_timeout=0.01)


if __name__ == "__main__":
    app, port = sys.argv[1], int(sys.argv[2])
    devices = {"accelerator": "cpu", "workers_per_device": 2 if app == "batch_two" else 1}
    litserve.LitServer(api_of(app), **devices).run(
        host="127.0.0.1",
        port=port,
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
