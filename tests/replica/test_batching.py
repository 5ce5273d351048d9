"""`@batch` in any asyncio program; time is virtual where it matters."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import threading
import traceback
import typing
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import cloudpickle
import numpy as np
import pytest

import salver
from salver.calls.context import CallContext, current_call
from salver.errors import SalverError, twin_of
from salver.serve.context import _get_serve_batch_request_context
from salver.testing.clock import VirtualClock, virtual_loop


def in_virtual_time(main: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    """Run it on a loop that never sleeps; the seconds that passed there."""
    clock = VirtualClock()
    loop = virtual_loop(clock)
    try:
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
    return clock.now


async def together(*calls: Any) -> list[Any]:
    """Results and errors of calls made at the same moment."""
    return list(await asyncio.gather(*calls, return_exceptions=True))


async def settle() -> None:
    """Let every task take its steps."""
    for _ in range(20):
        await asyncio.sleep(0)


class Doubler:
    """Notes its batches; each lasts a second."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.cancelled = 0

    @salver.batch(max_batch_size=4)
    async def double(self, numbers: list[int]) -> list[int]:
        """Twice each."""
        self.batches.append(numbers)
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [2 * number for number in numbers]

    @salver.batch(max_batch_size=4, batch_wait_timeout_s=10)
    async def patient(self, numbers: list[int]) -> list[int]:
        return await Doubler.double.__wrapped__(self, numbers)  # type: ignore[no-any-return]

    @salver.batch(max_batch_size=4, max_concurrent_batches=2)
    async def two_at_once(self, numbers: list[int]) -> list[int]:
        return await Doubler.double.__wrapped__(self, numbers)  # type: ignore[no-any-return]


# ---- when batches run


def test_a_lone_caller_waits_for_nobody() -> None:
    async def main() -> None:
        assert await Doubler().double(3) == 6

    assert in_virtual_time(main) == 1


def test_what_arrives_meanwhile_forms_the_next_batches() -> None:
    doubler = Doubler()

    async def main() -> None:
        first = asyncio.ensure_future(doubler.double(0))
        await settle()
        rest = [doubler.double(number) for number in range(1, 7)]
        assert await together(first, *rest) == [0, 2, 4, 6, 8, 10, 12]

    assert in_virtual_time(main) == 3
    assert doubler.batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_calls_of_one_moment_share_the_first_batch() -> None:
    doubler = Doubler()

    async def main() -> None:
        await together(*(doubler.double(number) for number in range(4)))

    in_virtual_time(main)
    assert doubler.batches == [[0, 1, 2, 3]]


def test_with_a_wait_a_batch_closes_when_the_oldest_has_waited() -> None:
    doubler = Doubler()

    async def main() -> None:
        first = asyncio.ensure_future(doubler.patient(1))
        await asyncio.sleep(9)
        await together(first, doubler.patient(2))

    assert in_virtual_time(main) == 11
    assert doubler.batches == [[1, 2]]


def test_with_a_wait_a_full_batch_runs_at_once() -> None:
    doubler = Doubler()

    async def main() -> None:
        await together(*(doubler.patient(number) for number in range(8)))

    assert in_virtual_time(main) == 2, "the second was full when the first ended"
    assert doubler.batches == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_batches_run_side_by_side_where_they_may() -> None:
    doubler = Doubler()

    async def main() -> None:
        await together(*(doubler.two_at_once(number) for number in range(16)))

    assert in_virtual_time(main) == 2
    assert [len(batch) for batch in doubler.batches] == [4, 4, 4, 4]


def test_the_next_batch_runs_before_the_last_one_s_callers_do() -> None:
    order: list[str] = []

    @salver.batch(max_batch_size=1)
    async def work(items: list[str]) -> list[str]:
        order.append(f"batch {items[0]}")
        await asyncio.sleep(0)
        return items

    async def call(item: str) -> None:
        await work(item)
        order.append(f"caller {item}")

    async def main() -> None:
        await together(call("a"), call("b"))

    in_virtual_time(main)
    assert order == ["batch a", "batch b", "caller a", "caller b"]


