"""`ray.runtime_env`: the dict that it is, by keywords."""

from __future__ import annotations

from typing import Any, NoReturn

from salver.like.refusals import refuse_name

__all__ = ("RuntimeEnv",)


class RuntimeEnv(dict[str, Any]):
    """A `runtime_env`. It is read where it is given to something."""

    def __init__(self, **options: Any) -> None:
        super().__init__({name: value for name, value in options.items() if value is not None})


def __getattr__(name: str) -> NoReturn:
    refuse_name("ray.runtime_env", name)
