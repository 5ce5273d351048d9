"""When a client calls by shared memory, when not, and what happens when that way ends."""

# A class decorator cannot change what a type checker takes the class for.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import pytest

import salver
from salver import serve
from salver.api import session
from salver.client import Client, ClientError, DeadlineError, InputError, UnavailableError
from salver.client import local as local_module
from salver.client.local import LocalInstance
from salver.doors.oip import ProtocolRoute
from salver.wire import mapping
from tests.client.conftest import is_local
from tests.doors.grpc.warm import warm


@salver.deployment(max_ongoing_requests=1, max_queued_requests=1)
class Slow:
    @salver.endpoint
    async def wait(self, x: Annotated[np.ndarray, salver.Field("FP32", (-1,))], s: float) -> Any:
        await asyncio.sleep(s)
        return x


@salver.deployment
class Double:
    @salver.endpoint(name="Slow")
    def double(self, x: Annotated[np.ndarray, salver.Field("FP32", (-1,))], s: float) -> Any:
        return x * 2


@pytest.fixture(autouse=True)
def _nothing_runs() -> Iterator[None]:
    yield
    serve.shutdown()


def url() -> str:
    assert session._instance is not None
    return session._instance.url


def test_a_call_that_is_given_up_frees_its_place_and_the_client_goes_on() -> None:
    serve.start(http_options={"port": 0})
    serve.run(Slow.bind())
    x = np.ones(100_000, np.float32)
    with Client(url(), timeout=60) as client:
        model = client.model("Slow")
        assert np.array_equal(model(x, 0), x)
        assert is_local(client)
        with pytest.raises(DeadlineError):
            model.infer({"x": x, "s": 600}, timeout=0.3)
        assert np.array_equal(model(x, 0), x)


def test_calls_of_any_size_go_without_http(monkeypatch: pytest.MonkeyPatch) -> None:
    serve.start(http_options={"port": 0})
    serve.run(Double.bind())
    with Client(url(), timeout=60) as client:
        model = client.model("Slow")
        model(np.ones(1, np.float32), 0)
        transport: Any = client._calling.transport
        monkeypatch.setattr(transport._pool, "open", None)
        for size in (0, 1, 10_000, 100_000, 20_000_000):  # the last is more than a slab holds
            assert np.array_equal(model(np.ones(size, np.float32), 0), np.full(size, 2, np.float32))
        with pytest.raises(InputError) as caught:
            model.infer({"x": [1.0], "s": 0}, outputs=["other"])
        assert caught.value.status == 400
        assert transport._local._door.in_flight == 0


def test_a_model_that_is_replaced_is_known_anew() -> None:
    serve.start(http_options={"port": 0})
    serve.run(Slow.bind())
    x = np.ones(3, np.float32)
    with Client(url(), timeout=60) as client:
        model = client.model("Slow")
        assert model(x, 0).tolist() == [1, 1, 1]
        serve.run(Double.bind())
        until_doubled(model, x)
        assert is_local(client)


def until_doubled(model: Any, x: Any) -> None:
    """Call until the other deployment answers: of what is new only doors are waited for."""
    while (seen := model(x, 0).tolist()) == [1, 1, 1]:
        pass
    assert seen == [2, 2, 2]


