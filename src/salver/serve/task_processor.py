"""`salver.serve.task_processor`: systems of task queues. Importing it needs Celery."""

from __future__ import annotations

from salver.tasks.adapter import TaskProcessorAdapter
from salver.tasks.celery import CeleryTaskProcessorAdapter

__all__ = ("CeleryTaskProcessorAdapter", "TaskProcessorAdapter")
