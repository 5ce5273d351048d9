"""Celery's adapter by itself: a producer and a consumer in this process, files between them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from celery.worker import state

from salver.errors import SalverError
from salver.serve.schema import CeleryAdapterConfig, TaskProcessorConfig
from salver.serve.task_consumer import instantiate_adapter_from_config
from salver.serve.task_processor import CeleryTaskProcessorAdapter, TaskProcessorAdapter
from salver.tasks.autoscaling import AsyncInferenceAutoscalingPolicy
from tests.tasks.conftest import ended

Queue = Callable[..., TaskProcessorConfig]


@contextmanager
def consuming(
    config: TaskProcessorConfig, at_once: int = 2, **handlers: Callable[..., Any]
) -> Iterator[TaskProcessorAdapter]:
    """A consumer with these handlers."""
    adapter = instantiate_adapter_from_config(config, at_once)
    for name, handler in handlers.items():
        adapter.register_task_handle(handler, name)
    adapter.start_consumer()
    try:
        yield adapter
    finally:
        adapter.stop_consumer(20)


def length(config: TaskProcessorConfig, queue: str) -> int:
    options = config.adapter_config.broker_transport_options
    policy = AsyncInferenceAutoscalingPolicy(
        config.adapter_config.broker_url, queue, broker_transport_options=options
    )
    return policy._ask()


def test_a_task_goes_to_its_handler_and_its_result_comes_back(queue: Queue) -> None:
    producer = instantiate_adapter_from_config(queue())
    sent = producer.enqueue_task_sync("plus", args=[1], kwargs={"by": 2})
    assert (sent.status, sent.result) == ("PENDING", None)
    assert sent.created_at is not None
    assert producer.get_task_status_sync(sent.id).status == "PENDING"
    with consuming(queue(), plus=lambda value, by: value + by):
        assert (ended(producer, sent).status, ended(producer, sent).result) == ("SUCCESS", 3)


def test_a_task_that_fails_is_tried_again_and_then_put_aside(queue: Queue) -> None:
    tries = []

    def fails(word: str) -> None:
        tries.append(word)
        raise ValueError(f"no {word}")

    config = queue(max_retries=2, failed_task_queue_name="failed")
    producer = instantiate_adapter_from_config(config)
    # One at a time: Celery notes that a task is to be tried again after it has sent it, so that
    # another thread could note its end before.
    with consuming(config, 1, fails=fails):
        done = ended(producer, producer.enqueue_task_sync("fails", ["way"]))
        while not length(config, "failed"):
            pass  # it is put there after its state is known
    assert (done.status, type(done.result), str(done.result)) == ("FAILURE", ValueError, "no way")
    assert tries == ["way"] * 3
    with consuming(msgspec.structs.replace(config, queue_name="failed"), fails=lambda word: word):
        while length(config, "failed"):
            pass  # what was put aside is a task like another


def test_without_a_place_for_failures_nothing_is_put_aside(queue: Queue) -> None:
    config = queue(max_retries=0)
    producer = instantiate_adapter_from_config(config)
    with consuming(config, fails=lambda: 1 / 0):
        assert ended(producer, producer.enqueue_task_sync("fails")).status == "FAILURE"
    assert [length(config, name) for name in ("q", "failed")] == [0, 0]


def test_what_is_no_known_task_is_put_aside(queue: Queue) -> None:
    config = queue(unprocessable_task_queue_name="odd")
    producer = instantiate_adapter_from_config(config)
    assert isinstance(producer, CeleryTaskProcessorAdapter)
    with consuming(config, known=lambda: "known"):
        producer.enqueue_task_sync("unknown", ["argument"])
        with producer._app.producer_pool.acquire() as raw:
            raw.publish({"of": "somebody else"}, routing_key="q", serializer="json")
        while length(config, "odd") < 2:
            pass
        assert ended(producer, producer.enqueue_task_sync("known")).result == "known"


def test_a_consumer_that_stops_ends_what_runs_and_gives_back_the_rest(queue: Queue) -> None:
    begun, go, done = threading.Event(), threading.Event(), []

    def slow(number: int) -> None:
        begun.set()
        go.wait()
        done.append(number)

    config = queue()
    producer = instantiate_adapter_from_config(config)
    for number in range(5):
        producer.enqueue_task_sync("slow", [number])
    with consuming(config, at_once=1, slow=slow) as consumer:
        begun.wait()
        stopping = threading.Thread(target=consumer.stop_consumer, args=(20,))
        stopping.start()
        go.set()
        stopping.join()
        assert len(done) == 1
    with consuming(config, slow=slow):
        while len(done) < 5:
            pass
    assert sorted(done) == list(range(5))


def test_consumers_hear_of_a_task_that_is_cancelled(queue: Queue) -> None:
    producer = instantiate_adapter_from_config(queue())
    with consuming(queue(), one=lambda: 1):
        later = producer.enqueue_task_sync("one", countdown=3600)
        while later.id not in state.revoked:
            producer.cancel_task_sync(later.id)


def test_consumers_are_asked_how_they_are(queue: Queue) -> None:
    producer = instantiate_adapter_from_config(queue())
    with consuming(queue(), at_once=3, one=lambda: 1) as consumer:
        ended(producer, producer.enqueue_task_sync("one"))
        while not (answers := producer.health_check_sync()):
            pass  # they are given a second
        assert list(answers[0].values()) == [{"ok": "pong"}]
        while not (metrics := producer.get_metrics_sync()):
            pass
        (stats,) = metrics.values()
        consumer.check_consumer()
    assert stats["pool"]["max-concurrency"] == 3
    assert stats["total"]["one"] >= 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("amqp://me:secret@127.0.0.1:1//", r"^The broker at amqp://me:\*\*@.* cannot be reached"),
        (
            "nonsense://here",
            r"^The broker at nonsense:.* cannot be used: No such transport.* `pip install",
        ),
    ],
)
def test_a_broker_that_is_not_there_is_named(url: str, message: str) -> None:
    config = TaskProcessorConfig(
        queue_name="q",
        adapter_config=CeleryAdapterConfig(broker_url=url, backend_url="file:///tmp"),
    )
    adapter = instantiate_adapter_from_config(config)
    with pytest.raises(SalverError, match=message):
        adapter.start_consumer()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"queue_name": ""}, ValueError, "queue_name='' is not valid"),
        ({"max_retries": -1}, ValueError, "max_retries=-1 is not valid"),
        ({"adapter": 3}, TypeError, "adapter=3 is not valid: expected a subclass of TaskProc"),
        ({"adapter": "json.loads2"}, ImportError, "adapter='json.loads2' cannot be found"),
        ({"adapter": dict}, TypeError, "which is no TaskProcessorAdapter"),
        ({"adapter_config": {}}, TypeError, "Celery's adapter takes a CeleryAdapterConfig"),
        (
            {"retries": 3},
            TypeError,
            "'retries' is not a field of TaskProcessorConfig. Did you mean max_retries",
        ),
    ],
)
def test_wrong_configurations_are_told(
    queue: Queue, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        instantiate_adapter_from_config(queue(**options))


def test_what_makes_a_consumer_is_not_set_beside_it() -> None:
    with pytest.raises(ValueError, match=r"app_custom_config\['worker_pool'\] is not yours to set"):
        CeleryAdapterConfig(
            broker_url="a", backend_url="b", app_custom_config={"worker_pool": "solo"}
        )


def test_further_settings_are_those_of_the_celery_app_and_of_every_task(queue: Queue) -> None:
    made = queue()
    celery = made.adapter_config.copy(
        update={
            "app_custom_config": {"result_expires": 77},
            "task_custom_config": {"rate_limit": "7/m"},
        }
    )
    adapter = instantiate_adapter_from_config(made.copy(update={"adapter_config": celery}))
    assert isinstance(adapter, CeleryTaskProcessorAdapter)
    assert adapter._app.conf.result_expires == 77
    assert adapter._app.conf.broker_transport_options == celery.broker_transport_options
    adapter.register_task_handle(print, "shout")
    assert adapter._app.tasks["shout"].rate_limit == "7/m"


def test_the_adapter_of_ray_serve_s_name_is_this_one(queue: Queue) -> None:
    config = queue(adapter="ray.serve.task_processor.CeleryTaskProcessorAdapter")
    assert isinstance(instantiate_adapter_from_config(config), CeleryTaskProcessorAdapter)


async def test_the_async_forms_lead_to_the_others(queue: Queue) -> None:
    adapter = instantiate_adapter_from_config(queue())
    with pytest.raises(NotImplementedError, match=r"has no enqueue_task_async\. Try enqueue_task_"):
        await adapter.enqueue_task_async("x")
