"""How Ray is started for the bench: on this machine alone, 8 logical CPUs, no dashboard."""

from __future__ import annotations

import os

import ray


def start_ray() -> None:
    """A fresh cluster whose files lie in the bench's scratch folder."""
    ray.init(
        address="local",
        num_cpus=8,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=1 << 30,
        _node_ip_address="127.0.0.1",
        _temp_dir=os.environ["TMPDIR"] + "/ray",
    )
