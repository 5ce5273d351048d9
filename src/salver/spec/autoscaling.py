"""How the number of replicas follows the load: the options, and what a policy is told."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from salver.spec.code import ImportedCode, PickledCode
from salver.spec.fields import check_field
from salver.spec.ids import DeploymentId, ReplicaId
from salver.spec.mistakes import unknown
from salver.spec.model import ConfigModel, KnownFields

__all__ = (
    "AUTO",
    "DEFAULT_POLICY",
    "AggregationFunction",
    "AutoscalingConfig",
    "AutoscalingContext",
    "AutoscalingPolicy",
    "TimeStampedValue",
    "read_autoscaling",
)

DEFAULT_POLICY: Final = "salver.serve.autoscaling_policy:default_autoscaling_policy"
_DEFAULTS: Final = frozenset(
    f"{package}.autoscaling_policy:{name}"
    for package in ("salver.serve", "ray.serve")
    for name in ("default_autoscaling_policy", "replica_queue_length_autoscaling_policy")
)
# What `num_replicas="auto"` stands for; `autoscaling_config` says what differs.
AUTO: Final[Mapping[str, Any]] = {
    "min_replicas": 1,
    "max_replicas": 100,
    "target_ongoing_requests": 2,
}
_REPORT_S: Final = 1.0  # no report of the load is older
_SHARE: Final = 0.2  # of the look-back period, between two reports


class AggregationFunction(StrEnum):
    """How the load of the look-back period becomes one number."""

    MEAN = "mean"
    MAX = "max"
    MIN = "min"


_RENAMED: Final = {
    "smoothing_factor": "upscaling_factor and downscaling_factor",
    "upscale_smoothing_factor": "upscaling_factor",
    "downscale_smoothing_factor": "downscaling_factor",
}


class _Renamed(KnownFields):
    """Old names are answered with the new ones."""

    def __call__(cls, *args: Any, **given: Any) -> Any:  # noqa: N805 - a class is its "self"
        for name in given:
            if name in _RENAMED and given[name] not in (None, 1.0):
                text = f"{name} is an old name: use {_RENAMED[name]}."
                warnings.warn(text, DeprecationWarning, stacklevel=2)
        return super().__call__(*args, **given)


class AutoscalingPolicy(ConfigModel):
    """A rule of one's own: a function or a class, and arguments by name for it."""

    policy_function: Annotated[
        Any, Meta(description="A function or a class, or where one is found: `module:name`.")
    ] = DEFAULT_POLICY
    policy_kwargs: Annotated[
        dict[str, Any], Meta(description="Arguments by name for the function or the class.")
    ] = msgspec.field(default_factory=dict)

    @property
    def is_default(self) -> bool:
        """Whether this is the rule that holds when none is given."""
        return isinstance(self.policy_function, str) and self.policy_function in _DEFAULTS

    def __post_init__(self) -> None:
        function = self.policy_function
        if isinstance(function, Mapping):  # as it comes over the wire
            with suppress(msgspec.ValidationError):
                function = msgspec.convert(function, ImportedCode | PickledCode)
                msgspec.structs.force_setattr(self, "policy_function", function)
        path = isinstance(function, str) and len(function.replace(":", ".").split(".")) > 1
        code = inspect.isroutine(function) or inspect.isclass(function)
        if not (path or code or isinstance(function, ImportedCode | PickledCode)):
            raise TypeError(
                f"policy_function={function!r} is not valid: expected a function, a class, or "
                "where one is found, such as 'my_module:my_policy'."
            )
        check_field(AutoscalingPolicy, "policy_kwargs", self.policy_kwargs)
        try:
            json.dumps(self.policy_kwargs)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"policy_kwargs={self.policy_kwargs!r} is not valid: expected what JSON can hold "
                f"({error})."
            ) from None


_Positive = Annotated[float, Meta(gt=0)]


