"""`ray.serve._private` and what is below it: the types that policies of whole apps are told by."""

from __future__ import annotations

from typing import NoReturn

from salver.like.refusals import refuse_name
from salver.serve.config import AutoscalingContext, DeploymentID

__all__ = ("AutoscalingContext", "DeploymentID")


def __getattr__(name: str) -> NoReturn:
    refuse_name("ray.serve._private", name)


__path__: list[str] = []  # a package, as `common` and `autoscaling_state` are looked for below it
