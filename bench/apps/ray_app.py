"""What Ray Serve serves. usage: python -m bench.apps.ray_app APP PORT; ends on SIGTERM."""

from __future__ import annotations

import signal
import sys
from typing import Any

import ray
from ray import serve

from bench.apps import many_models, programs
from bench.apps.ray_start import start_ray
from bench.rpc import rpc_port

MANY = 256
SMALL = {"ray_actor_options": {"num_cpus": 0.1}}


def deployment(target: type, name: str | None = None, **options: Any) -> Any:
    """A deployment that takes a tenth of a logical CPU, so that all fit."""
    return serve.deployment(target, name=name or target.__name__, **SMALL, **options)


def build(app: str) -> Any:
    """The app of this name, as in salver_app.py."""
    if app == "hello_limit":  # max_ongoing_requests is what the quickstart gets: 5
        return deployment(programs.Hello).bind()
    if app in programs.SCALING:
        return deployment(programs.Named, autoscaling_config=programs.SCALING[app]).bind()
    if app == "blocked":
        return deployment(programs.Blocked, num_replicas=2).bind()
    if app == "compose":
        return deployment(programs.Compose, max_ongoing_requests=MANY).bind(
            deployment(programs.Adder, "First", max_ongoing_requests=MANY).bind(1),
            deployment(programs.Adder, "Second", max_ongoing_requests=MANY).bind(2),
            deployment(programs.Combiner, max_ongoing_requests=MANY).bind(),
        )
    if app == "handle":
        echo = deployment(programs.Echo, max_ongoing_requests=1000).bind()
        return deployment(programs.HandleLoop, max_ongoing_requests=MANY).bind(echo)
    if app in ("batch", "batch_two"):
        batches = programs.batches(serve.batch, 1 if app == "batch" else 2)
        return deployment(batches, max_ongoing_requests=MANY).bind()
    if app == "multiplex":
        models = many_models.many_models(serve.multiplexed, serve.get_multiplexed_model_id)
        replicas = many_models.REPLICAS
        return deployment(many_models.ModelLoop, max_ongoing_requests=MANY).bind(
            deployment(models, num_replicas=replicas, max_ongoing_requests=MANY).bind()
        )
    if app in ("digits", "digits_batch"):
        from bench.apps import digits

        target = digits.Single if app == "digits" else digits.batched(serve.batch)
        return deployment(target, max_ongoing_requests=MANY).bind()
    if app == "rpc":
        from bench.apps.rpc_service import Greeter

        return deployment(Greeter, max_ongoing_requests=MANY).bind()
    single = {
        "hello": programs.Hello,
        "hello_sync": programs.HelloSync,
        "sse": programs.Events,
        "upload": programs.Upload,
    }
    return deployment(single[app], max_ongoing_requests=MANY).bind()


def main() -> None:
    """Serve until SIGTERM."""
    app, port = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        start_ray()
        services = ["bench.apps.rpc_service.add_hello_to_server"] if app == "rpc" else []
        serve.start(
            http_options={"host": "127.0.0.1", "port": port},
            grpc_options={"port": rpc_port(port), "grpc_servicer_functions": services},
        )
        serve.run(build(app))
        signal.pause()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
