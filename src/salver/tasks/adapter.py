"""What a system of task queues has to be able to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, NoReturn

from salver.spec.tasks import TaskProcessorConfig, TaskResult

__all__ = ("CONCURRENCY", "TaskProcessorAdapter", "instantiate_adapter_from_config")

CONCURRENCY: Final = 5  # tasks at a time, where nothing else is said


class TaskProcessorAdapter(ABC):
    """Fills a queue and reads it. Subclass it for a system of your own.

    It is made with `config=`, a TaskProcessorConfig. The async forms are there for adapters that
    have them.
    """

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:  # noqa: B027 - subclasses call it
        """Nothing is opened yet: see `initialize`."""

    @abstractmethod
    def initialize(self, consumer_concurrency: int = CONCURRENCY) -> None:
        """Be ready to be used; a consumer works on so many tasks at a time."""

    @abstractmethod
    def register_task_handle(self, func: Callable[..., Any], name: str | None = None) -> None:
        """Have tasks of this name (or of the function's) done by this function."""

    @abstractmethod
    def enqueue_task_sync(
        self, task_name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> TaskResult:
        """Put a task into the queue."""

    @abstractmethod
    def get_task_status_sync(self, task_id: str) -> TaskResult:
        """What has become of it."""

    @abstractmethod
    def start_consumer(self, **kwargs: Any) -> None:
        """Work on tasks from now on, in threads of this process."""

    @abstractmethod
    def stop_consumer(self, timeout: float = 10.0) -> None:
        """Take no further tasks; return when those under way have ended, or after the time."""

    def cancel_task_sync(self, task_id: str) -> Any:  # noqa: ARG002
        """Have a task not begun any more."""
        self._lacks("cancel_task_sync")

    def get_metrics_sync(self) -> dict[str, Any]:
        """Figures of all consumers."""
        self._lacks("get_metrics_sync")

    def health_check_sync(self) -> list[dict[str, Any]]:
        """Which consumers answer."""
        self._lacks("health_check_sync")

    def check_consumer(self) -> None:  # noqa: B027 - an adapter may know nothing of it
        """Raise what ails the consumer of this process; nothing: it works."""

    async def enqueue_task_async(self, *_args: Any, **_kwargs: Any) -> TaskResult:
        self._lacks("enqueue_task_async")

    async def get_task_status_async(self, *_args: Any, **_kwargs: Any) -> TaskResult:
        self._lacks("get_task_status_async")

    async def cancel_task_async(self, *_args: Any, **_kwargs: Any) -> Any:
        self._lacks("cancel_task_async")

    async def get_metrics_async(self) -> dict[str, Any]:
        self._lacks("get_metrics_async")

    async def health_check_async(self) -> list[dict[str, Any]]:
        self._lacks("health_check_async")

    def _lacks(self, method: str) -> NoReturn:
        other = "_sync" if method.endswith("_async") else "_async"
        raise NotImplementedError(
            f"{type(self).__name__} has no {method}. Try {method.rpartition('_')[0]}{other}."
        )


def instantiate_adapter_from_config(
    task_processor_config: TaskProcessorConfig, consumer_concurrency: int = CONCURRENCY
) -> TaskProcessorAdapter:
    """The adapter of a queue, ready to fill it."""
    if not isinstance(task_processor_config, TaskProcessorConfig):
        raise TypeError(
            f"instantiate_adapter_from_config({task_processor_config!r}): expected a "
            "TaskProcessorConfig."
        )
    kind = task_processor_config.adapter
    if isinstance(kind, str):
        kind = _found(kind)
    made = kind(config=task_processor_config)
    if not isinstance(made, TaskProcessorAdapter):
        raise TypeError(f"adapter={kind!r} makes {made!r}, which is no TaskProcessorAdapter.")
    made.initialize(consumer_concurrency)
    return made


def _found(path: str) -> Any:
    """Ray Serve's own adapter is ours of the same name."""
    ours = f"salver.{path.removeprefix('ray.')}" if path.startswith("ray.serve.") else path
    module, _, name = ours.replace(":", ".").rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (AttributeError, ModuleNotFoundError, ValueError) as error:
        raise ImportError(f"adapter={path!r} cannot be found: {error}.") from None
