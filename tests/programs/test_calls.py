"""Handles, responses and generators."""

# A class decorator cannot change what a type checker takes the class for.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import pickle
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from salver import serve
from salver.serve.exceptions import RayServeException, RequestCancelledError
from salver.serve.handle import (
    DeploymentHandle,
    DeploymentResponse,
    DeploymentResponseGenerator,
)


class MyError(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


@serve.deployment(max_ongoing_requests=20)
class Callee:
    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.began = asyncio.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    def sync(self, value: Any) -> Any:
        return value

    async def plus(self, value: int, by: int = 1) -> int:
        return value + by

    def fails(self, kind: str) -> None:
        if kind == "value":
            raise ValueError("the callee's own words")
        if kind == "key":
            raise KeyError("k")
        raise MyError(7, "seven")

    def lock(self) -> Any:
        return threading.Lock()

    async def afails(self) -> None:
        raise ZeroDivisionError("async")

    async def forever(self) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def has_begun(self) -> bool:
        await self.began.wait()
        return True

    async def was_cancelled(self) -> bool:
        await self.cancelled.wait()
        self.cancelled.clear()
        self.began.clear()
        return True

    def numbers(self, count: int) -> Iterator[int]:
        yield from range(count)

    async def anumbers(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    async def endless(self) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
                await asyncio.sleep(0)
        finally:
            self.cancelled.set()

    def breaks(self) -> Iterator[int]:
        yield 1
        raise ValueError("mid stream")

    def flags(self, array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
        return array.shape, str(array.dtype), float(array.sum())

    def zeros(self, count: int) -> np.ndarray[Any, Any]:
        return np.zeros(count)


@serve.deployment
class Caller:
    def __init__(self, callee: DeploymentHandle[Any]) -> None:
        self.callee = callee

    async def catches(self) -> str:
        try:
            await self.callee.fails.remote("value")
        except ValueError as error:
            return f"caught {error}"
        return "nothing"

    async def lets_through(self) -> None:
        await self.callee.fails.remote("mine")

    async def chain(self, value: int) -> int:
        first = self.callee.plus.remote(value)
        result: int = await self.callee.plus.remote(first, by=self.callee.plus.remote(10))
        return result

    async def waits(self) -> None:
        await self.callee.forever.remote()

    async def stream(self, count: int) -> AsyncIterator[int]:
        async for item in self.callee.options(stream=True).numbers.remote(count):
            yield item * 2

    async def first_two(self) -> list[int]:
        items = []
        async for item in self.callee.options(stream=True).endless.remote():
            items.append(item)
            if item == 1:
                break
        return items

    def blocking(self, value: int) -> int:
        """`.result()` in a thread of a replica."""
        result: int = self.callee.plus.remote(value).result()
        return result

    async def blocks_the_loop(self) -> None:
        self.callee.plus.remote(1).result()

    async def pass_on(self, handle: DeploymentHandle[Any]) -> int:
        result: int = await handle.plus.remote(40, by=2)
        return result

    async def where(self) -> DeploymentHandle[Any]:
        return self.callee


@pytest.fixture(scope="module")
def handle(door: str) -> DeploymentHandle[Any]:
    return serve.run(Callee.bind(), name="callee", route_prefix=None)


@pytest.fixture(scope="module")
def caller(door: str) -> DeploymentHandle[Any]:
    return serve.run(Caller.bind(Callee.bind()), name="caller", route_prefix=None)


def test_arguments_go_and_results_come(handle: DeploymentHandle[Any]) -> None:
    response = handle.remote(1, "two", x=[3])
    assert isinstance(response, DeploymentResponse)
    assert response.result() == ((1, "two"), {"x": [3]})
    assert response.result() == ((1, "two"), {"x": [3]})
    assert handle.plus.remote(1).result(timeout_s=60) == 2
    assert handle.options(method_name="plus").remote(1, by=2).result() == 3
    assert handle.plus.options(stream=False).remote(1).result() == 2


async def test_a_response_can_be_awaited_many_times(handle: DeploymentHandle[Any]) -> None:
    response = handle.plus.remote(1)
    assert await asyncio.gather(*[_wait(response) for _ in range(5)]) == [2] * 5
    assert await response == 2


async def _wait(response: DeploymentResponse) -> Any:
    return await response


@pytest.mark.parametrize(
    ("kind", "error", "text"),
    [("value", ValueError, "own words"), ("key", KeyError, "k"), ("mine", MyError, "seven")],
)
def test_errors_keep_their_type_and_show_where_they_came_from(
    handle: DeploymentHandle[Any], kind: str, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text) as caught:
        handle.fails.remote(kind).result()
    notes = "".join(caught.value.__notes__)
    assert "in fails" in notes
    assert "test_calls.py" in notes
    if isinstance(caught.value, MyError):
        assert caught.value.code == 7


def test_what_cannot_be_sent_is_told_with_where_it_was_to_go(
    handle: DeploymentHandle[Any],
) -> None:
    with pytest.raises(TypeError, match="cannot pickle") as argument:
        handle.sync.remote(threading.Lock())
    assert "a call by DeploymentHandle(deployment=" in argument.value.__notes__[0]
    assert "method_name='sync'" in argument.value.__notes__[0]
    with pytest.raises(TypeError, match="cannot pickle") as result:
        handle.lock.remote().result(timeout_s=60)
    assert "lock of deployment Callee" in "".join(result.value.__notes__)


async def test_a_loop_may_be_blocked_on_purpose(handle: DeploymentHandle[Any]) -> None:
    with pytest.raises(RuntimeError, match="await response"):
        handle.plus.remote(1).result()
    assert handle.plus.remote(1).result(_skip_asyncio_check=True) == 2


async def test_errors_reach_await_each_time(handle: DeploymentHandle[Any]) -> None:
    response = handle.afails.remote()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="async"):
            await response


def test_errors_can_be_caught_in_a_replica_and_pass_through(caller: DeploymentHandle[Any]) -> None:
    assert caller.catches.remote().result() == "caught the callee's own words"
    with pytest.raises(MyError) as caught:
        caller.lets_through.remote().result()
    assert caught.value.code == 7
    notes = "".join(caught.value.__notes__)
    assert "in lets_through" in notes
    assert "in fails" in notes


def test_a_deadline_is_a_timeout_error(handle: DeploymentHandle[Any]) -> None:
    response = handle.forever.remote()
    with pytest.raises(TimeoutError):
        response.result(timeout_s=0.05)
    assert handle.has_begun.remote().result()
    response.cancel()
    response.cancel()
    assert response.cancelled()
    assert handle.was_cancelled.remote().result(timeout_s=60)
    with pytest.raises(RequestCancelledError):
        response.result()


async def test_a_cancelled_task_cancels_the_call(handle: DeploymentHandle[Any]) -> None:
    task = asyncio.ensure_future(_wait(handle.forever.remote()))
    assert await handle.has_begun.remote()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await handle.was_cancelled.remote()


def test_cancel_reaches_the_calls_that_the_call_made(caller: DeploymentHandle[Any]) -> None:
    callee = serve.get_deployment_handle("Callee", "caller")
    response = caller.waits.remote()
    assert callee.has_begun.remote().result(timeout_s=60)
    response.cancel()
    assert callee.was_cancelled.remote().result(timeout_s=60)


def test_cancel_of_what_is_done_changes_nothing(handle: DeploymentHandle[Any]) -> None:
    response = handle.plus.remote(1)
    assert response.result() == 2
    response.cancel()
    assert response.result() == 2


def test_responses_are_arguments_of_their_own(handle: DeploymentHandle[Any]) -> None:
    one = handle.plus.remote(1)
    assert handle.plus.remote(one, by=handle.plus.remote(one)).result() == 5
    with pytest.raises(RayServeException, match="nested"):
        handle.plus.remote([one])
    failed = handle.fails.remote("value")
    with pytest.raises(ValueError, match="own words"):
        handle.plus.remote(failed).result()


def test_responses_are_arguments_in_replicas(caller: DeploymentHandle[Any]) -> None:
    assert caller.chain.remote(1).result() == 13


def test_a_generator_is_no_argument(handle: DeploymentHandle[Any]) -> None:
    stream = handle.options(stream=True).numbers.remote(3)
    with pytest.raises(RuntimeError, match="Generator"):
        handle.plus.remote(stream)
    stream.cancel()


@pytest.mark.parametrize("method", ["numbers", "anumbers"])
def test_streams_are_iterated_over(handle: DeploymentHandle[Any], method: str) -> None:
    stream = getattr(handle.options(stream=True), method).remote(500)
    assert isinstance(stream, DeploymentResponseGenerator)
    assert next(stream) == 0
    assert list(stream) == list(range(1, 500))
    with pytest.raises(StopIteration):
        next(stream)
    assert getattr(handle, method).options(stream=True).remote(0).__next__ is not None


@pytest.mark.parametrize("method", ["numbers", "anumbers"])
async def test_streams_are_iterated_over_on_a_loop(
    handle: DeploymentHandle[Any], method: str
) -> None:
    stream = getattr(handle.options(stream=True), method).remote(500)
    assert await anext(stream) == 0
    assert [item async for item in stream] == list(range(1, 500))
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_stream_is_neither_awaited_nor_asked_for_a_result(
    handle: DeploymentHandle[Any],
) -> None:
    stream = handle.options(stream=True).numbers.remote(10_000)
    with pytest.raises(TypeError):
        await stream
    with pytest.raises(TypeError):
        stream.result()
    assert stream.request_id
    assert not stream.cancelled()
    stream.cancel()
    assert stream.cancelled()


def test_a_stream_passes_through_a_replica(caller: DeploymentHandle[Any]) -> None:
    assert list(caller.options(stream=True).stream.remote(100)) == [n * 2 for n in range(100)]


def test_leaving_a_stream_ends_it_at_the_callee(handle: DeploymentHandle[Any]) -> None:
    for item in handle.options(stream=True).endless.remote():
        if item == 5:
            break
    assert handle.was_cancelled.remote().result(timeout_s=60)


async def test_leaving_a_stream_on_a_loop_ends_it_at_the_callee(
    handle: DeploymentHandle[Any],
) -> None:
    async for item in handle.options(stream=True).endless.remote():
        if item == 5:
            break
    assert await handle.was_cancelled.remote()


def test_leaving_a_stream_in_a_replica_ends_it_at_the_callee(
    caller: DeploymentHandle[Any],
) -> None:
    assert caller.first_two.remote().result() == [0, 1]
    callee = serve.get_deployment_handle("Callee", "caller")
    assert callee.was_cancelled.remote().result(timeout_s=60)


def test_an_error_in_a_stream_comes_after_what_was_yielded(handle: DeploymentHandle[Any]) -> None:
    stream = handle.options(stream=True).breaks.remote()
    assert next(stream) == 1
    with pytest.raises(ValueError, match="mid stream"):
        next(stream)


def test_generators_and_plain_methods_are_told_apart(handle: DeploymentHandle[Any]) -> None:
    with pytest.raises(TypeError, match="stream=True"):
        handle.numbers.remote(3).result()
    with pytest.raises(TypeError, match="stream"):
        list(handle.options(stream=True).plus.remote(3))


def test_a_missing_method_is_named_with_those_there_are(handle: DeploymentHandle[Any]) -> None:
    with pytest.raises(RayServeException, match=r"'nope'.*Available methods: \[.*'plus'"):
        handle.nope.remote().result()


def test_wrong_arguments_are_the_function_s_own_type_error(handle: DeploymentHandle[Any]) -> None:
    with pytest.raises(TypeError, match=r"plus\(\).*'nope'"):
        handle.plus.remote(1, nope=2).result()


def test_unknown_options_are_refused(handle: DeploymentHandle[Any]) -> None:
    with pytest.raises(TypeError, match="metod_name"):
        handle.options(metod_name="x")
    with pytest.raises(ValueError, match="request_serialization"):
        handle.options(request_serialization="xml")


@pytest.mark.parametrize(
    "options",
    [
        {"_by_reference": False},
        {"_prefer_local_routing": True},
        {"request_serialization": "msgpack"},
        {"response_serialization": "orjson"},
    ],
    ids=str,
)
def test_options_of_places_and_transports_change_nothing(
    handle: DeploymentHandle[Any], options: dict[str, Any]
) -> None:
    """There is one place, and one transport: every value arrives as it was."""
    assert handle.plus.options(**options).remote(1, by=2).result() == 3
    assert handle.sync.options(**options).remote({1: (2,)}).result() == {1: (2,)}


async def test_a_replica_is_chosen_first_and_called_later(handle: DeploymentHandle[Any]) -> None:
    async with handle.choose_replica(1, by=2) as replica:
        assert replica.replica_id.startswith("callee#Callee#")
        assert await handle.plus.dispatch(replica, 1, by=2) == 3
    async with handle.choose_replica() as replica:
        stream = handle.options(stream=True, method_name="numbers").dispatch(replica, 3)
        assert [item async for item in stream] == [0, 1, 2]
    async with handle.choose_replica() as replica:
        assert await handle.plus.dispatch(replica, handle.plus.remote(1)) == 3


async def test_a_replica_is_called_as_it_was_chosen_for(handle: DeploymentHandle[Any]) -> None:
    async with handle.plus.choose_replica(1, by=2) as replica:
        assert await handle.dispatch(replica, 1, by=2) == 3
    async with handle.options(stream=True).numbers.choose_replica(3) as replica:
        assert [item async for item in handle.dispatch(replica, 3)] == [0, 1, 2]


def test_the_call_method_has_a_name_as_others_have(handle: DeploymentHandle[Any]) -> None:
    assert handle.plus.__call__.remote(1).result() == handle.remote(1).result()
    assert not callable(handle)


async def test_a_chosen_replica_says_where_it_is(handle: DeploymentHandle[Any]) -> None:
    async with handle.choose_replica() as replica:
        fields = replica.to_dict()
        assert fields == {name: getattr(replica, name) for name in fields}
        assert (replica.node_ip, replica.node_id) == ("127.0.0.1", "")
        assert (replica.port, replica.availability_zone) == (None, None)
        assert replica.address.startswith("unix:")
        assert replica.replica_metadata == {}


def test_every_replica_is_called(handle: DeploymentHandle[Any]) -> None:
    assert handle.broadcast("plus", 1, by=4).results(timeout_s=60) == [5]
    assert asyncio.run(handle.broadcast("plus", 1).results_async(timeout_s=60)) == [2]
    assert handle.broadcast("plus", handle.plus.remote(1)).results() == [3]
    with pytest.raises(ZeroDivisionError):
        handle.broadcast("afails").results()
    (error,) = handle.broadcast("afails").results(return_exceptions=True)
    assert isinstance(error, ZeroDivisionError)
    hanging = handle.broadcast("forever")
    with pytest.raises(TimeoutError):
        hanging.results(timeout_s=0.01)
    hanging.cancel()  # or else the end of the instance waits for it


def test_a_handle_is_set_up_before_it_is_used(handle: DeploymentHandle[Any]) -> None:
    fresh = pickle.loads(pickle.dumps(handle))
    assert not fresh.is_initialized
    with pytest.raises(TypeError, match="no option 'locally'"):
        fresh._init(locally=True)
    fresh._init(_prefer_local_routing=True)
    assert fresh.is_initialized
    with pytest.raises(RuntimeError, match="in use already"):
        fresh._init()
    assert fresh.plus.remote(1).result() == 2
    fresh.shutdown()
    assert not fresh.is_initialized
    assert fresh.plus.remote(1).result() == 2
    asyncio.run(fresh.shutdown_async())
    assert not fresh.is_initialized


def test_there_are_no_objects_of_ray(handle: DeploymentHandle[Any]) -> None:
    response, stream = handle.plus.remote(1), handle.options(stream=True).numbers.remote(1)
    for refused in (response._to_object_ref, response._to_object_ref_sync,
                    stream._to_object_ref_gen, stream._to_object_ref_gen_sync):  # fmt: skip
        with pytest.raises(NotImplementedError, match="no objects of Ray's"):
            refused()
    assert response.by_reference
    assert response.result() == 2
    assert list(stream) == [0]


def test_what_a_handle_is(handle: DeploymentHandle[Any]) -> None:
    assert (handle.deployment_name, handle.app_name) == ("Callee", "callee")
    assert handle.deployment_id.name == "Callee"
    handle.plus.remote(1).result()
    assert handle.is_initialized
    assert handle.running_replicas_populated()


def test_every_call_has_an_id_of_its_own(handle: DeploymentHandle[Any]) -> None:
    one, two = handle.plus.remote(1), handle.plus.remote(1)
    assert one.request_id
    assert one.request_id != two.request_id
    assert one.request_id == one.request_id


def test_arrays_of_any_size_go_both_ways(handle: DeploymentHandle[Any]) -> None:
    for count in (10, 1_000_000):
        array = np.arange(count, dtype=np.float32)
        shape, kind, total = handle.flags.remote(array).result()
        assert (tuple(shape), kind) == ((count,), "float32")
        assert total == pytest.approx(float(array.sum()))
        back = handle.zeros.remote(count).result()
        assert back.shape == (count,)
        assert not back.any()
        through = handle.flags.remote(handle.zeros.remote(count)).result()
        assert tuple(through[0]) == (count,)


def test_threads_share_a_handle(handle: DeploymentHandle[Any]) -> None:
    def work(number: int) -> int:
        value: int = handle.plus.remote(number).result()
        return value

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(200))) == list(range(1, 201))


