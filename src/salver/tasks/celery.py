"""Celery as a system of task queues: the real one, with its consumer in threads of the replica."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from uuid import uuid4

from salver.errors import SalverError
from salver.spec.tasks import CeleryAdapterConfig, TaskProcessorConfig, TaskResult
from salver.tasks.adapter import CONCURRENCY, TaskProcessorAdapter

try:
    from celery import Celery, Task
    from celery.concurrency.thread import TaskPool
    from celery.worker.consumer import Consumer
    from kombu.utils.url import maybe_sanitize_url
except ImportError as error:
    raise ImportError(
        f"Task queues of Celery need it to be installed ({error}): pip install 'salver[celery]'."
    ) from error

__all__ = ("FILES", "CeleryTaskProcessorAdapter")

_logger: Final = logging.getLogger("salver")
_LONGEST_PAUSE_S: Final = 60
FILES: Final = "salver.tasks.files:Transport"
_CONNECTING: Final = {"max_retries": 3, "interval_start": 0.1, "interval_step": 0.2, "timeout": 5}


class CeleryTaskProcessorAdapter(TaskProcessorAdapter):
    """Fills and reads a queue of Celery's. Sync only, as Celery is.

    A task is acknowledged when it is done, tried again with growing pauses when it raises, and put
    into `failed_task_queue_name` when it has failed to the end. Messages that are no known task go
    to `unprocessable_task_queue_name`.
    """

    def __init__(self, config: TaskProcessorConfig, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()
        if not isinstance(config.adapter_config, CeleryAdapterConfig):
            raise TypeError(
                f"adapter_config={config.adapter_config!r} is not valid: Celery's adapter takes a "
                "CeleryAdapterConfig."
            )
        self._config = config
        self._celery: CeleryAdapterConfig = config.adapter_config
        self._worker: Any = None
        self._thread: threading.Thread | None = None

    def initialize(self, consumer_concurrency: int = CONCURRENCY) -> None:
        config, celery = self._config, self._celery
        self._app = app = Celery(
            config.queue_name,
            broker=celery.broker_url,
            backend=celery.backend_url,
            set_as_current=False,
        )
        app.conf.update(
            broker_connection_retry_on_startup=True,
            broker_transport_options=celery.broker_transport_options or {},
            task_acks_late=True,
            task_default_queue=config.queue_name,
            task_ignore_result=False,
            task_reject_on_worker_lost=True,
            worker_concurrency=consumer_concurrency,
            worker_pool="threads",
            worker_prefetch_multiplier=1,
        )
        if celery.broker_url.startswith("filesystem:"):
            app.conf.broker_transport = FILES
        app.conf.update(celery.app_custom_config or {})

    # ---- filling

    def enqueue_task_sync(
        self, task_name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> TaskResult:
        options = {"queue": self._config.queue_name, **options}
        sent = self._app.send_task(task_name, args=args, kwargs=kwargs, **options)
        return TaskResult(sent.id, sent.status, time.time())

    def get_task_status_sync(self, task_id: str) -> TaskResult:
        found = self._app.AsyncResult(task_id)
        return TaskResult(found.id, found.status, result=found.result)

    def cancel_task_sync(self, task_id: str) -> None:
        self._app.control.revoke(task_id)

    def get_metrics_sync(self) -> dict[str, Any]:
        return self._app.control.inspect().stats() or {}

    def health_check_sync(self) -> list[dict[str, Any]]:
        return self._app.control.ping()  # type: ignore[no-any-return]

    # ---- reading

    def register_task_handle(self, func: Callable[..., Any], name: str | None = None) -> None:
        options = {
            "autoretry_for": (Exception,),
            "max_retries": self._config.max_retries,
            "retry_backoff": True,
            "retry_backoff_max": _LONGEST_PAUSE_S,
            "retry_jitter": True,
            "shared": False,  # not every Celery app of this process has it
            **(self._celery.task_custom_config or {}),
        }
        base = _failing_to(self._config.failed_task_queue_name)
        self._app.task(_plain(func), base=base, name=name or func.__name__, **options)

    def start_consumer(self, **kwargs: Any) -> None:
        """Raises SalverError where the broker cannot be reached."""
        app = self._app
        try:
            with app.connection_for_read() as connection:
                connection.ensure_connection(**_CONNECTING)
        except Exception as error:  # each broker has errors of its own
            raise SalverError(_unreachable(self._celery.broker_url, error)) from error
        app.finalize()
        app.conf.worker_consumer = _sorting_out(self._config.unprocessable_task_queue_name)
        self._worker = app.WorkController(
            hostname=f"{self._config.queue_name}-{uuid4().hex[:12]}@salver",
            pool_cls=_threads_of(app),
            queues=[self._config.queue_name],
            **{"without_gossip": True, "without_mingle": True, **kwargs},
        )
        self._thread = threading.Thread(target=self._worker.start, name="tasks", daemon=True)
        self._thread.start()

    def stop_consumer(self, timeout: float = 10.0) -> None:
        """What was taken and has not begun goes back to the queue."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        stopping = threading.Thread(target=self._worker.stop, name="tasks-stop", daemon=True)
        stopping.start()
        for one in (stopping, thread):
            one.join(timeout)
        if thread.is_alive() or stopping.is_alive():
            _logger.warning("Tasks of %s go on after %gs.", self._config.queue_name, timeout)

    def check_consumer(self) -> None:
        if self._thread is not None and not self._thread.is_alive():
            raise SalverError(
                f"The consumer of queue {self._config.queue_name!r} has ended; the log says why."
            )


