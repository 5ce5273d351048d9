"""Options as programs and files give them: every spelling that is known, each value checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal, TypedDict

from msgspec.structs import asdict

from salver.spec.autoscaling import AutoscalingConfig, read_autoscaling
from salver.spec.backpressure import BackpressureConfig
from salver.spec.companions import DeploymentActorConfig
from salver.spec.environment import read_runtime_env
from salver.spec.fields import check_field
from salver.spec.logging import LoggingConfig, read_logging
from salver.spec.mistakes import unknown
from salver.spec.options import DeploymentOptions, description
from salver.spec.placement import GangSchedulingConfig, check_named
from salver.spec.routing import RequestRouterConfig, read_routing
from salver.spec.structs import default

__all__ = ("OptionsDict", "merged_options", "read_options")


class OptionsDict(TypedDict, total=False):
    """What `@deployment(...)` takes: `DeploymentOptions` and the other names Ray Serve knows."""

    name: str
    num_replicas: int | Literal["auto"] | None
    autoscaling_config: AutoscalingConfig | dict[str, Any] | None
    max_ongoing_requests: int
    max_queued_requests: int
    user_config: Any
    num_cpus: float | None
    num_gpus: float
    memory: float
    resources: dict[str, float]
    env_vars: dict[str, str]
    logging_config: LoggingConfig | dict[str, Any] | None
    working_dir: str | None
    py_modules: list[str]
    pip: list[str] | str | None
    startup_timeout_s: float
    max_constructor_retry_count: int
    health_check_period_s: float
    health_check_timeout_s: float
    graceful_shutdown_wait_loop_s: float
    graceful_shutdown_timeout_s: float
    ray_actor_options: dict[str, Any]
    version: str | None
    backpressure_config: BackpressureConfig | dict[str, Any] | None
    request_router_config: RequestRouterConfig | dict[str, Any] | None
    placement_group_bundles: list[dict[str, float]] | None
    placement_group_strategy: str | None
    placement_group_bundle_label_selector: list[dict[str, str]] | None
    max_replicas_per_node: int | None
    accelerator_type: str | None
    label_selector: dict[str, str] | None
    fallback_strategy: list[dict[str, Any]] | None
    gang_scheduling_config: GangSchedulingConfig | dict[str, Any] | None
    deployment_actors: list[DeploymentActorConfig | dict[str, Any]] | None
    rolling_update_percentage: float | None
    max_surge_percent: int | None


_FIELDS: Final = DeploymentOptions.__struct_fields__
# Where Ray Serve's users may write None for "as if it were left out".
_NONE_IS_DEFAULT: Final = frozenset({
    "backpressure_config", "rolling_update_percentage", "placement_group_bundles",
    "placement_group_bundle_label_selector", "label_selector", "fallback_strategy",
    "deployment_actors",
})  # fmt: skip
_PROCESS_FIELDS: Final = (
    "num_cpus", "num_gpus", "memory", "resources", "accelerator_type", "label_selector",
    "fallback_strategy",
)  # fmt: skip


# Of Ray Serve's own making; users have found them in its signatures.
_PRIVATE: Final = {
    "_init_args": "arguments are given to `.bind()`",
    "_init_kwargs": "arguments are given to `.bind()`",
    "_internal": "it marks deployments of Ray Serve's own",
}


# What old programs of Ray Serve's say.
_MOVED: Final = {
    "init_args": "arguments are given to `.bind()`",
    "init_kwargs": "arguments are given to `.bind()`",
    "max_concurrent_queries": "it is max_ongoing_requests now",
    "route_prefix": "it is an app's, and given to `run(app, route_prefix=...)`",
}


def read_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was set, by field, each value checked; `name` is not among it.

    TypeError: an unknown name or a wrong type. ValueError: out of bounds.
    NotImplementedError: known, and not there.
    """
    fields: dict[str, Any] = {}
    process = given.get("ray_actor_options")
    if process is not None:
        fields.update(_read_process_options(process))
    for name, value in given.items():
        if name in _MOVED:
            raise TypeError(f"{name}={value!r}: no option of deployments any more: {_MOVED[name]}.")
        if name in _EITHER[0]:
            continue  # read together, below
        if name in _FIELDS:
            _refuse_twice(name, process)
            fields[name] = _checked(name, value)
        elif name == "version":
            _refuse_version(value)
        elif name in _PRIVATE:
            if value:
                raise NotImplementedError(f"{name}={value!r}: {_PRIVATE[name]}. Leave it out.")
        elif name != "ray_actor_options":
            known = [*_FIELDS, "name", "ray_actor_options"]
            raise TypeError(unknown(name, known, "an option of a deployment"))
    return fields | _read_replicas(given)


