"""Calls from one plain Ray actor to another, without Ray Serve.

usage: python -m bench.apps.ray_actors PORT

GET /?inflight=K&seconds=N runs the same closed loop as the handle case and answers the figures.
"""

from __future__ import annotations

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import ray

from bench.apps.closed_loop import closed_loop
from bench.apps.ray_start import start_ray


@ray.remote(num_cpus=0.1, max_concurrency=1000)
class Echo:
    """What is called."""

    async def echo(self, data: bytes) -> bytes:
        return data


@ray.remote(num_cpus=0.1)
class Caller:
    """Who calls."""

    async def measure(self, echo: Any, inflight: int, seconds: float) -> dict[str, float]:
        return await closed_loop(echo.echo.remote, inflight, seconds)


class Door(BaseHTTPRequestHandler):
    """One request at a time is enough: the load is between the actors."""

    echo: Any
    caller: Any

    def do_GET(self) -> None:
        """Run the loop and answer its figures."""
        query = parse_qs(urlsplit(self.path).query)
        inflight = int(query.get("inflight", ["1"])[0])
        seconds = float(query.get("seconds", ["0.05"])[0])
        figures = ray.get(self.caller.measure.remote(self.echo, inflight, seconds))
        body = json.dumps(figures).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def main() -> None:
    """Answer until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        start_ray()
        Door.echo, Door.caller = Echo.remote(), Caller.remote()
        with HTTPServer(("127.0.0.1", int(sys.argv[1])), Door) as server:
            server.serve_forever()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
