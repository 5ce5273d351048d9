"""`@multiplexed` outside Salver and in a replica: one load each, held while in use, ended once."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, ClassVar

import cloudpickle
import pytest

from salver import multiplexed
from salver.calls.context import CallContext, current_call
from salver.replica.models import Catalogue, current_catalogue


class Model:
    def __init__(self, model_id: str, ended: list[str]) -> None:
        self.model_id = model_id
        self.ended = ended

    def close(self) -> None:
        self.ended.append(self.model_id)


class Many:
    """Loads when the test lets it: `go[model_id]`, if there is such an event."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []
        self.go: dict[str, asyncio.Event] = {}
        self.broken: set[str] = set()
        self.news = asyncio.Event()

    @multiplexed(max_num_models_per_replica=2)
    async def get_model(self, model_id: str) -> Model:
        """Load a model."""
        self.began.append(model_id)
        self.news.set()
        if model_id in self.go:
            await self.go[model_id].wait()
        if model_id in self.broken:
            raise OSError("no weights")
        return Model(model_id, self.ended)

    @multiplexed(max_num_models_per_replica=1, evict_first=True)
    async def get_other(self, model_id: str) -> Model:
        self.began.append(f"other {model_id} after {self.ended}")
        return Model(model_id, self.ended)

    def hold(self, *model_ids: str) -> None:
        self.go |= {model_id: asyncio.Event() for model_id in model_ids}

    async def until(self, count: int) -> None:
        """Until so many loads have begun."""
        while len(self.began) < count:
            self.news.clear()
            await self.news.wait()


class Call:
    """A running call, as a replica has it."""

    def __init__(self) -> None:
        self.context = CallContext("id")

    def do(self, work: Any) -> asyncio.Task[Any]:
        async def run() -> Any:
            current_call.set(self.context)
            return await work

        return asyncio.create_task(run())

    def end(self) -> None:
        self.context.over()


async def settle() -> None:
    """Let what is due happen, threads included."""
    for _ in range(10):
        await asyncio.sleep(0)
    await asyncio.to_thread(lambda: None)
    await asyncio.sleep(0)


async def test_a_model_is_loaded_once_however_many_ask() -> None:
    many = Many()
    many.hold("a")
    asking = [asyncio.create_task(many.get_model("a")) for _ in range(5)]
    await many.until(1)
    many.go["a"].set()
    models = await asyncio.gather(*asking)
    assert many.began == ["a"]
    assert all(model is models[0] for model in models)
    assert await many.get_model("a") is models[0]


async def test_different_models_load_side_by_side() -> None:
    many = Many()
    many.hold("a", "b")
    asking = [asyncio.create_task(many.get_model(m)) for m in "ab"]
    await many.until(2)
    for event in many.go.values():
        event.set()
    assert [(await task).model_id for task in asking] == ["a", "b"]


async def test_a_load_that_fails_is_told_to_all_and_not_kept() -> None:
    many = Many()
    await many.get_model("a")
    await many.get_model("b")
    many.broken.add("c")
    results = await asyncio.gather(*(many.get_model("c") for _ in range(3)), return_exceptions=True)
    assert [str(result) for result in results] == ["no weights"] * 3
    many.broken.clear()
    assert many.ended == []
    assert (await many.get_model("c")).model_id == "c"
    await settle()
    assert many.ended == ["a"]


async def test_a_caller_that_leaves_does_not_take_the_load_along() -> None:
    many = Many()
    many.hold("a")
    first, second = (asyncio.create_task(many.get_model("a")) for _ in range(2))
    await many.until(1)
    first.cancel()
    many.go["a"].set()
    assert (await second).model_id == "a"
    assert many.began == ["a"]


async def test_a_model_in_use_stays_until_its_call_has_ended() -> None:
    many = Many()
    one, two, three = Call(), Call(), Call()
    await one.do(many.get_model("a"))
    await two.do(many.get_model("b"))
    waiting = three.do(many.get_model("c"))
    await settle()
    assert many.began == ["a", "b"]
    one.end()
    assert (await waiting).model_id == "c"
    await settle()
    assert many.ended == ["a"]
    two.end()
    three.end()


async def test_a_caller_that_waited_in_vain_is_forgotten() -> None:
    many = Many()
    one, two, three = Call(), Call(), Call()
    await one.do(many.get_model("a"))
    await two.do(many.get_model("b"))
    waiting = three.do(many.get_model("c"))
    await settle()
    waiting.cancel()
    await settle()
    one.end()
    await settle()
    assert many.began == ["a", "b"]
    two.end()


async def test_a_call_may_ask_for_more_models_than_fit() -> None:
    """It does not wait for itself; what it may still use is ended with it."""
    many = Many()
    call = Call()
    for model_id in "abcde":
        assert (await call.do(many.get_model(model_id))).model_id == model_id
    await settle()
    assert many.ended == []
    call.end()
    await settle()
    assert sorted(many.ended) == ["a", "b", "c"]


async def test_a_task_that_a_call_left_behind_holds_its_model_until_it_ends() -> None:
    many = Many()
    call = Call()
    call.end()
    task = call.do(many.get_model("a"))
    await task
    await many.get_model("b")
    del call, task
    gc.collect()
    await settle()
    await many.get_model("c")
    await settle()
    assert many.ended == ["a"]


