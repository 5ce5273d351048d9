"""Generated code for echo.proto, made anew for every run, and an instance that serves it."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_tools import protoc

from salver.spec.grpc import gRPCOptions
from tests.doors.grpc.warm import nothing_but_grpcs, warm
from tests.real.rig import Journal, Running

HERE = Path(__file__).parent
SERVICES = [
    "echo_pb2_grpc.add_EchoServicer_to_server",
    "echo_pb2_grpc:add_CounterServicer_to_server",
]


# Before the tests are imported, which import what is generated.
GENERATED = tempfile.mkdtemp(prefix="salver-protos-")


def pytest_unconfigure() -> None:
    """Not at the interpreter's exit: processes of pytest-xdist have none."""
    shutil.rmtree(GENERATED, ignore_errors=True)


def _generate() -> None:
    out = [f"--python_out={GENERATED}", f"--grpc_python_out={GENERATED}"]
    assert protoc.main(["protoc", f"-I{HERE}", *out, str(HERE / "echo.proto")]) == 0
    sys.path.insert(0, GENERATED)


_generate()
warm()


@pytest.fixture
def _no_leaks() -> None:
    """An instance serves a whole module here; what it leaves is looked at after its end."""


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """An instance with a gRPC door for both services."""
    with (
        nothing_but_grpcs(),
        Running.start(grpc=gRPCOptions(port=0, grpc_servicer_functions=SERVICES)) as running,
    ):
        yield running


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(tmp_path)
    yield journal
    journal.close()


@pytest.fixture(scope="module")
def apps() -> Any:
    """The programs of this folder. To type checkers a decorated class is the class still."""
    return import_module("tests.doors.grpc.apps")


@pytest.fixture(scope="module")
def address(running: Running, apps: Any) -> str:
    """Where two apps answer: `speaker` and `threaded`."""

    async def deploy() -> None:
        await running.deploy(apps.Speaker.bind(), "speaker", "/speaker")
        await running.deploy(apps.Threaded.bind(), "threaded", None)

    asyncio.run(deploy())
    return running.instance.grpc_address


@pytest_asyncio.fixture
async def channel(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """An asyncio channel to the door."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel
