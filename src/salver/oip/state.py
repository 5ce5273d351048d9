"""What clients have told a server that holds for all its models: settings, regions. No numpy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from salver.oip.errors import InvalidMessageError, UnsupportedError
from salver.oip.metadata import (
    BatchStatistics,
    Duration,
    InferStatistics,
    ModelStatistics,
    SharedMemoryRegion,
)
from salver.oip.service_settings import (
    LOG_DEFAULTS,
    TRACE_DEFAULTS,
    Log,
    Trace,
    changed_log,
    changed_trace,
)

__all__ = ("InferenceState", "merged", "registered", "with_log", "with_trace", "without_regions")

S = TypeVar("S", InferStatistics, BatchStatistics)


class InferenceState(msgspec.Struct, frozen=True):
    """The whole of it, as replicas are told."""

    log: Log = msgspec.field(default_factory=lambda: dict(LOG_DEFAULTS))
    trace: Trace = msgspec.field(default_factory=lambda: dict(TRACE_DEFAULTS))
    model_traces: dict[str, Trace] = {}
    regions: tuple[SharedMemoryRegion, ...] = ()
    versions: dict[str, tuple[str, ...]] = {}  # of the models that several deployments answer for

    def trace_of(self, model: str) -> Trace:
        """The trace settings that hold for a model."""
        return self.model_traces.get(model, self.trace)


# Where output goes, and in which form, is the operator's to say, not any client's.
_FIXED = {
    "log_file": "where logs go is set by logging_config",
    "log_format": "how logs look is set by logging_config",
    "trace_file": "traces go to the log",
    "log_frequency": "traces go to the log as they happen",
}


def with_log(state: InferenceState, changes: Mapping[str, Any]) -> InferenceState:
    """The state after these changes of log settings."""
    log = changed_log(state.log, changes)
    _refuse_fixed(log, LOG_DEFAULTS)
    return msgspec.structs.replace(state, log=log)


def with_trace(state: InferenceState, changes: Mapping[str, Any], model: str) -> InferenceState:
    """The state after these changes of trace settings, of one model or of all."""
    if not model:
        trace = changed_trace(state.trace, changes, dict(TRACE_DEFAULTS))
        _refuse_fixed(trace, TRACE_DEFAULTS)
        return msgspec.structs.replace(state, trace=trace)
    trace = changed_trace(state.trace_of(model), changes, state.trace)
    _refuse_fixed(trace, TRACE_DEFAULTS)
    traces = state.model_traces | {model: trace}
    return msgspec.structs.replace(state, model_traces=traces)


def _refuse_fixed(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    for name, why in _FIXED.items():
        if name in settings and settings[name] != defaults[name]:
            raise UnsupportedError(f"setting {name!r} cannot be changed by clients: {why}")


def registered(state: InferenceState, region: SharedMemoryRegion) -> InferenceState:
    """The state with one region more; a name is taken once."""
    if any(known.name == region.name for known in state.regions):
        raise InvalidMessageError(f"region {region.name!r:.60} is registered already")
    return msgspec.structs.replace(state, regions=(*state.regions, region))


def without_regions(state: InferenceState, name: str = "") -> InferenceState:
    """The state without that region, or without any."""
    left = tuple(region for region in state.regions if name and region.name != name)
    return msgspec.structs.replace(state, regions=left)


def merged(statistics: Iterable[ModelStatistics]) -> list[ModelStatistics]:
    """One entry for each model, whatever number of replicas told of it."""
    found: dict[tuple[str, str], ModelStatistics] = {}
    for one in statistics:
        key = (one.name, one.version)
        found[key] = _sum(found[key], one) if key in found else one
    return [found[key] for key in sorted(found)]


def _sum(a: ModelStatistics, b: ModelStatistics) -> ModelStatistics:
    batches = {one.batch_size: one for one in a.batch_stats}
    for one in b.batch_stats:
        known = batches.get(one.batch_size)
        batches[one.batch_size] = _durations(known, one) if known is not None else one
    return msgspec.structs.replace(
        a,
        last_inference=max(a.last_inference, b.last_inference),
        inference_count=a.inference_count + b.inference_count,
        execution_count=a.execution_count + b.execution_count,
        inference_stats=_durations(a.inference_stats, b.inference_stats),
        batch_stats=[batches[size] for size in sorted(batches)],
    )


def _durations(a: S, b: S) -> S:
    """Every time that they have, added."""
    times = {}
    for name in a.__struct_fields__:
        one, other = getattr(a, name), getattr(b, name)
        if isinstance(one, Duration):
            times[name] = Duration(one.count + other.count, one.ns + other.ns)
    return msgspec.structs.replace(a, **times)
