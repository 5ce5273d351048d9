"""Admission, cancellation, draining and the life of a replica."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from salver.calls.context import current_call
from salver.errors import RequestCancelledError, SalverError, TargetError
from salver.replica.batching import batch
from salver.replica.context import current_replica
from salver.spec.app import ImportedCode
from salver.spec.start import Change, Place
from salver.wire import frames
from salver.wire.messages import Meta
from tests.replica.scripted import (
    Rejected,
    ScriptedCaller,
    new_host,
    serving,
    start_spec,
)


class Gate:
    """Methods that wait until they are let go."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.inside = 0
        self.cancelled = 0

    async def wait(self, value: Any = None) -> Any:
        self.inside += 1
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return value

    async def __call__(self, request: Request) -> str:
        return str(await self.wait("done"))


async def _idle(caller: ScriptedCaller) -> None:
    """Let every task take its steps."""
    for _ in range(20):
        await asyncio.sleep(0)


# ---- handle calls


class Calculator:
    def add(self, a: int, b: int = 1) -> int:
        return a + b

    async def add_async(self, a: int, b: int = 1) -> int:
        return a + b

    async def fail(self) -> None:
        raise ZeroDivisionError("by hand")

    def fail_in_thread(self) -> None:
        raise ZeroDivisionError("by hand")

    async def count(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    def count_in_thread(self, n: int) -> Iterator[int]:
        yield from range(n)

    async def array(self, n: int) -> np.ndarray[Any, Any]:
        return np.arange(n)

    def later(self) -> Any:
        return self.add_async(1, 2)

    def where(self) -> int:
        return threading.get_ident()

    async def broken_stream(self) -> AsyncIterator[int]:
        yield 1
        raise ZeroDivisionError

    async def gives_stream(self, n: int) -> Any:
        return self.count(n)


async def test_calls_of_both_kinds() -> None:
    async with serving(Calculator) as caller:
        assert await caller.call("add", 1, b=2) == 3
        assert await caller.call("add_async", 1) == 2
        assert await caller.call("later") == 3
        assert await caller.call("where") != threading.get_ident()


async def test_large_arrays_come_back_as_buffers() -> None:
    async with serving(Calculator) as caller:
        array = await caller.call("array", 100_000)
        assert np.array_equal(array, np.arange(100_000))
        assert caller.conn.sent[-1].parts


async def test_large_arguments_are_read_where_they_lie() -> None:
    async def total(array: Any) -> Any:
        return float(array.sum())

    async with serving(total) as caller:
        assert await caller.call("__call__", np.ones(100_000)) == 100_000


@pytest.mark.parametrize("method", ["fail", "fail_in_thread"])
async def test_errors_keep_their_type_and_show_where_they_come_from(method: str) -> None:
    async with serving(Calculator) as caller:
        with pytest.raises(ZeroDivisionError, match="by hand") as caught:
            await caller.call(method)
        assert f"in {method}" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("method", ["count", "count_in_thread", "gives_stream"])
async def test_items_of_generators_of_both_kinds_come_in_order(method: str) -> None:
    async with serving(Calculator) as caller:
        assert await caller.items(caller.start(method, 10, stream=True)) == list(range(10))


async def test_a_stream_that_breaks_ends_with_the_error() -> None:
    async with serving(Calculator) as caller:
        with pytest.raises(ZeroDivisionError):
            await caller.items(caller.start("broken_stream", stream=True))


@pytest.mark.parametrize("method", ["count", "count_in_thread"])
async def test_a_stream_of_items_waits_for_credit(method: str) -> None:
    async with serving(Calculator) as caller:
        call = caller.start(method, 100, stream=True)
        await caller.conn.until(lambda sent: len(sent) == 64)
        await _idle(caller)
        assert len(caller.conn.sent) == 64
        caller.frame(frames.CREDIT, 0, 64, call)
        assert await caller.items(call) == list(range(100))


async def test_a_generator_called_without_stream_says_what_to_do() -> None:
    async with serving(Calculator) as caller:
        for method in ("count", "count_in_thread", "gives_stream"):
            with pytest.raises(TypeError, match="stream=True"):
                await caller.call(method, 3)


@pytest.mark.parametrize("method", ["add", "add_async"])
async def test_a_plain_method_called_with_stream_says_what_to_do(method: str) -> None:
    async with serving(Calculator) as caller:
        with pytest.raises(TypeError, match="without stream=True"):
            await caller.items(caller.start(method, 1, stream=True))


async def test_a_missing_method_is_named_with_those_that_exist() -> None:
    async with serving(Calculator) as caller:
        with pytest.raises(SalverError, match=r"'nothing'.*Available methods: \[.*'add'.*\]"):
            await caller.call("nothing")
        with pytest.raises(SalverError, match="'__call__'"):
            await caller.call("__call__")
        assert (await caller.get()).status == 500


async def test_wrong_arguments_are_the_functions_own_type_error() -> None:
    async with serving(Calculator) as caller:
        with pytest.raises(TypeError, match="unexpected keyword argument 'c'"):
            await caller.call("add_async", c=1)


# ---- limits


async def test_calls_beyond_the_limit_are_refused_and_called_back_in_order() -> None:
    async with serving(Gate, max_ongoing_requests=2) as caller:
        host = caller.side.host
        second, third = ScriptedCaller(host, "b"), ScriptedCaller(host, "c")
        running = [caller.start("wait"), caller.start("wait")]
        refused = [second.start("wait"), third.start("wait"), second.start("wait")]
        with pytest.raises(Rejected):
            await second.answer(refused[0])
        assert [f.aux for f in second.conn.sent] == [2, 2]
        host.object.target.opened.set()
        await caller.answer(running[0])
        await second.conn.until(lambda sent: sent and sent[-1].type == frames.READY)
        await caller.answer(running[1])
        await third.conn.until(lambda sent: sent and sent[-1].type == frames.READY)
        assert sum(f.type == frames.READY for f in second.conn.sent) == 1
        stats = host.stats()
        assert (stats.calls, stats.rejected, stats.ongoing) == (2, 3, 0)


async def test_who_was_turned_away_hears_of_room_while_its_calls_go_on() -> None:
    """No answer may tell it for long, where its calls are streams."""
    async with serving(Gate, max_ongoing_requests=3) as caller:
        other = ScriptedCaller(caller.side.host, "b")
        others = [other.start("wait") for _ in range(3)]
        with pytest.raises(Rejected):
            await caller.call("wait")
        for call in others:
            other.frame(frames.CANCEL, call_id=call)
            await _idle(caller)
            caller.start("wait")
            await _idle(caller)
        told = [f.aux for f in caller.conn.sent if f.type == frames.READY]
        assert told == [2, 1]  # then it knows that most slots are its own
        assert other.conn.sent == []


async def test_nothing_is_let_in_before_the_object_is_there() -> None:
    host = new_host()
    await host.listen()
    caller = ScriptedCaller(host)
    with pytest.raises(Rejected):
        await caller.call("add", 1)
    await host.start(start_spec(Calculator))
    await caller.conn.until(lambda sent: sent and sent[-1].type == frames.READY)
    assert await caller.call("add", 1) == 2
    await host.stop()


async def test_the_board_tells_which_call_has_begun() -> None:
    """A call that was let in and waits for its turn has not."""
    async with serving(Calculator) as caller:
        call = caller.start("add", 1)
        assert caller.conn.begun < call
        await caller.answer(call)
        assert caller.conn.begun == call


@pytest.mark.parametrize("method", ["add", "add_async", "count", "http"])
async def test_a_call_that_was_taken_back_is_not_run(method: str) -> None:
    """The caller is told that there is room; the slot is free."""
    async with serving(Gate if method == "http" else Calculator) as caller:
        caller.conn.recalled = 1
        if method == "http":
            call = caller.request("GET / HTTP/1.1")
        else:
            call = caller.start(method, 1, stream=method == "count")
        assert call == 1
        sent = await caller.conn.until(lambda sent: len(sent) == 2)
        assert [(f.type, f.call_id) for f in caller.conn.sent] == [
            (frames.REJECT, call),
            (frames.READY, 0),
        ]
        assert sent
        assert caller.side.host.ongoing == 0


async def test_answers_tell_how_many_calls_are_under_way() -> None:
    async with serving(Gate) as caller:
        for _ in range(3):
            caller.start("wait")
        await _idle(caller)
        caller.side.host.object.target.opened.set()
        await caller.conn.until(lambda sent: len(sent) == 3)
        assert [f.aux for f in caller.conn.sent] == [2, 1, 0]


async def test_large_answers_and_their_slots_wait_while_the_caller_has_too_much_to_take() -> None:
    async with serving(Gate, max_ongoing_requests=3) as caller:
        host, value = caller.side.host, np.arange(50_000)
        calls = [caller.start("wait", bytes(100_000)), caller.start("wait", value)]
        calls.append(caller.start("wait", 3))
        await _idle(caller)
        caller.conn.crowded = True
        host.object.target.opened.set()
        assert await caller.answer(calls[2]) == 3  # a small one passes by
        assert host.ongoing == 2
        caller.frame(frames.CANCEL, call_id=calls[0])
        assert host.ongoing == 1
        value[0] = 7  # nothing of what user code does now is seen
        caller.conn.crowded = False
        caller.side.writable(caller.conn)  # type: ignore[arg-type]
        assert (await caller.answer(calls[1]))[:2].tolist() == [0, 1]
        assert host.ongoing == 0
        assert [f.call_id for f in caller.conn.sent] == [calls[2], calls[1]]


async def test_an_answer_that_waits_is_dropped_with_its_caller() -> None:
    async with serving(Gate) as caller:
        host = caller.side.host
        caller.conn.crowded = True
        host.object.target.opened.set()
        caller.start("wait", bytes(100_000))
        await _idle(caller)
        assert (host.ongoing, caller.conn.sent) == (1, [])
        caller.side.closed(caller.conn, None)  # type: ignore[arg-type]
        assert host.ongoing == 0


# ---- cancellation


@pytest.mark.parametrize("http", [False, True])
async def test_cancel_reaches_the_handler_and_frees_the_slot(http: bool) -> None:
    async with serving(Gate) as caller:
        host = caller.side.host
        call = caller.request("GET / HTTP/1.1") if http else caller.start("wait")
        await _idle(caller)
        caller.frame(frames.CANCEL, call_id=call)
        await _idle(caller)
        assert host.object.target.cancelled == 1
        assert host.ongoing == 0
        assert caller.conn.sent == []


@pytest.mark.parametrize("http", [False, True])
async def test_a_call_cancelled_before_its_first_step_never_runs(http: bool) -> None:
    async with serving(Gate) as caller:
        host = caller.side.host
        call = caller.request("GET / HTTP/1.1") if http else caller.start("wait")
        caller.frame(frames.CANCEL, call_id=call)
        await _idle(caller)
        assert (host.object.target.inside, host.ongoing) == (0, 0)


class Pages:
    async def __call__(self, request: Request) -> AsyncIterator[str]:
        yield "page"


async def test_a_stream_cancelled_before_its_first_step_leaves_nothing_unawaited() -> None:
    async with serving(Pages) as caller:
        call = caller.request("GET / HTTP/1.1")
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            caller.frame(frames.CANCEL, call_id=call)
            await _idle(caller)
            gc.collect()
        assert [str(warning.message) for warning in seen] == []
        assert caller.side.host.ongoing == 0


async def test_cancel_reaches_the_calls_that_the_call_has_made() -> None:
    cancelled = asyncio.Event()

    class Child:
        def cancel(self) -> None:
            cancelled.set()

    async def parent() -> None:
        call = current_call.get()
        assert call is not None
        call.children.add(Child())
        await asyncio.Event().wait()

    async with serving(parent) as caller:
        call = caller.start("__call__")
        await _idle(caller)
        caller.frame(frames.CANCEL, call_id=call)
        await cancelled.wait()


async def test_a_thread_keeps_its_slot_until_it_returns() -> None:
    go, begun = threading.Event(), threading.Event()

    def handler() -> str:
        begun.set()
        go.wait(60)
        return "late"

    async with serving(handler, max_ongoing_requests=1) as caller:
        call = caller.start("__call__")
        await asyncio.to_thread(begun.wait, 60)
        caller.frame(frames.CANCEL, call_id=call)
        with pytest.raises(Rejected):
            await caller.call("__call__")
        go.set()
        await caller.conn.until(lambda sent: sent and sent[-1].type == frames.READY)
        assert not any(f.call_id == call for f in caller.conn.sent)


async def test_a_generator_in_a_thread_is_closed_when_nobody_listens() -> None:
    closed = threading.Event()

    def handler() -> Iterator[int]:
        try:
            n = 0
            while True:
                n += 1
                yield n
        finally:
            closed.set()

    async with serving(handler) as caller:
        call = caller.start("__call__", stream=True)
        await caller.conn.until(lambda sent: len(sent) >= 64)
        caller.frame(frames.CANCEL, call_id=call)
        assert await asyncio.to_thread(closed.wait, 60)


@pytest.mark.parametrize("http", [False, True])
async def test_what_a_thread_returns_to_be_awaited_does_not_begin_once_nobody_waits(
    http: bool,
) -> None:
    go, begun = threading.Event(), threading.Event()
    ran = []

    async def rest() -> None:
        ran.append(1)
        await asyncio.Event().wait()

    def handler() -> Any:
        begun.set()
        go.wait(60)
        return rest()

    async with serving(handler, max_ongoing_requests=1) as caller:
        call = caller.request("GET / HTTP/1.1") if http else caller.start("__call__")
        await asyncio.to_thread(begun.wait, 60)
        caller.frame(frames.CANCEL, call_id=call)
        with pytest.raises(Rejected):
            await caller.call("__call__")
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            go.set()
            freed = caller.conn.until(lambda sent: sent[-1].type == frames.READY)
            await asyncio.wait_for(freed, 5)
            gc.collect()
        assert (ran, seen) == ([], [])


async def test_calls_of_a_caller_that_is_gone_are_cancelled() -> None:
    async with serving(Gate) as caller:
        caller.start("wait")
        caller.request("GET / HTTP/1.1")
        await _idle(caller)
        caller.side.closed(caller.conn, None)  # type: ignore[arg-type]
        await _idle(caller)
        assert caller.side.host.object.target.cancelled == 2
        assert caller.side.host.stats().connections == 0


async def test_code_that_cancels_itself_is_an_error_for_its_caller() -> None:
    async def handler() -> None:
        raise asyncio.CancelledError

    async with serving(handler) as caller:
        with pytest.raises(RequestCancelledError):
            await caller.call("__call__")


# ---- context


async def test_the_context_of_a_call_is_seen_by_both_kinds_of_handlers() -> None:
    class Seen:
        def of_thread(self) -> Any:
            return self._seen()

        async def of_loop(self) -> Any:
            return self._seen()

        def in_stream(self) -> Iterator[Any]:
            yield self._seen()

        def _seen(self) -> Any:
            call, replica = current_call.get(), current_replica.get()
            assert call is not None
            return call.request_id, call.app, call.model_id, replica.deployment

    async with serving(Seen) as caller:
        for method in ("of_thread", "of_loop"):
            assert await caller.call(method, meta=Meta("id", "other", "/r", "m")) == (
                "id",
                "other",
                "m",
                "D",
            )
            assert (await caller.call(method))[1:] == ("app", "", "D")
        [item] = await caller.items(caller.start("in_stream", stream=True, meta=Meta("id")))
        assert item[0] == "id"


async def test_calls_do_not_see_each_others_context() -> None:
    mark: ContextVar[int] = ContextVar("mark", default=0)

    async def handler() -> int:
        found = mark.get()
        mark.set(found + 1)
        return found

    async with serving(handler) as caller:
        assert [await caller.call("__call__") for _ in range(3)] == [0, 0, 0]
        assert current_call.get() is None


async def test_timeouts_and_task_groups_work_before_the_first_await() -> None:
    async def handler() -> str:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        task = asyncio.current_task()
        return task.get_name() if task is not None else ""

    async with serving(handler) as caller:
        assert await caller.call("__call__")


# ---- life


class Recorded:
    """Writes down what happens to it."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log
        replica = current_replica.get()
        log.append(("init", replica.deployment, str(replica.replica_id), replica.rank.rank))

    def reconfigure(self, user_config: Any) -> None:
        self.log.append(("reconfigure", user_config))

    def __call__(self) -> str:
        return "ok"

    def __del__(self) -> None:
        self.log.append("del")


class Broken:
    def __init__(self) -> None:
        raise ValueError("no weights")


class Shared(list[Any]):
    """Is itself after pickling."""

    def __reduce__(self) -> tuple[Any, ...]:
        from tests.replica.scripted import SameObject

        return SameObject(self).__reduce__()


async def test_from_constructor_to_destructor() -> None:
    log = Shared()
    async with serving(Recorded, log, user_config={"a": 1}) as caller:
        assert current_replica.get(None) is None
        host = caller.side.host
        await host.reconfigure(Change(replace(host.options, user_config={"a": 2})))
        await host.reconfigure(Change(replace(host.options, max_ongoing_requests=9)))
        assert (await caller.get()).body == b"ok"
    assert log == [
        ("init", "D", "app#D#1", 0),
        ("reconfigure", {"a": 1}),
        ("reconfigure", {"a": 2}),
        "del",
    ]


async def test_everything_may_be_async() -> None:
    log: list[Any] = []

    class Async:
        async def __init__(self) -> None:  # type: ignore[misc]
            await asyncio.sleep(0)
            log.append(current_replica.get().servable_object is self)

        async def reconfigure(self, config: Any, rank: Any) -> None:
            log.append((config, rank.rank))

        async def check_health(self) -> None:
            log.append("healthy")

        async def __del__(self) -> None:
            log.append("del")

    async with serving(Async, user_config=1) as caller:
        assert log == [True, (1, 0), "healthy"]  # the first check is part of the start
        assert await caller.side.host.check_health(5)
        await caller.side.host.place(Place(rank=3, world_size=4))
    assert log == [True, (1, 0), "healthy", "healthy", (1, 3), "del"]


async def test_a_check_that_takes_too_long_is_told_from_one_that_raises_a_timeout_itself() -> None:
    class Slow:
        ready = True

        async def check_health(self) -> None:
            if not Slow.ready:
                await asyncio.Event().wait()

    async with serving(Slow) as caller:
        Slow.ready = False
        with pytest.raises(SalverError, match=r"^check_health took longer than 0\.01s"):
            await caller.side.host.check_health(0.01)

    class Hasty:
        def check_health(self) -> None:
            raise TimeoutError("the GPU does not answer")

    host = new_host()
    with pytest.raises(TimeoutError, match="the GPU does not answer"):
        await host.start(start_spec(Hasty))
    await host.stop()


async def test_without_a_check_that_a_replica_answers_is_all_that_is_asked() -> None:
    async with serving(Calculator) as caller:
        assert not await caller.side.host.check_health(5)


async def test_a_changed_limit_holds_at_once() -> None:
    async with serving(Calculator, max_ongoing_requests=1) as caller:
        host = caller.side.host
        await host.reconfigure(Change(replace(host.options, max_ongoing_requests=7)))
        assert host.limit == 7


async def test_what_the_constructor_raises_fails_the_start() -> None:
    host = new_host()
    with pytest.raises(ValueError, match="no weights"):
        await host.start(start_spec(Broken))
    await host.stop()


async def test_what_reconfigure_raises_fails_the_start() -> None:
    class Picky:
        def reconfigure(self, config: Any) -> None:
            raise ValueError(config)

    host = new_host()
    with pytest.raises(ValueError, match="bad"):
        await host.start(start_spec(Picky, user_config="bad"))
    await host.stop()


async def test_a_config_that_nothing_takes_is_an_error() -> None:
    host = new_host()
    with pytest.raises(SalverError, match="reconfigure"):
        await host.start(start_spec(Calculator, user_config={"a": 1}))
    await host.stop()


async def test_imported_code_and_code_that_is_not_there() -> None:
    host = new_host()
    await host.start(start_spec(ImportedCode("tests.replica.test_host", "Calculator")))
    assert await ScriptedCaller(host).call("add", 1) == 2
    await host.stop()
    for wrong in (ImportedCode("tests.replica.test_host", "Nobody"),):
        with pytest.raises(TargetError, match="has no 'Nobody'"):
            await new_host().start(start_spec(wrong))


async def test_draining_refuses_new_calls_and_waits_for_old_ones() -> None:
    async with serving(Gate) as caller:
        host = caller.side.host
        call = caller.start("wait", "value")
        await _idle(caller)
        drained = asyncio.create_task(host.drain(60))
        await caller.conn.until(lambda sent: sent and sent[-1].type == frames.GOAWAY)
        with pytest.raises(Rejected):
            await caller.call("wait")
        assert not drained.done()
        host.object.target.opened.set()
        assert await caller.answer(call) == "value"
        assert await drained


async def test_draining_waits_for_background_tasks() -> None:
    go = asyncio.Event()

    async def handler() -> PlainTextResponse:
        return PlainTextResponse("x", background=BackgroundTask(go.wait))

    async with serving(handler) as caller:
        await caller.get()
        drained = asyncio.create_task(caller.side.host.drain(60))
        await _idle(caller)
        assert not drained.done()
        go.set()
        assert await drained


async def test_an_exit_in_a_thread_does_not_end_the_caller() -> None:
    def handler() -> None:
        raise SystemExit(3)

    async with serving(handler) as caller:
        with pytest.raises(SalverError, match="SystemExit: 3"):
            await caller.call("__call__")
        assert (await caller.get()).status == 500


async def test_a_request_that_cannot_be_read_holds_no_slot() -> None:
    async with serving(Gate) as caller:
        with pytest.raises(Exception, match=r"truncated|MessagePack|buffer"):
            caller.frame(frames.REQ, frames.META, 0, 1, b"\x08\0\0\0\xc1 no meta")
        assert caller.side.host.ongoing == 0


class Panic(BaseException):
    """As what is written in Rust raises it."""


class Leaver:
    def __init__(self, how: type[BaseException]) -> None:
        self.how = how

    async def leave(self) -> None:
        raise self.how(3)

    async def items(self) -> AsyncIterator[int]:
        yield 1
        raise self.how(3)

    @batch
    async def together(self, numbers: list[int]) -> list[int]:
        raise self.how(3)

    async def check_health(self) -> None:
        if self.asked:
            raise self.how(3)
        self.asked = True

    asked = False

    async def __call__(self, request: Request) -> str:
        raise self.how(3)


@pytest.mark.parametrize("how", [SystemExit, KeyboardInterrupt, GeneratorExit, Panic])
async def test_what_is_no_exception_ends_its_own_call_only(how: type[BaseException]) -> None:
    told = rf"{how.__name__}: 3"
    async with serving(Leaver, how) as caller:
        for method in ("leave", "together"):
            with pytest.raises(SalverError, match=told):
                await caller.call(method, *([1] if method == "together" else []))
        number = caller.start("items", stream=True)
        with pytest.raises(SalverError, match=told):
            await caller.items(number)
        assert (await caller.get()).status == 500
        with pytest.raises(SalverError, match=told):
            await caller.side.host.check_health(20)
        assert caller.side.host.ongoing == 0


async def test_dunder_methods_are_not_served() -> None:
    async with serving(Calculator) as caller:
        with pytest.raises(SalverError, match="no method '__init__'"):
            await caller.call("__init__")


async def test_the_log_of_a_failed_request_knows_its_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def of_thread() -> None:
        raise ValueError

    async def of_loop() -> None:
        raise ValueError

    seen: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        call = current_call.get()
        seen.append(call.request_id if call is not None else "")
        return True

    logging.getLogger("salver").addFilter(note)
    try:
        for handler in (of_thread, of_loop, Calculator):  # the last has no __call__
            async with serving(handler) as caller:
                await caller.http("GET / HTTP/1.1", meta=Meta("mine"))
    finally:
        logging.getLogger("salver").removeFilter(note)
    assert seen == ["mine"] * 3


async def test_draining_gives_up_after_its_time() -> None:
    async with serving(Gate) as caller:
        caller.start("wait")
        assert not await caller.side.host.drain(0.01)


async def test_stopping_cancels_what_still_runs() -> None:
    async with serving(Gate) as caller:
        caller.start("wait")
        await _idle(caller)
        gate = caller.side.host.object.target
    assert gate.cancelled == 1
    assert caller.conn.closed
