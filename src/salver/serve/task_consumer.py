"""`salver.serve.task_consumer`: replicas that work on tasks from a queue, and who fills it."""

from __future__ import annotations

from salver.tasks.adapter import instantiate_adapter_from_config
from salver.tasks.consumer import task_consumer, task_handler

__all__ = ("instantiate_adapter_from_config", "task_consumer", "task_handler")
