"""A Prometheus server of a test's own."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.real.rig import PATIENCE_S

__all__ = ("Prometheus",)


class Handler(BaseHTTPRequestHandler):
    server: Prometheus

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        (query,) = parse_qs(url.query)["query"]
        status, answer = self.server.answers[query]
        self.server.heard.append((url.path, self.headers["X-Tenant"]))
        self.server.asked.release()
        assert self.server.go_on.wait(PATIENCE_S)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Prometheus(ThreadingHTTPServer):
    """Answers queries with what a test has written beside them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, tuple[int, Any]] = {}
        self.heard: list[tuple[str, str | None]] = []
        self.asked = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def say(self, query: str, kind: str, result: Any) -> None:
        data = {"resultType": kind, "result": result}
        self.answers[query] = (200, {"status": "success", "data": data})

    def was_asked(self, times: int) -> None:
        for _ in range(times):
            assert self.asked.acquire(timeout=PATIENCE_S)

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join()
