"""Replicas that work on tasks, as users run them: processes of their own, files between them."""

# A class decorator cannot change what a type checker takes the class for.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from salver import serve
from salver.serve.schema import TaskProcessorAdapter, TaskProcessorConfig, TaskResult
from salver.serve.task_consumer import (
    instantiate_adapter_from_config,
    task_consumer,
    task_handler,
)
from tests.tasks.conftest import ended, settings

Queue = Callable[..., TaskProcessorConfig]


def works_on(config: TaskProcessorConfig, **options: Any) -> Any:
    @serve.deployment(**options)
    @task_consumer(task_processor_config=config)
    class Works:
        def __init__(self, word: str = "") -> None:
            self.word = word
            self.done: list[Any] = []

        @task_handler
        def remember(self, value: Any) -> str:
            self.done.append(value)
            return f"{self.word}{value}"

        @task_handler(name="where.am_i")
        def where(self) -> list[str]:
            context = serve.get_replica_context()
            return [context.deployment, str(context.servable_object is self)]

        @task_handler
        async def later(self, value: int) -> str:
            return f"{value} on {threading.current_thread().name}"

        @task_handler
        def waits_for(self, place: str) -> str:
            (Path(place) / "begun").touch()
            while not (Path(place) / "go").exists():
                pass
            return "waited"

        def remembered(self) -> list[Any]:
            return self.done

    return Works


@pytest.mark.usefixtures("_instance")
def test_a_replica_works_on_tasks_and_answers_calls(queue: Queue) -> None:
    config = queue()
    handle = serve.run(works_on(config).bind("got "), route_prefix=None)
    producer = instantiate_adapter_from_config(config)
    tasks = [producer.enqueue_task_sync("remember", [value]) for value in ("a", {"b": [1]})]
    assert [ended(producer, task).result for task in tasks] == ["got a", "got {'b': [1]}"]
    assert sorted(map(str, handle.remembered.remote().result())) == ["a", "{'b': [1]}"]
    where = ended(producer, producer.enqueue_task_sync("where.am_i"))
    assert where.result == ["Works", "True"]
    later = ended(producer, producer.enqueue_task_sync("later", [3]))
    assert later.result == "3 on MainThread"


@pytest.mark.usefixtures("_instance")
def test_what_a_replica_works_on_ends_with_it_and_the_rest_waits_for_the_next(
    queue: Queue, tmp_path: Path
) -> None:
    config = queue()
    app = works_on(config, max_ongoing_requests=1).bind()
    serve.run(app, name="first", route_prefix=None)
    producer = instantiate_adapter_from_config(config)
    running = producer.enqueue_task_sync("waits_for", [str(tmp_path)])
    while not (tmp_path / "begun").exists():
        pass
    waiting = [producer.enqueue_task_sync("remember", [number]) for number in range(4)]
    serve.delete("first", _blocking=False)
    (tmp_path / "go").touch()
    while "first" in serve.status().applications:
        pass
    assert producer.get_task_status_sync(running.id).result == "waited"
    second = serve.run(app, name="second", route_prefix=None)
    assert [ended(producer, task).status for task in waiting] == ["SUCCESS"] * 4
    assert set(second.remembered.remote().result()) <= set(range(4))


class Plain:
    """Found under its name as it is, and used with a queue by a builder."""

    @task_handler
    def twice(self, value: int) -> int:
        return 2 * value


@pytest.mark.usefixtures("_instance")
def test_a_class_that_is_decorated_later_works_on_tasks_too(queue: Queue) -> None:
    config = queue()
    consumer = task_consumer(task_processor_config=config)(Plain)
    serve.run(serve.deployment(consumer).bind(), route_prefix=None)
    producer = instantiate_adapter_from_config(config)
    assert ended(producer, producer.enqueue_task_sync("twice", [4])).result == 8


class Dies(TaskProcessorAdapter):
    """A system of one's own, whose consumer ends by itself."""

    def __init__(self, config: TaskProcessorConfig) -> None:
        super().__init__()
        self.path = Path(config.adapter_config)

    def initialize(self, consumer_concurrency: int = 5) -> None:
        self.at_once = consumer_concurrency

    def register_task_handle(self, func: Callable[..., Any], name: str | None = None) -> None:
        """None is ever called."""

    def enqueue_task_sync(
        self, task_name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> TaskResult:
        return TaskResult("1", "PENDING")

    def get_task_status_sync(self, task_id: str) -> TaskResult:
        return TaskResult(task_id, "PENDING")

    def start_consumer(self, **kwargs: Any) -> None:
        with self.path.open("a") as file:
            file.write(f"begun {self.at_once}\n")

    def stop_consumer(self, timeout: float = 10.0) -> None:
        """It has ended."""

    def check_consumer(self) -> None:
        raise RuntimeError("the consumer has ended")


@pytest.mark.usefixtures("_instance")
def test_a_replica_whose_consumer_has_ended_is_replaced(tmp_path: Path) -> None:
    log = tmp_path / "log"
    config = TaskProcessorConfig(queue_name="q", adapter=Dies, adapter_config=str(log))
    app = works_on(config, health_check_period_s=0.05, max_ongoing_requests=7).bind()
    serve.run(app, route_prefix=None)
    while log.read_text().count("begun") < 2:
        pass
    assert set(log.read_text().splitlines()) == {"begun 7"}


@pytest.mark.usefixtures("_instance")
def test_a_consumer_that_cannot_begin_fails_its_app(tmp_path: Path) -> None:
    config = settings(tmp_path, adapter="nowhere.Adapter")
    app = works_on(config, max_constructor_retry_count=1).bind()
    with pytest.raises(RuntimeError, match=r"adapter='nowhere.Adapter' cannot be found"):
        serve.run(app, route_prefix=None)


@pytest.mark.parametrize(
    ("decorate", "error", "message"),
    [
        (lambda: task_handler(name=""), ValueError, "at least one character"),
        (lambda: task_handler(name=3), ValueError, "expected a str"),  # type: ignore[call-overload]
        (lambda: task_consumer(task_processor_config="q"), TypeError, "TaskProcessorConfig"),  # type: ignore[arg-type]
        (
            lambda: task_consumer(task_processor_config=settings(Path("/tmp")))(print),  # type: ignore[type-var]
            TypeError,
            "takes a class",
        ),
    ],
)
def test_wrong_words_are_refused(
    decorate: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        decorate()
