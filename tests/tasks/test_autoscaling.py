"""How many replicas a queue's length asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from salver.serve.async_inference_autoscaling_policy import AsyncInferenceAutoscalingPolicy
from salver.serve.config import AutoscalingConfig
from salver.serve.schema import TaskProcessorConfig
from salver.serve.task_consumer import instantiate_adapter_from_config

Queue = Callable[..., TaskProcessorConfig]


class Told:
    """What a policy reads of its context."""

    def __init__(self, requests: float, target: float) -> None:
        self.total_num_requests = requests
        self.config = AutoscalingConfig(target_ongoing_requests=target)


def policy(config: TaskProcessorConfig, **options: Any) -> AsyncInferenceAutoscalingPolicy:
    celery = config.adapter_config
    return AsyncInferenceAutoscalingPolicy(
        celery.broker_url,
        config.queue_name,
        broker_transport_options=celery.broker_transport_options,
        **options,
    )


def test_what_waits_in_the_queue_counts_as_requests_do(queue: Queue) -> None:
    config, told = queue(), Told(requests=3, target=2)
    asked: Any = policy(config, poll_interval_s=1e-9)
    assert asked(told) == (1.5, {})
    producer = instantiate_adapter_from_config(config)
    for _ in range(5):
        producer.enqueue_task_sync("any")
    assert asked(told) == (4.0, {})


def test_the_queue_is_asked_as_often_as_is_said(queue: Queue) -> None:
    config, told = queue(), Told(requests=0, target=1)
    asked: Any = policy(config, poll_interval_s=3600)
    assert asked(told) == (0.0, {})
    instantiate_adapter_from_config(config).enqueue_task_sync("any")
    assert asked(told) == (0.0, {})


def test_a_broker_that_does_not_answer_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    asked: Any = AsyncInferenceAutoscalingPolicy("amqp://127.0.0.1:1//", "q", poll_interval_s=5)
    assert asked(Told(requests=4, target=2)) == (2.0, {})
    assert "The length of queue q is not known" in caplog.text


def test_a_pause_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="poll_interval_s=0: expected seconds above 0"):
        AsyncInferenceAutoscalingPolicy("filesystem://", "q", poll_interval_s=0)