def _unreachable(url: str, error: Exception) -> str:
    where = maybe_sanitize_url(url)
    if isinstance(error, AttributeError | ImportError | KeyError):  # kombu lacks what it needs
        kind = url.partition(":")[0]
        return (
            f"The broker at {where} cannot be used: {error.args[0] if error.args else error}. "
            f"Is the package for it installed, as by `pip install 'celery[{kind}]'`?"
        )
    return f"The broker at {where} cannot be reached: {error}."


def _threads_of(app: Celery) -> type[Any]:
    """Threads in which this app is the current one: there may be others in the process."""

    class Threads(TaskPool):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.executor = ThreadPoolExecutor(self.limit, "task", initializer=app.set_current)

    return Threads


def _plain(func: Callable[..., Any]) -> Callable[..., Any]:
    """The same for Celery, which writes a function's head anew, and not every one can be."""

    def task(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return task


def _failing_to(queue: str | None) -> type[Any]:
    """A kind of task that is put there when it has failed to the end."""

    class FailingTask(Task):  # type: ignore[misc]
        abstract = True

        def on_failure(
            self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any
        ) -> None:
            super().on_failure(exc, task_id, args, kwargs, einfo)
            if queue is not None:
                self.app.send_task(self.name, args=args, kwargs=kwargs, queue=queue)

    return FailingTask


def _sorting_out(queue: str | None) -> type[Any]:
    """A consumer that puts there what is no known task, as it came."""

    class SortingConsumer(Consumer):  # type: ignore[misc]
        def on_unknown_task(self, body: Any, message: Any, exc: BaseException) -> None:
            self._pass_on(message)
            super().on_unknown_task(body, message, exc)

        def on_unknown_message(self, body: Any, message: Any) -> None:
            self._pass_on(message)
            super().on_unknown_message(body, message)

        def on_invalid_task(self, body: Any, message: Any, exc: BaseException) -> None:
            self._pass_on(message)
            super().on_invalid_task(body, message, exc)

        def on_decode_error(self, message: Any, exc: BaseException) -> None:
            self._pass_on(message)
            super().on_decode_error(message, exc)

        def _pass_on(self, message: Any) -> None:
            if queue is not None:
                with self.app.producer_pool.acquire(block=True) as producer:
                    producer.publish(
                        message.body,
                        routing_key=queue,
                        declare=[self.app.amqp.queues.select_add(queue)],
                        headers=message.headers,
                        content_type=message.content_type,
                        content_encoding=message.content_encoding,
                    )

    return SortingConsumer