def test_nothing_wakes_up_while_nothing_is_due() -> None:
    """One timer for all that wait, and none behind the last of them."""
    doubler = Doubler()

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        calls = [asyncio.ensure_future(doubler.patient(number)) for number in range(3)]
        await settle()
        assert len(loop._scheduled) == 1
        await together(*calls)
        assert [timer for timer in loop._scheduled if not timer.cancelled()] == []

    in_virtual_time(main)


def test_a_timer_that_comes_early_is_not_asked_again() -> None:
    doubler = Doubler()

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        loop._clock_resolution = 0.5  # so much too early may timers be
        call = asyncio.ensure_future(doubler.patient(1))
        await asyncio.sleep(9.6)
        assert await call == 2

    assert in_virtual_time(main) == 10.6


# ---- arguments


@salver.batch
async def power(bases: list[int], exponents: list[int]) -> list[int]:
    return [base**exponent for base, exponent in zip(bases, exponents, strict=True)]


async def test_positional_and_keyword_callers_share_a_batch() -> None:
    calls = (power(2, 3), power(exponents=3, bases=2), power(2, exponents=3))
    assert await together(*calls) == [8, 8, 8]


async def test_defaults_and_keyword_only_arguments_are_lists_too() -> None:
    @salver.batch
    async def scaled(xs: list[int], *, by: Any = 1) -> list[int]:
        return [x * b for x, b in zip(xs, by, strict=True)]

    assert await together(scaled(2), scaled(2, by=5), scaled(by=7, xs=1)) == [2, 10, 7]


async def test_a_wrong_call_hurts_nobody_else() -> None:
    good, wrong = await together(power(2, 3), power(2))
    assert good == 8
    assert isinstance(wrong, TypeError)
    assert str(wrong) == "power(): missing a required argument: 'exponents'"


def test_it_looks_like_a_function_of_single_items() -> None:
    doubler = Doubler()
    assert inspect.iscoroutinefunction(doubler.double)
    assert inspect.iscoroutinefunction(power)
    assert str(inspect.signature(doubler.double)) == "(numbers: 'int') -> 'int'"
    assert doubler.double.__name__ == "double"
    assert doubler.double.__doc__ == "Twice each."
    assert power.__qualname__ == "power"


@pytest.mark.parametrize("annotation", [list, typing.List, "list", "List", "typing.List"])  # noqa: UP006
def test_items_of_a_bare_list_may_be_anything(annotation: Any) -> None:
    async def echo(items):  # type: ignore[no-untyped-def]
        return items

    echo.__annotations__ = {"items": annotation, "return": annotation}
    assert str(inspect.signature(salver.batch(echo))) == "(items: Any) -> Any"


async def test_it_can_be_pickled_by_value() -> None:
    again = pickle.loads(cloudpickle.dumps(power))
    assert await again(2, 3) == 8
    assert again._get_max_batch_size() == 10


# ---- whose queue


def test_each_object_has_a_queue_of_its_own() -> None:
    one, two = Doubler(), Doubler()

    async def main() -> None:
        await together(one.double(1), two.double(2))

    assert in_virtual_time(main) == 1
    assert (one.batches, two.batches) == ([[1]], [[2]])


async def test_objects_that_are_equal_are_still_two() -> None:
    class Same:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

        @salver.batch
        async def who(self, items: list[int]) -> list[int]:
            return [id(self)] * len(items)

    one, two = Same(), Same()
    assert await together(one.who(1), two.who(1)) == [id(one), id(two)]


async def test_a_queue_dies_with_its_object_and_keeps_it_not_alive() -> None:
    class Model:
        @salver.batch
        async def run(self, items: list[int]) -> list[int]:
            return items

    model = Model()
    await model.run(1)
    gone = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()
    assert Model.run.args[0]._queues == {}


async def test_what_was_batched_is_not_kept() -> None:
    class Image:
        pass

    @salver.batch
    async def run(items: list[Any]) -> list[int]:
        return [1] * len(items)

    image = Image()
    gone = weakref.ref(image)
    await run(image)
    gc.disable()
    try:
        del image
        await settle()
        assert gone() is None
    finally:
        gc.enable()


async def test_an_object_without_weak_references_is_refused() -> None:
    class Slotted:
        __slots__ = ()

        @salver.batch
        async def run(self, items: list[int]) -> list[int]:
            return items

    with pytest.raises(TypeError, match="Add '__weakref__' to its __slots__"):
        await Slotted().run(1)


