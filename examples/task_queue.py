"""Work that takes longer than a request may, from a queue of tasks: `salver run task_queue:build`.

`pip install '.[celery]'`. Without arguments the queue is a folder; `broker=redis://...` is another.

curl -d '{"text": "one two two"}' http://127.0.0.1:8000/count     answers with a task's id
curl http://127.0.0.1:8000/count/ID                                what has become of it
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pydantic
from fastapi import FastAPI

from salver import serve
from salver.serve.schema import CeleryAdapterConfig, TaskProcessorConfig
from salver.serve.task_consumer import (
    instantiate_adapter_from_config,
    task_consumer,
    task_handler,
)

api = FastAPI()


class Args(pydantic.BaseModel):
    broker: str = "filesystem://"
    results: str = ""
    folder: str = ""


class Text(pydantic.BaseModel):
    text: str


@serve.deployment
@serve.ingress(api)
class Api:
    """Takes work in, and tells what has become of it."""

    def __init__(self, config: TaskProcessorConfig, counts) -> None:
        self.tasks = instantiate_adapter_from_config(config)

    @api.post("/count", status_code=202)
    def begin(self, text: Text) -> dict[str, str]:
        return {"id": self.tasks.enqueue_task_sync("count_words", [text.text]).id}

    @api.get("/count/{task_id}")
    def state(self, task_id: str) -> dict:
        found = self.tasks.get_task_status_sync(task_id)
        return {"status": found.status, "result": found.result}


class Counts:
    """Works on the tasks; each replica on as many at a time as `max_ongoing_requests` says."""

    @task_handler
    def count_words(self, text: str) -> dict[str, int]:
        return dict(Counter(text.split()))


def build(args: Args) -> serve.Application:
    config = queue(args)
    consumer = task_consumer(task_processor_config=config)(Counts)
    counts = serve.deployment(max_ongoing_requests=2)(consumer).bind()
    return Api.bind(config, counts)


def queue(args: Args) -> TaskProcessorConfig:
    options = None
    results = args.results or args.broker
    if args.broker == "filesystem://":
        folder = Path(args.folder or tempfile.mkdtemp(prefix="tasks-"))
        (folder / "queue").mkdir(parents=True, exist_ok=True)
        (folder / "results").mkdir(exist_ok=True)
        names = {"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"}
        options = {name: str(folder / place) for name, place in names.items()}
        results = f"file://{folder}/results"
    celery = CeleryAdapterConfig(
        broker_url=args.broker, backend_url=results, broker_transport_options=options
    )
    return TaskProcessorConfig(queue_name="words", adapter_config=celery, max_retries=2)
