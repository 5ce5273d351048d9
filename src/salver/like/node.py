"""`ray.util`: the little of it that serving programs touch."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from salver.like.refusals import refuse_name

__all__ = ("get_node_ip_address",)


def get_node_ip_address() -> str:
    """Where the instance's processes are reached: this machine."""
    return "127.0.0.1"


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return import_module("ray.util.metrics")
    return refuse_name("ray.util", name)


__path__: list[str] = []  # a package, as `ray.util.metrics` is looked for below it