def test_several_loops_one_after_another() -> None:
    doubler = Doubler()
    for number in range(3):
        assert asyncio.run(power(number, 2)) == number**2

        async def main() -> None:
            await doubler.double(1)

        in_virtual_time(main)
    assert len(power.args[0]._queues[None].batchers) == 1, "closed loops are forgotten"


def test_several_loops_at_the_same_time() -> None:
    results: list[int] = []

    def thread(base: int) -> None:
        results.append(asyncio.run(power(base, 2)))

    threads = [threading.Thread(target=thread, args=(base,)) for base in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(results) == [0, 1, 4, 9]


async def test_methods_of_every_kind() -> None:
    class Kinds:
        @classmethod
        @salver.batch
        async def of_class(cls, items: list[int]) -> list[Any]:
            return [(cls, item, len(items)) for item in items]

        @staticmethod
        @salver.batch
        async def static(items: list[int]) -> list[Any]:
            return [(item, len(items)) for item in items]

        @salver.batch
        async def method(self, items: list[int]) -> list[Any]:
            return [(self, item, len(items)) for item in items]

    class Below(Kinds):
        @salver.batch
        async def method(self, items: list[int]) -> list[Any]:
            return list(await together(*(super(Below, self).method(i) for i in items)))

    kinds = Kinds()
    assert await together(Kinds.of_class(1), kinds.of_class(2)) == [
        (Kinds, 1, 2),
        (Kinds, 2, 2),
    ]
    assert await together(Kinds.static(1), kinds.static(2)) == [(1, 2), (2, 2)]
    assert await together(Kinds.method(kinds, 1), kinds.method(2)) == [
        (kinds, 1, 2),
        (kinds, 2, 2),
    ]
    below = Below()
    assert await together(below.method(1), below.method(2)) == [(below, 1, 2), (below, 2, 2)]


async def test_a_classmethod_that_passes_the_class_as_later_pythons_do() -> None:
    class Kinds:
        @salver.batch
        async def of_class(cls, items: list[int]) -> list[Any]:  # noqa: N805
            return [(cls, item) for item in items]

    batched = vars(Kinds)["of_class"]
    batched.args[0].is_method = False
    Kinds.of_class = classmethod(batched)  # type: ignore[assignment]
    assert await batched(Kinds, 1) == (Kinds, 1)


# ---- what is refused when it is decorated


def plain(items: Any, /) -> Any:
    return items


async def no_items() -> list[int]:
    return []


async def any_items(*items: Any) -> list[int]:
    return []


@pytest.mark.parametrize("decorate", [salver.batch, salver.batch(max_batch_size=2)])
@pytest.mark.parametrize(
    ("wrong", "todo"),
    [
        (plain, "make it `async def`"),
        (Doubler, "make it `async def`"),
        (classmethod(plain), "put @batch below @classmethod"),
        (staticmethod(plain), "put @batch below @staticmethod"),
        (8, r"options are given by name: @batch\(max_batch_size=8\)"),
        (power, "it has @batch already"),
        (no_items, "takes no list"),
        (any_items, "Name each parameter"),
    ],
)
def test_wrong_kinds_are_refused(decorate: Any, wrong: Any, todo: str) -> None:
    with pytest.raises(TypeError, match=rf"^@batch.*{todo}"):
        decorate(wrong)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^max_batch_size=0 is not valid"):
        salver.batch(max_batch_size=0)
    with pytest.raises(TypeError, match=r"^'max_batch' is not an option of @batch.*max_batch_size"):
        salver.batch(max_batch=2)  # type: ignore[call-overload]


# ---- results


def gives(results: Any) -> Any:
    @salver.batch
    async def function(items: list[int]) -> Any:
        if isinstance(results, Exception):
            raise results
        return results if items != [0] else [0]

    return function


async def all_of(function: Any, count: int = 3) -> list[Any]:
    return await together(*map(function, range(1, count + 1)))


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([1], "doesn't preserve batch size: it was given 3 items and gave 1 results"),
        ((), "doesn't preserve batch size"),
        (None, "and gave None: expected a list of 3"),
        ("abc", "and gave 'abc': expected a list of 3"),
        ({0: 1, 1: 2, 2: 3}, "expected a list of 3"),
        (np.array(5), "expected a list of 3"),
        (ValueError("broken"), "^broken$"),
    ],
)
async def test_a_batch_gone_wrong_is_an_error_for_all_and_the_next_one_runs(
    results: Any, message: str
) -> None:
    function = gives(results)
    errors = await all_of(function)
    kind = type(results) if isinstance(results, Exception) else SalverError
    assert [type(error) for error in errors] == [kind] * 3
    with pytest.raises(kind, match=message):
        raise errors[2]
    if kind is SalverError:
        assert await function(0) == 0


