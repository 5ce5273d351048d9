"""How many replicas a deployment is to have: from its load, its policy's wish, and patience.

A policy says how many it wants, as a real number. Here that becomes a decision: a share of the wish
(the factors), within the bounds, once it has been wanted for long enough (the delays).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import ceil, floor
from typing import Any, Final

import msgspec

from salver.core.rollout import in_gangs
from salver.core.series import Series
from salver.spec.autoscaling import AutoscalingConfig, AutoscalingContext, TimeStampedValue
from salver.spec.ids import DeploymentId, ReplicaId

__all__ = (
    "Autoscaler",
    "Decision",
    "adjusted",
    "default_autoscaling_policy",
    "granted",
    "report_pauses",
)

GOLDEN: Final = 0.618033988749895  # its multiples, less whole numbers, fill 0 to 1 evenly
SPREAD: Final = 0.4
LEAST_LOOK_S: Final = 0.01
MOST_LOOK_S: Final = 1.0
LOOKS: Final = 20  # in a look-back period, while the load changes
ROUNDING: Final = 1e-9  # so that 6.000000000000001 / 2 is three replicas


def default_autoscaling_policy(ctx: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """As many as bring each to its target. From none, the first as soon as there is a request."""
    config = ctx.config
    if ctx.target_num_replicas == 0:
        return (_up(config.factor_up) if ctx.total_num_requests > 0 else 0), ctx.policy_state
    return ctx.total_num_requests / config.target_ongoing_requests, ctx.policy_state


def report_pauses(period_s: float) -> Iterator[float]:
    """Times between two reports of the load: up to the period, and never in step with the load.

    Whoever looks once a second at requests that come once a second sees them all, or none.
    """
    phase = 0.0
    while True:
        phase = (phase + GOLDEN) % 1
        yield period_s * (1 - SPREAD * phase)


def granted(wish: float, target: int, config: AutoscalingConfig) -> int:
    """Of the difference between a wish and what there is, the share that the factors grant.

    A fall is by one at least, and never below the wish.
    """
    if target == 0 or wish == target:
        return _up(wish)
    if wish > target:
        return _up(target + config.factor_up * (wish - target))
    most = target - 1 if _up(wish) < target else target
    return max(_up(wish), min(most, _up(target + config.factor_down * (wish - target))))


def adjusted(replicas: int, capacity: float | None) -> int:
    """A number of replicas at `target_capacity` percent: rounded half up, and none only of none."""
    if capacity is None or replicas == 0:
        return replicas
    if capacity == 0:
        return 0
    return max(1, floor(replicas * capacity / 100 + 0.5))


class Decision(msgspec.Struct, frozen=True):
    """A new number of replicas, and why."""

    before: int
    after: int
    why: str

    def __str__(self) -> str:
        return f"from {self.before} to {self.after}: {self.why}"


class Autoscaler:
    """Everything that is remembered of one deployment's load and of its last wishes."""

    def __init__(
        self,
        deployment: DeploymentId,
        config: AutoscalingConfig,
        *,
        max_ongoing: int,
        target: int | None = None,
        capacity: float | None = None,
        gang_size: int = 1,
        own_policy: bool = False,
    ) -> None:
        self.deployment = deployment
        self._capacity = capacity
        self._rises = target is None and capacity is not None  # towards all of its capacity
        self.configure(
            config,
            max_ongoing=max_ongoing,
            capacity=capacity,
            gang_size=gang_size,
            own_policy=own_policy,
        )
        first = adjusted(config.first_replicas, capacity)
        self.target = self.bounded(first if target is None else target)
        self.state: dict[str, Any] = {}  # the policy's
        self.last: int = 0  # the direction of the last decision: 1, -1, 0
        self._loads: dict[str, tuple[float, float]] = {}
        self._queued = Series(config.look_back_period_s)
        self._running = Series(config.look_back_period_s)
        self._total = Series(config.look_back_period_s)
        self._metrics: dict[ReplicaId, dict[str, Series]] = {}
        self._direction = 0
        self._since = 0.0
        self._moved = False  # by the last decision: the next one may move on
        self._used = float("-inf")  # when there was a call last
        self._last_up: float | None = None
        self._last_down: float | None = None

    def configure(
        self,
        config: AutoscalingConfig,
        *,
        max_ongoing: int,
        capacity: float | None = None,
        gang_size: int = 1,
        own_policy: bool = False,
    ) -> None:
        """From now on these options; what is known of the load stays.

        `own_policy`: the wish is the user's own; it may change with time alone.
        """
        self.config = config
        self.own_policy = own_policy
        self._max_ongoing = max_ongoing
        self._gang_size = gang_size
        if capacity != self._capacity:
            self._rises = capacity is not None and (self._capacity or capacity) < capacity
            self._capacity = capacity
        if hasattr(self, "_total"):
            for series in (self._queued, self._running, self._total):
                series.period_s = config.look_back_period_s
            self.target = self.bounded(self.target)

    # ---- what is told

    def load(
        self, source: str, queued: float, running: float, now: float, *, calls: int = 0
    ) -> None:
        """One router's part of the load, until it tells another.

        `calls` came to it since its last report: short ones are over before anybody looks.
        """
        self._loads[source] = (queued, running)
        if calls or queued or running:
            self._used = now
        self._told(now)

    def drop(self, source: str, now: float) -> None:
        """A router is gone, and its part of the load with it."""
        if self._loads.pop(source, None) is not None:
            self._told(now)

    def metrics(self, replica: ReplicaId, values: Mapping[str, float], now: float) -> None:
        """What a replica says of itself (`record_autoscaling_stats`)."""
        known = self._metrics.setdefault(replica, {})
        for name, value in values.items():
            series = known.get(name)
            if series is None:
                series = known[name] = Series(self.config.look_back_period_s)
            series.tell(value, now)

    def _told(self, now: float) -> None:
        queued = sum(load[0] for load in self._loads.values())
        running = sum(load[1] for load in self._loads.values())
        self._queued.tell(queued, now)
        self._running.tell(running, now)
        self._total.tell(queued + running, now)

    # ---- what a policy is told

    def context(
        self, running: Iterable[ReplicaId], now: float, *, epoch: float = 0.0
    ) -> AutoscalingContext:
        """As of now. `epoch` is what makes wall time of our clock's.

        Where there is no replica, the load is that of this moment: it is all that matters.
        """
        replicas = tuple(running)
        for gone in self._metrics.keys() - set(replicas):
            del self._metrics[gone]
        how = self.config.aggregation_function
        series = (self._total, self._queued, self._running)
        total, queued, active = (
            s.last if self.target == 0 else max(0.0, s.over(how, now)) for s in series
        )
        names = sorted({name for known in self._metrics.values() for name in known})
        by_metric = {n: {r: m[n] for r, m in self._metrics.items() if n in m} for n in names}
        return AutoscalingContext(
            deployment_id=self.deployment,
            config=self.config,
            current_num_replicas=len(replicas),
            target_num_replicas=self.target,
            running_replicas=replicas,
            total_num_requests=total,
            total_queued_requests=queued,
            total_running_requests=active,
            aggregated_metrics={
                n: {r: s.over(how, now) for r, s in by.items()} for n, by in by_metric.items()
            },
            raw_metrics={
                n: {
                    r: [TimeStampedValue(at + epoch, v) for at, v in s.points()]
                    for r, s in by.items()
                }
                for n, by in by_metric.items()
            },
            capacity_adjusted_min_replicas=self.bounds[0],
            capacity_adjusted_max_replicas=self.bounds[1],
            policy_state=self.state,
            last_scale_up_time=None if self._last_up is None else self._last_up + epoch,
            last_scale_down_time=None if self._last_down is None else self._last_down + epoch,
            current_time=now + epoch,
        )

    # ---- what is decided

    @property
    def bounds(self) -> tuple[int, int]:
        """The fewest and the most, at the target capacity.

        While that rises there are no fewer than the app is to begin with, for the load comes.
        """
        config = self.config
        least = max(config.min_replicas, config.first_replicas if self._rises else 0)
        low, high = (adjusted(number, self._capacity) for number in (least, config.max_replicas))
        return in_gangs(low, self._gang_size), in_gangs(high, self._gang_size)

    def bounded(self, wanted: int) -> int:
        """The nearest number of whole gangs within the bounds."""
        least, most = self.bounds
        return max(least, min(most, in_gangs(wanted, self._gang_size)))

    def decide(self, wish: float, now: float) -> Decision | None:
        """Take in what the policy wants now. A Decision: from now on `target` is another."""
        self._moved = False
        wanted = granted(wish, self.target, self.config)
        if not self.own_policy:
            wanted = max(wanted, self._need())
            if now < self._used + self.config.look_back_period_s:
                wanted = max(wanted, 1)
        wanted = self.bounded(wanted)
        if self.target > self._gang_size and wanted == 0:
            wanted = self._gang_size  # the last one has a patience of its own
        direction = (wanted > self.target) - (wanted < self.target)
        if direction != self._direction:
            self._direction, self._since = direction, now
        if direction == 0 or now < self._since + self._patience(wanted):
            return None
        return self._move(wanted, wish, now)

    def look_at(self, now: float) -> float | None:
        """When to ask the policy again though nothing is told."""
        pause = min(MOST_LOOK_S, max(LEAST_LOOK_S, self.config.look_back_period_s / LOOKS))
        moments = []
        at_rest = self._used + self.config.look_back_period_s
        if self.target and not self.bounds[0] and now < at_rest:
            moments.append(at_rest)
        series = (self._total, self._queued, self._running)
        if self.own_policy or any(now < one.steady_at for one in series):
            moments.append(now + pause)
        if self._moved:
            moments.append(now + LEAST_LOOK_S)
        if self._direction:
            step = self._direction * self._gang_size
            delays = self._patience(self.bounded(self.target + step))
            moments.append(max(self._since + delays, now + LEAST_LOOK_S))
        return min(moments, default=None)

    def _need(self) -> int:
        """So many that what is under way does not queue; never a reason for more."""
        return min(self.target, _up(self._total.last / self._max_ongoing))

    def _patience(self, wanted: int) -> float:
        if wanted > self.target:
            return 0.0 if self.target == 0 else self.config.upscale_delay_s
        return self.config.to_zero_delay_s if wanted == 0 else self.config.downscale_delay_s

    def _move(self, wanted: int, wish: float, now: float) -> Decision:
        before, self.target = self.target, wanted
        self.last, self._direction, self._moved = self._direction, 0, True
        if self.last > 0:
            self._last_up = now
        else:
            self._last_down = now
        return Decision(before, wanted, self._why(wish, before, now))

    def _why(self, wish: float, before: int, now: float) -> str:
        config = self.config
        if self.own_policy:
            return f"its policy wants {wish:g}"
        total = self._total.last if before == 0 else self._total.over(
            config.aggregation_function, now
        )  # fmt: skip
        requests = f"{total:.3g} request{'' if total == 1 else 's'}"
        return f"{requests}, target {config.target_ongoing_requests:g} each"


def _up(number: float) -> int:
    return ceil(number - ROUNDING)
