"""Every option of a deployment, once: its name, type, default, bounds and what it means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypedDict

import msgspec
from msgspec import Meta
from msgspec.structs import asdict

from salver.spec.autoscaling import AutoscalingConfig, read_autoscaling
from salver.spec.backpressure import BackpressureConfig
from salver.spec.environment import EnvVars, Pip, PyModules, WorkingDir, read_runtime_env
from salver.spec.fields import check, default, meta, unknown
from salver.spec.logging import LoggingConfig, read_logging
from salver.spec.placement import (
    Accelerator,
    BundleLabels,
    Bundles,
    Fallbacks,
    Gang,
    GangSchedulingConfig,
    Labels,
    PerNode,
    Strategy,
    check_placement,
)
from salver.spec.routing import RequestRouterConfig, read_routing

__all__ = (
    "DeploymentOptions",
    "OptionsDict",
    "change_of",
    "description",
    "merged_options",
    "read_options",
)

# What a change of an option asks of the replicas that run.
NOTHING: Final = {"change": "nothing"}  # the controller or the callers act on it
RECONFIGURE: Final = {"change": "reconfigure"}  # they are told, and go on
RESTART: Final = {"change": "restart"}  # they cannot be taught, and are replaced


class DeploymentOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a deployment asks for. The decorator, `.options()` and files all end here."""

    num_replicas: Annotated[
        int,
        Meta(
            gt=0,
            description="Copies that run, unless autoscaling_config says otherwise.",
            extra=NOTHING,
        ),
    ] = 1
    autoscaling_config: Annotated[
        AutoscalingConfig | None,
        Meta(description="How the number of copies follows the load.", extra=NOTHING),
    ] = None
    max_ongoing_requests: Annotated[
        int,
        Meta(
            gt=0,
            description="Requests that one replica works on at a time.",
            extra=RECONFIGURE,
        ),
    ] = 5
    max_queued_requests: Annotated[
        int,
        Meta(
            ge=-1,
            description="Requests that wait in each caller; -1: no bound.",
            extra=NOTHING,
        ),
    ] = -1
    request_router_config: Annotated[
        RequestRouterConfig | None,
        Meta(description="How callers choose a replica. None: the less loaded.", extra=NOTHING),
    ] = None
    backpressure_config: Annotated[
        BackpressureConfig,
        Meta(
            description="The answer to a request for which the queue has no room: "
            "its `status_code` (503 or 429) and `retry_after_s`.",
            extra=NOTHING,
        ),
    ] = BackpressureConfig()
    user_config: Annotated[
        Any, Meta(description="Passed to the object's `reconfigure`.", extra=RECONFIGURE)
    ] = None
    num_cpus: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(
            description="CPUs of one replica. None: one thread, held back by none.",
            extra=RESTART,
        ),
    ] = None
    num_gpus: Annotated[
        float, Meta(ge=0, description="GPUs of one replica; may be a share.", extra=RESTART)
    ] = 0.0
    memory: Annotated[
        float, Meta(ge=0, description="Bytes that one replica asks for.", extra=RESTART)
    ] = 0.0
    resources: Annotated[
        dict[str, Annotated[float, Meta(ge=0)]],
        Meta(description="Named resources.", extra=RESTART),
    ] = {}
    env_vars: EnvVars = {}
    working_dir: WorkingDir = None
    py_modules: PyModules = []
    pip: Pip = None
    logging_config: Annotated[
        LoggingConfig | None,
        Meta(
            description="How its replicas log. None: as the app, or else the instance, says.",
            extra=RECONFIGURE,
        ),
    ] = None
    startup_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            description="How long a replica may wait for its resources and start.",
            extra=NOTHING,
        ),
    ] = 600.0
    max_constructor_retry_count: Annotated[
        int,
        Meta(
            gt=0,
            description="Failed starts in a row before the deployment has failed; "
            "at its default, at most three for each replica.",
            extra=NOTHING,
        ),
    ] = 20
    health_check_period_s: Annotated[
        float,
        Meta(gt=0, description="Time between two checks of a replica's health.", extra=NOTHING),
    ] = 10.0
    health_check_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            description="How long `check_health` may take before it has failed.",
            extra=NOTHING,
        ),
    ] = 30.0
    graceful_shutdown_wait_loop_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Least time that a stopping replica stays for late requests.",
            extra=NOTHING,
        ),
    ] = 2.0
    graceful_shutdown_timeout_s: Annotated[
        float,
        Meta(
            ge=0,
            description="How long a stopping replica may finish its requests.",
            extra=NOTHING,
        ),
    ] = 20.0

    rolling_update_percentage: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="Share of the replicas, one at least, that take a new configuration, or "
            "are exchanged where there is no room for old beside new, at a time.",
            extra=NOTHING,
        ),
    ] = 0.2
    max_surge_percent: Annotated[
        Annotated[int, Meta(ge=0, le=100)] | None,
        Meta(
            description="How many more replicas than `num_replicas` an update may run, in percent "
            "of them; old and new serve side by side meanwhile. 0: old ones stop first, "
            "rolling_update_percentage of them at a time. None: all new ones start beside the old, "
            "and take over at one moment.",
            extra=NOTHING,
        ),
    ] = None
    placement_group_bundles: Bundles = []
    placement_group_strategy: Strategy = None
    placement_group_bundle_label_selector: BundleLabels = []
    max_replicas_per_node: PerNode = None
    accelerator_type: Accelerator = None
    label_selector: Labels = {}
    fallback_strategy: Fallbacks = []
    gang_scheduling_config: Gang = None

    def __post_init__(self) -> None:
        check_placement(self)