@pytest.mark.parametrize("results", [(1, 2, 3), np.array([1, 2, 3])])
async def test_results_may_be_any_sequence(results: Any) -> None:
    assert await all_of(gives(results)) == [1, 2, 3]


async def test_an_exception_among_the_results_goes_to_its_caller() -> None:
    good, bad, stop = await all_of(gives([1, KeyError("me"), StopIteration("odd")]))
    assert good == 1
    assert isinstance(bad, KeyError)
    assert bad.args == ("me",)
    assert isinstance(stop, RuntimeError), "asyncio cannot carry a StopIteration"


async def test_every_caller_raises_an_error_of_its_own() -> None:
    one, two, three = await all_of(gives(ValueError("broken")))
    assert len({id(one), id(two), id(three)}) == 3
    depths = {len(traceback.extract_tb(error.__traceback__)) for error in (one, two, three)}
    assert len(depths) == 1, "none grows by what another does"
    again = KeyError("again")
    first, second, _ = await all_of(gives([again, again, 3]))
    assert first is not second


async def test_a_caller_is_told_the_size_that_does_not_fit() -> None:
    @salver.batch(max_batch_size=10, batch_size_fn=sum)
    async def run(items: list[int]) -> list[int]:
        return items

    small, large = await together(run(3), run(11))
    assert small == 3
    assert isinstance(large, RuntimeError)
    assert await run(10) == 10


async def test_a_size_function_that_raises_is_an_error_for_its_caller_only() -> None:
    @salver.batch(max_batch_size=10, batch_size_fn=lambda items: sum(len(item) for item in items))
    async def run(items: list[Any]) -> list[int]:
        return [len(item) for item in items]

    good, bad = await together(run("abc"), run(5))
    assert good == 3
    assert isinstance(bad, TypeError)
    assert await run("ab") == 2


# ---- callers that leave


def test_a_cancelled_caller_leaves_before_the_batch_is_formed() -> None:
    doubler = Doubler()

    async def main() -> None:
        running = asyncio.ensure_future(doubler.double(0))
        await settle()
        calls = [asyncio.ensure_future(doubler.double(number)) for number in (1, 2, 3)]
        await settle()
        calls[1].cancel()
        await asyncio.wait([running, *calls])

    in_virtual_time(main)
    assert doubler.batches == [[0], [1, 3]]
    assert doubler.cancelled == 0


def test_a_running_batch_goes_on_while_one_caller_still_waits() -> None:
    doubler = Doubler()

    async def main() -> None:
        calls = [asyncio.ensure_future(doubler.double(number)) for number in (1, 2)]
        await settle()
        calls[0].cancel()
        assert await calls[1] == 4

    in_virtual_time(main)
    assert doubler.cancelled == 0


def test_a_batch_that_nobody_waits_for_is_cancelled() -> None:
    doubler = Doubler()

    async def main() -> None:
        calls = [asyncio.ensure_future(doubler.double(number)) for number in (1, 2)]
        await settle()
        for call in calls:
            call.cancel()
        assert await doubler.double(3) == 6

    assert in_virtual_time(main) == 1
    assert doubler.cancelled == 1


async def test_the_end_of_a_loop_leaves_no_task_behind() -> None:
    """All tasks are cancelled, waiting calls and running batches in any order."""

    def program() -> None:
        async def main() -> None:
            doubler = Doubler()
            for number in range(20):
                asyncio.get_running_loop().create_task(doubler.double(number))
            await settle()

        asyncio.run(main())

    await asyncio.to_thread(program)