class AutoscalingConfig(ConfigModel, kw_only=True, metaclass=_Renamed):
    """Bounds, target and patience of one deployment."""

    min_replicas: Annotated[
        int, Meta(ge=0, description="Never fewer replicas; 0: none while there is no request.")
    ] = 1
    initial_replicas: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Replicas at the first deploy. None: min_replicas."),
    ] = None
    max_replicas: Annotated[int, Meta(gt=0, description="Never more replicas.")] = 1
    target_ongoing_requests: Annotated[
        float, Meta(gt=0, description="Requests, running and queued, that one replica is to have.")
    ] = 2.0
    metrics_interval_s: Annotated[
        float, Meta(gt=0, description="Longest time between two reports of the load, up to 1 s.")
    ] = 10.0
    look_back_period_s: Annotated[
        float, Meta(gt=0, description="Period over which the load is taken together.")
    ] = 30.0
    aggregation_function: Annotated[
        AggregationFunction,
        Meta(description="How the load of the look-back period becomes one number."),
    ] = AggregationFunction.MEAN
    upscaling_factor: Annotated[
        _Positive | None,
        Meta(description="Share of the wish for more that is granted at a time. None: all."),
    ] = None
    downscaling_factor: Annotated[
        _Positive | None,
        Meta(description="Share of the wish for fewer that is granted at a time. None: all."),
    ] = None
    smoothing_factor: Annotated[float, Meta(gt=0, description="Old name of both factors.")] = 1.0
    upscale_smoothing_factor: Annotated[
        _Positive | None, Meta(description="Old name of upscaling_factor.")
    ] = None
    downscale_smoothing_factor: Annotated[
        _Positive | None, Meta(description="Old name of downscaling_factor.")
    ] = None
    upscale_delay_s: Annotated[
        float, Meta(ge=0, description="How long more must be wanted before more are started.")
    ] = 30.0
    downscale_delay_s: Annotated[
        float, Meta(ge=0, description="How long fewer must be wanted before some are stopped.")
    ] = 600.0
    downscale_to_zero_delay_s: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(description="The same for the last replica. None: downscale_delay_s."),
    ] = None
    policy: Annotated[
        AutoscalingPolicy, Meta(description="The rule that says how many are wanted.")
    ] = AutoscalingPolicy()

    def __post_init__(self) -> None:
        self._check_fields(without="policy")
        if isinstance(self.policy, Mapping):
            policy = _of(AutoscalingPolicy, self.policy, "policy")
            msgspec.structs.force_setattr(self, "policy", policy)
        if not isinstance(self.policy, AutoscalingPolicy):
            raise TypeError(
                f"policy={self.policy!r} is not valid: expected an AutoscalingPolicy, or a dict "
                'such as {"policy_function": "my_module:my_policy"}.'
            )
        self._check_bounds()

    def _check_bounds(self) -> None:
        least, first, most = self.min_replicas, self.initial_replicas, self.max_replicas
        if most < least:
            raise ValueError(
                f"max_replicas={most} is less than min_replicas={least}: expected at "
                "least as many. Give max_replicas too."
            )
        if first is not None and not least <= first <= most:
            raise ValueError(
                f"initial_replicas={first} is not valid: expected min_replicas={least} to "
                f"max_replicas={most}."
            )

    @property
    def first_replicas(self) -> int:
        """How many there are before there was any load."""
        return self.min_replicas if self.initial_replicas is None else self.initial_replicas

    @property
    def factor_up(self) -> float:
        """The share of the wish for more that is granted, by whichever name it was given."""
        return self.upscaling_factor or self.upscale_smoothing_factor or self.smoothing_factor

    @property
    def factor_down(self) -> float:
        """The share of the wish for fewer."""
        return self.downscaling_factor or self.downscale_smoothing_factor or self.smoothing_factor

    @property
    def to_zero_delay_s(self) -> float:
        """How long none must be wanted before the last one is stopped."""
        delay = self.downscale_to_zero_delay_s
        return self.downscale_delay_s if delay is None else delay

    @property
    def report_s(self) -> float:
        """The longest time between two reports of the load."""
        return min(_REPORT_S, self.metrics_interval_s, _SHARE * self.look_back_period_s)


def read_autoscaling(given: object, *, auto: bool = False) -> AutoscalingConfig:
    """What users give as `autoscaling_config`; `auto`: what it leaves out is as AUTO says."""
    if isinstance(given, AutoscalingConfig):
        if not auto:
            return given
        given = _changed(given)
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(
            f"autoscaling_config={given!r} is not valid: expected an AutoscalingConfig, or a dict "
            'such as {"min_replicas": 1, "max_replicas": 5}.'
        )
    fields = {**(AUTO if auto else {}), **(given or {})}
    config: AutoscalingConfig = _of(AutoscalingConfig, fields, "autoscaling_config")
    return config


def _changed(config: AutoscalingConfig) -> dict[str, Any]:
    """The fields that differ from their defaults: what the user has set, as far as it shows."""
    plain = AutoscalingConfig()
    names = config.__struct_fields__
    return {n: getattr(config, n) for n in names if getattr(config, n) != getattr(plain, n)}


def _of(kind: type[Any], given: Mapping[str, Any], where: str) -> Any:
    """A dict that a user wrote as a struct."""
    for name in given:
        if name not in kind.__struct_fields__:
            raise TypeError(unknown(str(name), kind.__struct_fields__, f"a field of {where}"))
    return kind(**given)


class TimeStampedValue(NamedTuple):
    """One figure of a replica's, and since when it holds."""

    timestamp: float
    value: float


class AutoscalingContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy is told of one deployment. Times are seconds since the epoch."""

    deployment_id: DeploymentId
    config: AutoscalingConfig
    current_num_replicas: int  # that run
    target_num_replicas: int  # that were wanted last
    running_replicas: tuple[ReplicaId, ...] = ()
    total_num_requests: float = 0.0  # queued and running, taken together over the look-back period
    total_queued_requests: float = 0.0
    total_running_requests: float = 0.0
    aggregated_metrics: dict[str, dict[ReplicaId, float]] = {}  # of record_autoscaling_stats
    raw_metrics: dict[str, dict[ReplicaId, list[TimeStampedValue]]] = {}
    capacity_adjusted_min_replicas: int = 1
    capacity_adjusted_max_replicas: int = 1
    policy_state: dict[str, Any] = {}
    last_scale_up_time: float | None = None
    last_scale_down_time: float | None = None
    current_time: float = 0.0

    @property
    def deployment_name(self) -> str:
        return self.deployment_id.name

    @property
    def app_name(self) -> str:
        return self.deployment_id.app