def merged_options(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What was set, and then this: a fixed number of replicas and autoscaling end each other."""
    merged = {**before, **after}
    for one, other in _EITHER:
        if after.get(one) is not None and other not in after:
            merged.pop(other, None)
    return merged


_EITHER: Final = (("num_replicas", "autoscaling_config"), ("autoscaling_config", "num_replicas"))


def _read_replicas(given: Mapping[str, Any]) -> dict[str, Any]:
    """`num_replicas` and `autoscaling_config` together say how many there are."""
    number, config = given.get("num_replicas"), given.get("autoscaling_config")
    if number == "auto":
        return {"autoscaling_config": read_autoscaling(config, auto=True)}
    if config is None:
        if "num_replicas" not in given:
            return {"autoscaling_config": None} if "autoscaling_config" in given else {}
        return {"num_replicas": 1 if number is None else _checked("num_replicas", number)}
    if number is not None:
        raise ValueError(
            "Manually setting num_replicas is not allowed when autoscaling_config is provided. "
            f'Leave out num_replicas={number!r}, or give num_replicas="auto".'
        )
    return {"autoscaling_config": read_autoscaling(config)}


def _read_process_options(given: object) -> dict[str, Any]:
    """`ray_actor_options` says all of a replica's process: what it leaves out is default."""
    if not isinstance(given, Mapping):
        raise TypeError(
            f"ray_actor_options={given!r} is not valid: expected a dict such as "
            '{"num_cpus": 1, "num_gpus": 0.5}.'
        )
    fields = {name: default(DeploymentOptions, name) for name in _PROCESS_FIELDS}
    fields |= asdict(read_runtime_env(None))
    for name, value in given.items():
        if name in _PROCESS_FIELDS:
            fields[name] = fields[name] if value is None else _checked(name, value)
        elif name == "runtime_env":
            fields |= asdict(read_runtime_env(value))
        else:
            known = [*_PROCESS_FIELDS, "runtime_env"]
            raise ValueError(unknown(str(name), known, "a key of ray_actor_options"))
    return fields


def _checked(name: str, value: Any) -> Any:
    if name in _NONE_IS_DEFAULT and value is None:
        return default(DeploymentOptions, name)
    if name == "user_config":
        return _checked_user_config(value)
    if name == "logging_config":
        return read_logging(value)
    if name == "request_router_config":
        return read_routing(value)
    if name in ("env_vars", "working_dir", "py_modules", "pip"):
        return getattr(read_runtime_env({name: value}, ""), name)
    checked = check_field(DeploymentOptions, name, value)
    if name == "num_gpus" and checked > 1 and checked % 1:
        raise ValueError(
            f"num_gpus={value!r} is not valid: expected a share of one GPU, such as 0.5, or whole "
            "ones."
        )
    if name == "resources":
        check_named(checked)
    if name == "max_queued_requests" and checked == 0:
        raise ValueError(
            "max_queued_requests=0 is not valid: expected -1 (no bound) or at least 1. "
            f"What it means: {description(name)}"
        )
    return checked


def _checked_user_config(value: Any) -> Any:
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"user_config={value!r} is not valid: expected what JSON can hold ({error}). "
            "Pass other objects to `.bind()` instead."
        ) from None
    return value


def _refuse_twice(name: str, process: object) -> None:
    if isinstance(process, Mapping) and name in process:
        raise ValueError(
            f"{name} is given twice: as an option and in ray_actor_options. Keep one of the two."
        )


def _refuse_version(value: object) -> None:
    if value is not None:
        raise ValueError(
            f"version={value!r} is not valid: versions are made by Salver. Leave it out."
        )
