"""What the controller's process is given, where users' autoscaling policies run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from salver.spec.environment import check_variables
from salver.spec.fields import check_names, read
from salver.spec.model import ConfigModel

__all__ = ("ControllerEnv", "ControllerOptions", "read_controller_options")


class ControllerEnv(ConfigModel):
    """Of a `runtime_env`, what can be given to this process."""

    env_vars: Annotated[
        dict[str, str] | None,
        Meta(description="Environment variables of the controller's process."),
    ] = None

    def __post_init__(self) -> None:
        self._check_fields()
        check_variables(self.env_vars or {})


class ControllerOptions(ConfigModel):
    """How the controller is started, at first and after it died."""

    runtime_env: Annotated[
        ControllerEnv | None, Meta(description="What its process is given: env_vars.")
    ] = None

    def __post_init__(self) -> None:
        self._check_fields()

    @property
    def variables(self) -> dict[str, str]:
        """That are set in its process."""
        return (self.runtime_env and self.runtime_env.env_vars) or {}


def read_controller_options(given: object) -> ControllerOptions | None:
    """What `controller_options` may be: None, a dict, or ControllerOptions.

    TypeError: neither of them, an unknown key or a wrong type. ValueError: a wrong value.
    """
    if given is None or isinstance(given, ControllerOptions):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(
            f"controller_options={given!r} is not valid: expected a dict such as "
            '{"runtime_env": {"env_vars": {...}}}, or ControllerOptions.'
        )
    check_names(ControllerOptions, given, "a key of controller_options")
    return read(ControllerOptions, given, "controller_options")
