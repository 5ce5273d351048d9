"""Where code runs, in the words of `ray`."""

from __future__ import annotations

import socket
from typing import Any

from salver.api import session
from salver.replica.context import current_replica
from salver.settings import visible_gpus

__all__ = ("RuntimeContext", "get_gpu_ids", "get_runtime_context", "nodes")


class RuntimeContext:
    """Of a replica, or of the program that started everything."""

    namespace = "serve"
    was_current_actor_reconstructed = False

    def get_node_id(self) -> str:
        """The name of this machine."""
        return socket.gethostname()

    def get_job_id(self) -> str:
        """There is one instance, and it is the job."""
        return "01000000"

    def get_actor_id(self) -> str | None:
        """The replica's own part of its id; None outside of one."""
        replica = current_replica.get(None)
        return replica.replica_tag if replica is not None else None

    def get_actor_name(self) -> str | None:
        """The whole id of the replica."""
        replica = current_replica.get(None)
        return str(replica.replica_id) if replica is not None else None

    def get_worker_id(self) -> str:
        """A replica is a process of its own."""
        return self.get_actor_id() or "driver"

    def get_task_id(self) -> None:
        """Calls have request ids: `serve.context` has the current one."""

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """The GPUs that this process was given."""
        return {"GPU": [str(gpu) for gpu in get_gpu_ids()]}


def get_runtime_context() -> RuntimeContext:
    """Where this code runs."""
    return RuntimeContext()


def get_gpu_ids() -> list[int | str]:
    """The GPUs that this process was given; none in a program without a share of its own."""
    return [int(gpu) if gpu.isdigit() else gpu for gpu in visible_gpus()]


def nodes() -> list[dict[str, Any]]:
    """This machine."""
    resources: dict[str, float] = {}
    if session.cluster() is not None:
        total, _ = session.capacity_now()
        resources = {"CPU": total.num_cpus, "GPU": total.num_gpus, "memory": total.memory}
    return [
        {
            "NodeID": socket.gethostname(),
            "Alive": True,
            "NodeManagerAddress": "127.0.0.1",
            "NodeManagerHostname": socket.gethostname(),
            "Resources": {name: value for name, value in resources.items() if value},
        }
    ]
