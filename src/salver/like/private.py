"""`ray.serve._private` and what is below it: types and words that programs take from there."""

from __future__ import annotations

from typing import Final, NoReturn

from salver.like.refusals import refuse_name
from salver.serve.config import AutoscalingContext, DeploymentID

__all__ = ("SERVE_DEFAULT_APP_NAME", "SERVE_LOGGER_NAME", "AutoscalingContext", "DeploymentID")

SERVE_DEFAULT_APP_NAME: Final = "default"
SERVE_LOGGER_NAME: Final = "ray.serve"


def __getattr__(name: str) -> NoReturn:
    refuse_name("ray.serve._private", name)


__path__: list[str] = []  # a package, as `common` and others are looked for below it