async def test_outside_a_call_nothing_is_held() -> None:
    many = Many()
    for model_id in "abcd":
        await many.get_model(model_id)
    await settle()
    assert many.ended == ["a", "b"]


async def test_with_evict_first_a_model_has_ended_before_another_is_loaded() -> None:
    many = Many()
    await many.get_other("x")
    await many.get_other("y")
    assert many.began == ["other x after []", "other y after ['x']"]


async def test_each_loader_of_each_object_has_its_own_models() -> None:
    one, two = Many(), Many()
    assert await one.get_model("a") is not await two.get_model("a")
    assert await one.get_model("a") is not await one.get_other("a")
    assert one.began == ["a", "other a after []"]


class WithAsyncDel:
    ended: ClassVar[list[str]] = []

    async def __del__(self) -> None:
        WithAsyncDel.ended.append("del")


class WithDel:
    def __del__(self) -> None:
        WithAsyncDel.ended.append("sync del")

    def close(self) -> None:
        raise AssertionError("`__del__` is enough")


class WithAclose:
    async def aclose(self) -> None:
        WithAsyncDel.ended.append("aclose")


class FailingClose:
    def close(self) -> None:
        raise RuntimeError("cannot")


@pytest.mark.parametrize(
    ("kind", "said"),
    [(WithAsyncDel, ["del"]), (WithDel, ["sync del"]), (WithAclose, ["aclose"]),
     (FailingClose, []), (object, [])],
)  # fmt: skip
async def test_a_model_is_ended_as_it_wishes_and_once(kind: type, said: list[str]) -> None:
    WithAsyncDel.ended.clear()

    @multiplexed(max_num_models_per_replica=1)
    async def load(model_id: str) -> Any:
        return kind() if model_id == "a" else object()

    await load("a")
    await load("b")
    await settle()
    gc.collect()
    assert WithAsyncDel.ended == said


async def test_a_replica_says_what_it_holds_and_ends_it_with_itself() -> None:
    many = Many()
    told: list[Any] = []
    catalogue = Catalogue(lambda: told.append((catalogue.ids, catalogue.room)))
    current_catalogue.set(catalogue)
    many.hold("b")
    await many.get_model("a")
    loading = asyncio.create_task(many.get_model("b"))
    await many.until(2)
    assert told[-1] == (("a", "b"), 2)
    await many.get_other("z")
    assert told[-1] == (("a", "b", "z"), 3)
    await catalogue.close()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert sorted(many.ended) == ["a", "z"]


async def test_a_function_can_be_a_loader() -> None:
    @multiplexed
    async def load(model_id: str) -> list[str]:
        return [model_id]

    assert await load("a") is await load("a")


def test_it_works_in_one_event_loop_after_another() -> None:
    many = Many.__new__(Many)
    many.__init__()  # type: ignore[misc]
    first = asyncio.run(many.get_model("a"))
    assert asyncio.run(many.get_model("a")) is first


@pytest.mark.parametrize("args", [(), ("a", "b")])
async def test_it_takes_one_id_by_position(args: tuple[str, ...]) -> None:
    with pytest.raises(TypeError, match="one argument by position"):
        await Many().get_model(*args)
    with pytest.raises(TypeError, match="one argument by position"):
        await Many().get_model(model_id="a")


async def test_an_id_is_a_str_and_not_empty() -> None:
    with pytest.raises(TypeError, match="A model id is a str, not 3"):
        await Many().get_model(3)
    with pytest.raises(ValueError, match="the request named no model"):
        await Many().get_model("")


@pytest.mark.parametrize("limit", [1.5, "3", None, True])
def test_a_limit_that_is_no_int_is_refused(limit: Any) -> None:
    with pytest.raises(TypeError, match="expected an int"):
        multiplexed(max_num_models_per_replica=limit)


@pytest.mark.parametrize("limit", [0, -2])
def test_a_limit_that_makes_no_sense_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="at least 1, or -1"):
        multiplexed(max_num_models_per_replica=limit)


def test_only_async_functions_are_loaders() -> None:
    with pytest.raises(TypeError, match=r"load is not\. Make it `async def`"):

        @multiplexed  # type: ignore[arg-type]
        def load(model_id: str) -> str:
            return model_id

    with pytest.raises(TypeError, match="takes an async function, got 5"):
        multiplexed(5)  # type: ignore[call-overload]


async def test_an_object_without_a_place_for_models_is_told_so() -> None:
    class Tight:
        __slots__ = ()

        @multiplexed
        async def get_model(self, model_id: str) -> str:
            return model_id

    with pytest.raises(TypeError, match="Add '__dict__' to its __slots__"):
        await Tight().get_model("a")


async def test_a_class_with_a_loader_travels_by_value() -> None:
    class Local:
        @multiplexed(max_num_models_per_replica=1)
        async def get_model(self, model_id: str) -> str:
            return model_id.upper()

    copy = cloudpickle.loads(cloudpickle.dumps(Local))
    assert await copy().get_model("a") == "A"


def test_a_loader_keeps_its_name_and_words() -> None:
    assert Many.get_model.__name__ == Many().get_model.__name__ == "get_model"
    assert Many.get_model.__doc__ == Many().get_model.__doc__ == "Load a model."