def test_loops_in_threads_share_a_handle(handle: DeploymentHandle[Any]) -> None:
    results: list[int] = []

    async def work(number: int) -> None:
        results.extend(await asyncio.gather(*[_wait(handle.plus.remote(number))] * 3))

    threads = [threading.Thread(target=lambda n=n: asyncio.run(work(n))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted([1, 2, 3, 4] * 3)


def test_a_handle_is_pickled_into_another_process(handle: DeploymentHandle[Any]) -> None:
    assert pickle.loads(pickle.dumps(handle)).plus.remote(1).result() == 2
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        assert pool.apply(call_elsewhere, (handle,)) == [42, [0, 1, 2], "ValueError"]


def call_elsewhere(handle: DeploymentHandle[Any]) -> list[Any]:
    """What another process of this machine gets."""
    try:
        handle.fails.remote("value").result()
    except ValueError as error:
        kind = type(error).__name__
    items = list(handle.options(stream=True).numbers.remote(3))
    return [handle.plus.remote(41).result(), items, kind]


def test_handles_are_arguments_and_results(
    caller: DeploymentHandle[Any], handle: DeploymentHandle[Any]
) -> None:
    assert caller.pass_on.remote(handle).result() == 42
    assert caller.where.remote().result().plus.remote(1).result() == 2


def test_result_blocks_a_thread_of_a_replica_and_never_its_loop(
    caller: DeploymentHandle[Any],
) -> None:
    assert caller.blocking.remote(1).result() == 2
    with pytest.raises(RuntimeError, match="await response"):
        caller.blocks_the_loop.remote().result()


def test_remote_returns_at_once(handle: DeploymentHandle[Any]) -> None:
    """A call that never ends could not give its response otherwise."""
    responses = [handle.forever.remote() for _ in range(50)]
    for response in responses:
        response.cancel()
    for response in responses:
        with pytest.raises(RequestCancelledError):
            response.result(timeout_s=60)


def test_a_client_that_hangs_up_cancels(door: str) -> None:
    serve.run(Hanging.bind(Callee.bind()), name="hang", route_prefix="/hang")
    callee = serve.get_deployment_handle("Callee", "hang")
    url = httpx.URL(door)
    assert url.port is not None
    with socket.create_connection((url.host, url.port)) as hangs_up:
        hangs_up.sendall(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n")
        assert callee.has_begun.remote().result(timeout_s=60)
    assert callee.was_cancelled.remote().result(timeout_s=60)
    serve.delete("hang")


@serve.deployment
class Hanging:
    def __init__(self, callee: DeploymentHandle[Any]) -> None:
        self.callee = callee

    async def __call__(self, request: Any) -> None:
        await self.callee.forever.remote()


class Methods:
    """Far more of them than a connection has numbers for."""


def add(number: int) -> None:
    setattr(Methods, f"m{number}", lambda _self, load: (number, len(load)))


for each in range(1500):
    add(each)


@pytest.mark.parametrize("limit", [1, 200])
def test_methods_without_number_are_all_called_by_their_own_names(
    door: str,
    limit: int,
) -> None:
    many = serve.deployment(max_ongoing_requests=limit)(Methods)
    handle = serve.run(many.bind(), name="many", route_prefix=None)
    loads = [b"x" * (1 << 21 if number % 300 == 0 else 1) for number in range(1500)]
    responses = [
        handle.options(method_name=f"m{number}").remote(load) for number, load in enumerate(loads)
    ]
    assert [response.result(timeout_s=60) for response in responses] == [
        (number, len(load)) for number, load in enumerate(loads)
    ]
    assert handle.m3.remote(b"").result() == (3, 0)
    serve.delete("many")
