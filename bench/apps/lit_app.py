"""What LitServe serves. usage: python -m bench.apps.lit_app PORT"""

from __future__ import annotations

import sys
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


if __name__ == "__main__":
    litserve.LitServer(Hello(), accelerator="cpu").run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
