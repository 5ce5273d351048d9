"""What is known of task queues as data: where they are, and what has become of a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from msgspec import Meta

from salver.spec.model import ConfigModel

__all__ = ("CELERY", "CeleryAdapterConfig", "TaskProcessorConfig", "TaskResult")

CELERY: Final = "salver.serve.task_processor.CeleryTaskProcessorAdapter"
# What makes a consumer what it is: concurrency follows max_ongoing_requests, tasks are never lost.
_RESERVED: Final = (
    "task_acks_late",
    "task_ignore_result",
    "task_reject_on_worker_lost",
    "worker_concurrency",
    "worker_pool",
)


class CeleryAdapterConfig(ConfigModel, kw_only=True):
    """How Celery reaches its broker, and where it keeps results."""

    broker_url: Annotated[
        str, Meta(min_length=1, description="Where messages wait, such as redis://host:6379/0.")
    ]
    backend_url: Annotated[
        str, Meta(min_length=1, description="Where results are kept, such as redis://host:6379/1.")
    ]
    app_custom_config: Annotated[
        dict[str, Any] | None, Meta(description="Further settings of the Celery app.")
    ] = None
    task_custom_config: Annotated[
        dict[str, Any] | None, Meta(description="Further options of every task.")
    ] = None
    broker_transport_options: Annotated[
        dict[str, Any] | None, Meta(description="Options of the broker's transport.")
    ] = None

    def __post_init__(self) -> None:
        self._check_fields()
        for name in self.app_custom_config or ():
            if name in _RESERVED:
                raise ValueError(
                    f"app_custom_config[{name!r}] is not yours to set: it is one of those that "
                    f"make a consumer what it is ({', '.join(_RESERVED)}). Leave it out."
                )


class TaskProcessorConfig(ConfigModel, kw_only=True):
    """A queue of tasks, and who reads and fills it."""

    queue_name: Annotated[str, Meta(min_length=1, description="The queue that tasks wait in.")]
    adapter: Annotated[
        Any, Meta(description="A TaskProcessorAdapter, or where one is found: `module.Name`.")
    ] = CELERY
    adapter_config: Annotated[Any, Meta(description="What the adapter needs to know.")]
    max_retries: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="How often a task that fails is tried again; None: without end."),
    ] = 3
    failed_task_queue_name: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Where tasks go that fail to the end."),
    ] = None
    unprocessable_task_queue_name: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Where messages go that are no known task."),
    ] = None

    def __post_init__(self) -> None:
        self._check_fields()
        if not callable(self.adapter) and not (isinstance(self.adapter, str) and self.adapter):
            raise TypeError(
                f"adapter={self.adapter!r} is not valid: expected a subclass of "
                f"TaskProcessorAdapter, or where one is found, such as {CELERY!r}."
            )


@dataclass(frozen=True)
class TaskResult:
    """What has become of a task so far."""

    id: str
    status: str  # of Celery: PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED
    created_at: float | None = None
    result: Any = None  # what the handler returned, or raised