async def test_a_batch_cancelled_before_its_first_step_blocks_nobody() -> None:
    @salver.batch
    async def run(items: list[int]) -> list[int]:
        return items

    call = asyncio.ensure_future(run(1))
    await asyncio.sleep(0)  # it has called; its batch has yet to take its first step
    (batch,) = [task for task in asyncio.all_tasks() if "_begin" in repr(task)]
    batch.cancel()
    assert await call == 1


# ---- streams


class Counter:
    def __init__(self) -> None:
        self.closed = asyncio.Event()

    @salver.batch(max_batch_size=4)
    async def up_to(self, ends: list[int]) -> AsyncIterator[list[Any]]:
        try:
            for step in range(max(ends)):
                yield [step if step < end else StopIteration for end in ends]
                await asyncio.sleep(0)
        finally:
            self.closed.set()

    @salver.batch
    async def forever(self, items: list[int]) -> AsyncIterator[list[int]]:
        try:
            while True:
                yield items
                await asyncio.sleep(0)
        finally:
            self.closed.set()


async def listed(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


async def test_every_caller_has_a_stream_that_ends_in_its_own_time() -> None:
    counter = Counter()
    assert inspect.isasyncgenfunction(counter.up_to)
    streams = await together(*(listed(counter.up_to(end)) for end in (0, 3, 1)))
    assert streams == [[], [0, 1, 2], [0]]


async def test_errors_in_streams_go_where_they_belong() -> None:
    @salver.batch
    async def run(items: list[str]) -> AsyncIterator[list[Any]]:
        yield list(items)
        yield [ValueError("only me") if item == "bad" else item for item in items]
        yield [StopAsyncIteration() if item == "short" else item for item in items]
        raise ZeroDivisionError

    async def read(item: str) -> tuple[list[Any], type[BaseException] | None]:
        got: list[Any] = []
        stream = run(item)
        try:
            async for each in stream:
                got.append(each)  # noqa: PERF401 - kept when the stream fails
        except Exception as error:  # noqa: BLE001 - looked at below
            assert await listed(stream) == [], "after an error comes nothing"
            return got, type(error)
        return got, None

    assert await together(read("bad"), read("short"), read("long")) == [
        (["bad"], ValueError),
        (["short", "short"], None),
        (["long"] * 3, ZeroDivisionError),
    ]


@pytest.mark.parametrize("wrong", [[1], "ab", None])
async def test_a_list_of_the_wrong_kind_ends_all_streams_with_an_error(wrong: Any) -> None:
    @salver.batch
    async def run(items: list[int]) -> AsyncIterator[Any]:
        yield items
        yield wrong

    async def read() -> None:
        await listed(run(1))

    errors = await together(read(), read())
    assert [type(error) for error in errors] == [SalverError] * 2


async def test_a_caller_that_stops_reading_disturbs_nobody() -> None:
    counter = Counter()
    early = counter.up_to(10)

    first, rest = await together(anext(early), listed(counter.up_to(5)))
    await early.aclose()
    assert first == 0
    assert rest == [0, 1, 2, 3, 4]


async def test_a_stream_that_nobody_reads_any_more_is_closed() -> None:
    counter = Counter()
    streams = [counter.forever(number) for number in (1, 2)]
    await together(*(anext(stream) for stream in streams))
    for stream in streams:
        await stream.aclose()
    await counter.closed.wait()
    assert await asyncio.wait_for(anext(counter.forever(3)), 60) == 3, "its permit is free again"


async def test_streams_run_only_so_far_ahead_of_their_slowest_reader() -> None:
    made: list[int] = []

    @salver.batch
    async def run(items: list[int]) -> AsyncIterator[list[int]]:
        for number in range(3000):
            made.append(number)
            yield items

    slow = run(1)
    await anext(slow)
    await settle()
    assert 1000 < len(made) < 1030
    assert len(await listed(slow)) == 2999


# ---- at run time


def test_the_size_can_be_changed_for_one_object_or_for_all() -> None:
    class Model:
        @salver.batch(max_batch_size=8)
        async def run(self, items: list[int]) -> list[int]:
            return [len(items)] * len(items)

    async def main() -> None:
        one, two = Model(), Model()
        one.run.set_max_batch_size(2)
        assert (one.run._get_max_batch_size(), two.run._get_max_batch_size()) == (2, 8)
        assert await together(*map(one.run, range(4))) == [2, 2, 2, 2]
        assert await together(*map(two.run, range(4))) == [4, 4, 4, 4]
        Model.run.set_max_batch_size(1)
        assert await together(*map(two.run, range(2))) == [1, 1]
        assert Model().run._get_max_batch_size() == 1

    in_virtual_time(main)


def test_the_wait_can_be_changed_while_calls_wait_and_from_a_thread() -> None:
    doubler = Doubler()

    async def main() -> None:
        call = asyncio.ensure_future(doubler.patient(1))
        await settle()
        await asyncio.to_thread(doubler.patient.set_batch_wait_timeout_s, None)
        assert doubler.patient._get_batch_wait_timeout_s() is None
        assert await call == 2

    assert in_virtual_time(main) < 10


@pytest.mark.parametrize("wrong", [0, "2", None])
def test_setters_check_what_they_are_given(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="max_batch_size"):
        power.set_max_batch_size(wrong)
    with pytest.raises(ValueError, match="batch_wait_timeout_s"):
        power.set_batch_wait_timeout_s(-1)


# ---- contexts


def test_a_batch_holds_one_model_only_and_knows_its_calls() -> None:
    seen: list[Any] = []

    @salver.batch
    async def run(items: list[int]) -> list[int]:
        ids = [context.request_id for context in _get_serve_batch_request_context()]
        seen.append((salver.get_multiplexed_model_id(), items, ids))
        return items

    async def call(number: int, model: str) -> int:
        current_call.set(CallContext(f"request-{number}", "app", "/", model))
        return int(await run(number))

    async def main() -> None:
        calls = [call(number, "ab"[number % 2]) for number in range(4)]
        assert await together(*calls) == [0, 1, 2, 3]
        assert _get_serve_batch_request_context() == []

    in_virtual_time(main)
    assert seen == [
        ("a", [0, 2], ["request-0", "request-2"]),
        ("b", [1, 3], ["request-1", "request-3"]),
    ]


async def test_what_a_batch_holds_is_let_go_when_it_ends() -> None:
    """Such as a model, which stays in memory as long as a call uses it."""
    events: list[str] = []

    @salver.batch
    async def run(items: list[int]) -> list[int]:
        call = current_call.get()
        assert call is not None
        call.at_end(lambda: events.append("let go"))
        await asyncio.sleep(0)
        events.append("worked")
        return items

    current_call.set(CallContext("request", "app", "/", "model"))
    await run(1)
    await settle()
    assert events == ["worked", "let go"]


async def test_a_batch_runs_in_the_context_of_its_first_caller() -> None:
    tenant: ContextVar[str] = ContextVar("tenant")

    @salver.batch
    async def run(items: list[int]) -> list[str]:
        return [tenant.get()] * len(items)

    async def call(name: str) -> Any:
        tenant.set(name)
        return await run(1)

    assert await together(call("first"), call("second")) == ["first", "first"]


# ---- errors, once more


class Coded(Exception):
    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"code {code}")


@pytest.mark.parametrize(
    "error", [Coded(7), KeyError("k"), OSError(2, "gone"), SalverError("words"), StopIteration(3)]
)
def test_a_twin_is_the_same_error_with_a_traceback_of_its_own(error: Any) -> None:
    error.add_note("a note")
    try:
        raise error from ValueError("cause")
    except type(error):
        pass
    twin = twin_of(error)
    assert twin is not error
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)
    assert twin.__cause__ is error.__cause__
    length = len(traceback.extract_tb(error.__traceback__))
    with pytest.raises(type(error)):
        raise twin
    assert len(traceback.extract_tb(error.__traceback__)) == length


def test_an_error_that_cannot_be_copied_is_its_own_twin() -> None:
    made: list[type] = []

    class Stubborn(Exception):
        def __new__(cls, *args: Any) -> Stubborn:
            if made:
                raise TypeError("one is enough")
            made.append(cls)
            return super().__new__(cls, *args)

    error = Stubborn()
    assert twin_of(error) is error
    with pytest.raises(TypeError):
        copy.copy(error)
