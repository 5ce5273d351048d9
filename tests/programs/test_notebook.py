"""A notebook's kernel, as Jupyter runs it: cells, an interrupt, a restart."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.conftest import ROOT

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
APP = """
from fastapi import FastAPI
from salver import serve
import httpx
from salver.api import session

api = FastAPI()
mark = "!"

@serve.deployment(num_replicas=2)
class Words:
    def say(self, word):
        return word + mark

    def count(self, number):
        yield from range(number)

@serve.deployment
@serve.ingress(api)
class Door:
    def __init__(self, words):
        self.words = words

    @api.get("/")
    async def root(self, word: str) -> str:
        return await self.words.say.remote(word)

handle = serve.run(Door.bind(Words.bind()))
words = serve.get_deployment_handle("Words", "default")
"""
ASK = 'print(httpx.get(session._instance.url, params={"word": "tea"}).json())'
PIDS = (
    "import os, psutil; "
    "print(*(child.pid for child in psutil.Process(os.getpid()).children(recursive=True)))"
)


class Notebook:
    """Runs cells; what they print, and the words of an error."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client

    def run(self, cell: str, *, interrupt: Any = None) -> str:
        """What it printed or evaluated to; `interrupt` is called once it has printed `ready`."""
        said: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and content["name"] == "stdout":
                said.append(content["text"])
                if interrupt is not None and "ready" in content["text"]:
                    interrupt()
            elif kind == "execute_result":
                said.append(content["data"]["text/plain"])
            elif kind == "error":
                said.append(f"{content['ename']}: {COLOURS.sub('', content['evalue'])}")

        self._client.execute_interactive(cell, output_hook=hear, timeout=60)
        return "".join(said).strip()


@pytest.fixture
def kernel() -> Iterator[KernelManager]:
    with TemporaryDirectory() as folder:  # a socket's path must be short
        yield from running(Path(folder))


def running(folder: Path) -> Iterator[KernelManager]:
    manager = KernelManager(transport="ipc", connection_file=str(folder / "kernel.json"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "SALVER_HTTP_PORT": "0"}
    manager.start_kernel(env=environment, cwd=str(folder))
    try:
        yield manager
    finally:
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


@pytest.fixture
def notebook(kernel: KernelManager) -> Iterator[Notebook]:
    client = kernel.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield Notebook(client)
    finally:
        client.stop_channels()


def test_cells_define_run_call_and_change_apps(notebook: Notebook) -> None:
    assert notebook.run(APP) == ""
    assert notebook.run(ASK) == "tea!"
    assert notebook.run('await words.say.remote("cup")') == "'cup!'"
    assert notebook.run("[x async for x in words.options(stream=True).count.remote(3)]") == (
        "[0, 1, 2]"
    )
    assert notebook.run('words.say.remote("x").result()').startswith(
        "RuntimeError: `response.result()` blocks, and an event loop runs in this thread"
    )
    assert notebook.run(APP.replace('"!"', '"?"')) == ""
    assert notebook.run(ASK) == "tea?"
    assert notebook.run("serve.shutdown(); serve.status().applications") == "{}"


def test_an_interrupted_cell_leaves_the_app_running(
    notebook: Notebook, kernel: KernelManager
) -> None:
    notebook.run(APP)
    waits = 'import threading; print("ready"); threading.Event().wait()'
    said = notebook.run(waits, interrupt=kernel.interrupt_kernel)
    assert said.splitlines() == ["ready", "KeyboardInterrupt:"]
    assert notebook.run(ASK) == "tea!"


def test_a_restarted_kernel_leaves_nothing(notebook: Notebook, kernel: KernelManager) -> None:
    notebook.run(APP)
    started = []
    for pid in notebook.run(PIDS).split():
        with suppress(psutil.NoSuchProcess):
            started.append(psutil.Process(int(pid)))
    assert len(started) > 3
    kernel.restart_kernel(now=True)
    _, living = psutil.wait_procs(started, timeout=60)
    assert living == []