def test_what_goes_to_a_model_that_has_just_gone_goes_by_http(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve.start(http_options={"port": 0})
    serve.run(Slow.bind())
    x = np.ones(3, np.float32)
    known = LocalInstance.route_of
    first: list[ProtocolRoute | None] = []

    def stale(instance: LocalInstance, model: str, version: str) -> ProtocolRoute | None:
        first.append(known(instance, model, version))
        return first[0]

    monkeypatch.setattr(LocalInstance, "route_of", stale)
    with Client(url(), timeout=60) as client:
        model = client.model("Slow")
        assert model(x, 0).tolist() == [1, 1, 1]
        serve.run(Double.bind())
        until_doubled(model, x)
        assert first[0] is not None


def test_an_instance_that_ends_is_unavailable_and_the_next_one_there_is_found() -> None:
    serve.start(http_options={"port": 0})
    serve.run(Slow.bind())
    where = url()
    port = int(where.rpartition(":")[2])
    x = np.ones(3, np.float32)
    with Client(where, timeout=60, retries=0) as client:
        model = client.model("Slow")
        assert model(x, 0).tolist() == [1, 1, 1]
        serve.shutdown()
        with pytest.raises(UnavailableError):
            model(x, 0)
        serve.start(http_options={"port": port})
        serve.run(Double.bind())
        assert model(x, 0).tolist() == [2, 2, 2]
        assert model(x, 0).tolist() == [2, 2, 2]
        assert is_local(client)


def test_a_server_under_a_root_path_is_called_by_memory_too() -> None:
    serve.start(http_options={"port": 0, "root_path": "/root"})
    serve.run(Double.bind())
    with Client(url() + "/root", timeout=60) as client:
        assert client.model("Slow")(np.ones(2, np.float32), 0).tolist() == [2, 2]
        assert is_local(client)


def test_headers_go_along() -> None:
    @salver.deployment
    class Tells:
        @salver.endpoint
        def tell(self, x: int) -> str:
            return serve.get_multiplexed_model_id()

    serve.start(http_options={"port": 0})
    serve.run(Tells.bind())
    headers = {"serve_multiplexed_model_id": "cat"}
    for local in (True, False):
        with Client(url(), timeout=60, local=local, headers=headers) as client:
            assert client.model("Tells")(1) == "cat"
            assert is_local(client) == local


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_a_forked_process_goes_on_with_links_of_its_own() -> None:
    serve.start(http_options={"port": 0})
    serve.run(Double.bind())
    with Client(url(), timeout=60) as client:
        model = client.model("Slow")
        assert model(np.ones(2, np.float32), 0).tolist() == [2, 2]
        pid = os.fork()
        if pid == 0:  # the child says by its exit code what it saw
            code = 1
            with contextlib.suppress(Exception):
                code = 0 if model(np.ones(2, np.float32), 0).tolist() == [2, 2] else 2
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert model(np.ones(2, np.float32), 0).tolist() == [2, 2]


def test_lent_memory_is_given_back_as_soon_as_nobody_looks_at_it() -> None:
    def leases() -> int:
        return sum(issubclass(type(found), mapping._Lease) for found in gc.get_objects())

    serve.start(http_options={"port": 0})
    serve.run(Double.bind())
    x = np.ones(100_000, np.float32)
    gc.disable()
    try:
        with Client(url(), timeout=60) as client:
            model = client.model("Slow")
            for _ in range(3):
                kept = model(x, 0)
            while leases() > 1:  # but that of `kept`
                pass
            assert kept[0] == 2
            del kept
            while leases():
                pass
    finally:
        gc.enable()


def test_calls_and_streams_by_grpc_have_deadlines_too() -> None:
    warm()
    serve.start(http_options={"port": 0}, grpc_options={"port": 0, "inference": True})
    serve.run(Slow.options(max_ongoing_requests=2).bind())
    assert session._instance is not None
    x = np.ones(2, np.float32)
    with Client(f"grpc://{session._instance.grpc_address}", timeout=60) as client:
        model = client.model("Slow")
        assert model(x, 0).tolist() == [1, 1]
        with pytest.raises(DeadlineError, match=r"within 0\.3s"):
            model.infer({"x": x, "s": 600}, timeout=0.3)
        with pytest.raises(DeadlineError, match=r"within 0\.3s"):
            list(client.model("Slow", timeout=0.3).stream(x, 600))
        assert model(x, 0).tolist() == [1, 1]


def test_without_grpc_a_client_of_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "salver.client.rpc", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ClientError, match=r"needs grpc.*salver\[grpc\]"):
        Client("grpc://127.0.0.1:1")


def test_where_the_link_cannot_be_opened_calls_go_by_http(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    serve.start(http_options={"port": 0})
    serve.run(Double.bind())
    monkeypatch.setattr(local_module, "find_instance", cannot)
    with Client(url(), timeout=60) as client:
        assert client.model("Slow")(np.ones(2, np.float32), 0).tolist() == [2, 2]
        assert not is_local(client)