class OptionsDict(TypedDict, total=False):
    """What `@deployment(...)` takes: the fields above and the other names Ray Serve knows."""

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
    deployment_actors: Any
    rolling_update_percentage: float | None
    max_surge_percent: int | None


_FIELDS: Final = {field.name: field for field in msgspec.structs.fields(DeploymentOptions)}
# Known to users of Ray Serve, not there yet: the values that ask for nothing.
_LATER: Final[dict[str, tuple[Any, ...]]] = {
    "deployment_actors": (None, []),
}
# Where Ray Serve's users may write None for "as if it were left out".
_NONE_IS_DEFAULT: Final = frozenset({
    "backpressure_config", "rolling_update_percentage", "placement_group_bundles",
    "placement_group_bundle_label_selector", "label_selector", "fallback_strategy",
})  # fmt: skip
_PROCESS_FIELDS: Final = (
    "num_cpus", "num_gpus", "memory", "resources", "accelerator_type", "label_selector",
    "fallback_strategy",
)  # fmt: skip


def read_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was set, by field, each value checked; `name` is not among it.

    TypeError: an unknown name or a wrong type. ValueError: out of bounds.
    NotImplementedError: known, and not there yet.
    """
    fields: dict[str, Any] = {}
    process = given.get("ray_actor_options")
    if process is not None:
        fields.update(_read_process_options(process))
    for name, value in given.items():
        if name in _EITHER[0]:
            continue  # read together, below
        if name in _FIELDS:
            _refuse_twice(name, process)
            fields[name] = _checked(name, value)
        elif name in _LATER:
            _refuse_later(name, value, _LATER[name])
        elif name == "version":
            _refuse_version(value)
        elif name != "ray_actor_options":
            known = [*_FIELDS, *_LATER, "name", "ray_actor_options"]
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
    if name in ("working_dir", "py_modules", "pip"):
        return getattr(read_runtime_env({name: value}), name)
    checked = check(DeploymentOptions, name, value)
    if name == "num_gpus" and checked > 1 and checked % 1:
        raise ValueError(
            f"num_gpus={value!r} is not valid: expected a share of one GPU, such as 0.5, or whole "
            "ones."
        )
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


def description(name: str) -> str:
    """What an option means, in a sentence."""
    return meta(DeploymentOptions, name).description or ""


def change_of(name: str) -> str:
    """What a change of this option asks of living replicas: nothing, reconfigure, restart."""
    return str((meta(DeploymentOptions, name).extra or {})["change"])


def _refuse_twice(name: str, process: object) -> None:
    if isinstance(process, Mapping) and name in process:
        raise ValueError(
            f"{name} is given twice: as an option and in ray_actor_options. Keep one of the two."
        )


def _refuse_later(name: str, value: Any, neutral: tuple[Any, ...]) -> None:
    if not any(type(value) is type(one) and value == one for one in neutral):
        raise NotImplementedError(
            f"{name}={value!r}: this option is not there yet in this version of Salver. "
            "Leave it out."
        )


def _refuse_version(value: object) -> None:
    if value is not None:
        raise ValueError(
            f"version={value!r} is not valid: versions are made by Salver. Leave it out."
        )
