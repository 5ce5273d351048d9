"""Levels, JSON lines, files and the access log of real processes."""

# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import httpx
from starlette.requests import Request

import salver
from salver.build import build
from salver.spec.logging import LoggingConfig
from tests.real.rig import Running


@salver.deployment
class Inner:
    async def work(self) -> None:
        logging.getLogger("ray.serve").debug("inner works")


@salver.deployment
class Outer:
    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.logger = logging.getLogger("salver")

    async def __call__(self, request: Request) -> str:
        self.logger.warning("outer works", extra={"model": "cat"})
        print("printed")
        if request.url.path.endswith("wrong"):
            raise ValueError("wrong")
        await self.inner.work.remote()
        return "done"


def records(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def written(directory: Path) -> list[tuple[str, str]]:
    return [(path.name, path.read_text()) for path in directory.iterdir()]


JSON: dict[str, Any] = {"encoding": "JSON", "log_level": "DEBUG", "enable_access_log": True}


async def test_json_lines_name_their_process_and_their_request(tmp_path: Path) -> None:
    config = LoggingConfig(**JSON, logs_dir=str(tmp_path))
    with Running.start(logging=config) as running:
        await running.deploy(Outer.bind(Inner.bind()), route="/app")
        async with httpx.AsyncClient(base_url=running.instance.url, timeout=60) as client:
            assert (await client.get("/app/x?y=1", headers={"x-request-id": "mine"})).text == "done"
            assert (await client.get("/app/wrong")).status_code == 500
            assert (await client.get("/nothing")).status_code == 404
            assert (await client.get("/-/healthz")).status_code == 200
        # Each process writes when it is its turn: some may still have to when the client is told.
        for line in ("GET /app/x 200 ", "CALL work OK", "Uncaught", "GET /app/wrong 500 "):
            await running.log.until(re.escape(line))
        await running.log.until('"status":"404"')
        text = running.log.text
    assert re.search(r"^\[app#Outer#\w+\] printed$", text, re.MULTILINE)
    mine = [r for r in records(text) if r.get("request_id") == "mine"]
    said = {r["message"].split(" ")[0]: r for r in mine}
    inner, outer, call, got = (said.pop(word) for word in ("inner", "outer", "CALL", "GET"))
    assert said == {}
    assert (inner["deployment"], inner["name"]) == ("Inner", "ray.serve")
    assert (outer["application"], outer["deployment"], outer["model"]) == ("app", "Outer", "cat")
    assert (call["method"], call["path"], call["status"]) == ("CALL", "work", "OK")
    assert (got["path"], got["status"], got["route"]) == ("/app/x", "200", "/app")
    assert got["latency_ms"] > 0
    (failed,) = (r for r in records(text) if r["message"] == "Uncaught exception:")
    assert "ValueError: wrong" in failed["exc_text"]
    assert any(r["message"].startswith("GET /app/wrong 500 ") for r in records(text))
    (refused,) = (r for r in records(text) if r["component_name"] == "ingress" and "path" in r)
    assert (refused["path"], refused["status"]) == ("/nothing", "404")
    files = {name.rpartition("_")[0] or name: text for name, text in written(tmp_path)}
    assert set(files) == {"controller.log", "ingress.log", "replica_app_Outer", "replica_app_Inner"}
    assert any(r["message"] == "inner works" for r in records(files["replica_app_Inner"]))


async def test_a_deployment_s_word_counts_more_than_the_app_s_and_that_more_than_all(
    tmp_path: Path,
) -> None:
    inner = Inner.options(logging_config={"log_level": "DEBUG"})
    app = Outer.bind(inner.bind())
    spec = build(app, "app", "/").with_logging(LoggingConfig(log_level="ERROR"))
    with Running.start() as running:
        await running.deploy(spec)
        async with running.client() as client:
            await client.get("/")
        await running.log.until("inner works")
        text = running.log.text
    assert "outer works" not in text
    assert "GET /" not in text


async def test_a_directory_for_files_that_cannot_be_made_fails_the_app(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    app = Inner.options(
        logging_config={"logs_dir": str(tmp_path / "file")}, max_constructor_retry_count=1
    ).bind()
    with Running.start() as running:
        status = await running.deploy(app)
    assert status.status == "DEPLOY_FAILED"
    assert "cannot be written to" in status.message
