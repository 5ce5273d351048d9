"""A real web server of zips, and zips for it."""

from __future__ import annotations

import io
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

__all__ = ("Server", "zipped")


class Shelf(BaseHTTPRequestHandler):
    """Files by name; each has its content as its version."""

    server: Server

    def do_GET(self) -> None:
        content = self.server.files.get(self.path.partition("?")[0])
        tag = f'"{hash(content)}"'
        status = 404 if content is None else 200
        if self.headers["If-None-Match"] == tag:
            status = 304
        self.server.answers.append(status)
        self.send_response(status)
        if status == 200 and content is not None:
            self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if self.server.cut else content)
        else:
            self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server on the loopback address."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Shelf)
        self.files: dict[str, bytes] = {}
        self.answers: list[int] = []
        self.cut = False  # end before the end
        self.thread = Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()

    def put(self, name: str, content: bytes) -> str:
        """Where it is from now on."""
        self.files[f"/{name}"] = content
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def stop(self) -> None:
        """Serve no more."""
        self.shutdown()
        self.server_close()
        self.thread.join()


def zipped(files: dict[str, str]) -> bytes:
    """A zip of these files: `zipped({"folder/name.py": content})`."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as out:
        for name, content in files.items():
            out.writestr(name, content)
    return packed.getvalue()
