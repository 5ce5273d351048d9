"""Replicas by the length of a task queue."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any, Final

from salver.spec.autoscaling import AutoscalingContext

try:
    from kombu.connection import Connection
except ImportError as error:
    raise ImportError(
        f"Task queues of Celery need it to be installed ({error}): pip install 'salver[celery]'."
    ) from error

__all__ = ("AsyncInferenceAutoscalingPolicy",)

_logger: Final = logging.getLogger("salver")


class AsyncInferenceAutoscalingPolicy:
    """So many replicas that each has `target_ongoing_requests` of what waits in the queue and of
    the deployment's own requests.

    Any broker that Celery knows. `rabbitmq_management_url` is taken and not needed: the broker
    itself is asked.
    """

    def __init__(
        self,
        broker_url: str,
        queue_name: str,
        rabbitmq_management_url: str | None = None,  # noqa: ARG002 - see above
        poll_interval_s: float = 10.0,
        broker_transport_options: dict[str, Any] | None = None,
    ) -> None:
        if not poll_interval_s > 0:
            raise ValueError(f"poll_interval_s={poll_interval_s!r}: expected seconds above 0.")
        self._url = broker_url
        self._queue = queue_name
        self._interval_s = poll_interval_s
        self._options = broker_transport_options or {}
        self._waiting = 0
        self._asked_at = -poll_interval_s

    def __call__(self, ctx: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        now = monotonic()
        if now - self._asked_at >= self._interval_s:
            self._asked_at = now
            try:
                self._waiting = self._ask()
            except Exception as error:  # noqa: BLE001 - each broker has its own: the last is kept
                _logger.warning("The length of queue %s is not known: %s", self._queue, error)
        load = self._waiting + ctx.total_num_requests
        return load / ctx.config.target_ongoing_requests, {}

    def _ask(self) -> int:
        dial: Any = Connection  # which is not typed
        with dial(self._url, transport_options=self._options, connect_timeout=2) as connection:
            channel = connection.default_channel
            try:
                return int(channel.queue_declare(self._queue, passive=True).message_count)
            except connection.channel_errors:  # nobody has made it yet
                return 0
