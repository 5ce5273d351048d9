"""Has the number of replicas follow the load: reports in, decisions of `core.autoscale` out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from salver.control.events import Events
from salver.control.members import App, Member
from salver.control.policies import Policy, Wish, read_wish, read_wishes, said
from salver.control.stats import Stats
from salver.core.autoscale import Autoscaler, default_autoscaling_policy
from salver.core.ports import Store
from salver.spec.app import AppSpec, DeploymentSpec
from salver.spec.autoscaling import AutoscalingContext, AutoscalingPolicy
from salver.spec.ids import DeploymentId, ReplicaId
from salver.spec.status import Load

__all__ = ("Scaling",)

_logger: Final = logging.getLogger("salver.control")
# What may be wrong with the autoscaling of a deployment.
_POLICY: Final = "its policy"
_FIGURES: Final = "record_autoscaling_stats"


class _App:
    """What is remembered of an app that has deployments which autoscale."""

    def __init__(self, app: App, stats: Stats) -> None:
        self.app = app
        self.stats = stats
        self.spec: AppSpec | None = None
        self.scalers: dict[DeploymentId, Autoscaler] = {}
        self.policy: Policy | None = None  # the app's own
        self.policies: dict[DeploymentId, Policy] = {}  # those of its deployments
        self.timer: asyncio.TimerHandle | None = None
        self.asking: asyncio.Task[None] | None = None
        self.closed = False  # nobody is to be asked again

    def own(self) -> set[Policy]:
        """Those that users have written."""
        return {*self.policies.values(), *([self.policy] if self.policy is not None else ())}

    def close(self) -> None:
        self.closed = True
        for policy in self.own():
            policy.close()
        self.stats.close()
        if self.timer is not None:
            self.timer.cancel()
        if self.asking is not None:
            self.asking.cancel()


class Scaling:
    """Changes the number that an app's targets want, and nothing else."""

    def __init__(
        self,
        store: Store,
        events: Events,
        clock: Callable[[], float],
        touch: Callable[[App], None],
        stats_limit_s: float,
    ) -> None:
        self._stats_limit_s = stats_limit_s
        self._store = store
        self._events = events
        self._clock = clock
        self._touch = touch
        self._apps: dict[str, _App] = {}
        self._heard: set[DeploymentId] = set()  # whose load has been told at least once
        self._counts: dict[DeploymentId, int] = store.counts()

    def close(self) -> None:
        for known in self._apps.values():
            known.close()

    # ---- what is wanted

    def follow(self, app: App) -> None:
        """Before each look at an app: its targets want what was decided, and no less is known."""
        known = self._apps.get(app.name)
        spec = app.spec
        if spec is None or not any(d.options.autoscaling_config for d in spec.deployments):
            if known is not None:
                self._apps.pop(app.name).close()
                self._forget(known, known.scalers)
            return
        if known is None or known.app is not app:
            stats = Stats(self._told_figures, self._no_figures, self._stats_limit_s)
            known = self._apps[app.name] = _App(app, stats)
        if known.spec is not spec:
            self._read(known, spec)
        for deployment, scaler in known.scalers.items():
            app.scale(deployment, scaler.target)
        known.stats.watch(
            {
                member.replica.id: (member, known.scalers[member.deployment].config.report_s)
                for member in app.members.values()
                if member.deployment in known.scalers
            }
        )

    def _read(self, known: _App, spec: AppSpec) -> None:
        known.spec, before = spec, known.own()
        wanted = {d.id: d for d in spec.deployments if d.options.autoscaling_config is not None}
        self._forget(known, known.scalers.keys() - wanted.keys())
        known.policy = _renewed(known.policy, spec.autoscaling_policy, spec)
        for deployment in wanted.values():
            self._read_deployment(known, spec, deployment)
        for policy in before - known.own():
            policy.close()
        self._look_soon(known)

    def _read_deployment(self, known: _App, spec: AppSpec, deployment: DeploymentSpec) -> None:
        config, name = deployment.options.autoscaling_config, deployment.id
        assert config is not None  # noqa: S101 - `_read` has looked
        policy = None if known.policy else _renewed(known.policies.get(name), config.policy, spec)
        own_policy = known.policy is not None or policy is not None
        if policy is not None:
            known.policies[name] = policy
        else:
            known.policies.pop(name, None)
        settings: dict[str, Any] = {
            "max_ongoing": deployment.options.max_ongoing_requests,
            "capacity": spec.target_capacity,
            "gang_size": deployment.options.gang_size,
            "own_policy": own_policy,
        }
        scaler = known.scalers.get(name)
        if scaler is not None:
            scaler.configure(config, **settings)
        else:
            target = self._counts.get(name, len(_running(known.app, name)) or None)
            known.scalers[name] = Autoscaler(name, config, target=target, **settings)

    def _forget(self, known: _App, deployments: Iterable[DeploymentId]) -> None:
        for deployment in list(deployments):
            known.scalers.pop(deployment, None)
            known.policies.pop(deployment, None)
            self._heard.discard(deployment)
            if self._counts.pop(deployment, None) is not None:
                self._store.put_count(deployment, None)

    # ---- what is told

    def told(self, source: str, loads: Iterable[Load]) -> None:
        """A router's report."""
        now = self._clock()
        for load in loads:
            known = self._apps.get(load.deployment.app)
            scaler = known.scalers.get(load.deployment) if known is not None else None
            if known is not None and scaler is not None:
                scaler.load(source, load.queued, load.running, now, calls=load.calls)
                self._heard.add(load.deployment)
                self._look_soon(known)

    def gone(self, source: str) -> None:
        """A router's process is no more, or its line; what it had is nobody's load now."""
        for known in self._apps.values():
            for scaler in known.scalers.values():
                scaler.drop(source, self._clock())
            self._look_soon(known)

    def _told_figures(self, member: Member, figures: Mapping[str, float]) -> None:
        known = self._apps.get(member.deployment.app)
        scaler = known.scalers.get(member.deployment) if known is not None else None
        if known is not None and scaler is not None:
            self._trouble(known, member.deployment, _FIGURES, "")
            scaler.metrics(ReplicaId.parse(member.replica.id), figures, self._clock())
            self._look_soon(known)

    def _no_figures(self, member: Member, why: str) -> None:
        known = self._apps.get(member.deployment.app)
        if known is not None:
            self._trouble(known, member.deployment, _FIGURES, why)

    # ---- what is decided

    def _look_soon(self, known: _App) -> None:
        """At the end of this tick: reports that come together are looked at together."""
        self._look_at(known, 0.0)

    def _look_at(self, known: _App, delay_s: float) -> None:
        if known.timer is not None:
            known.timer.cancel()
        known.timer = asyncio.get_running_loop().call_later(delay_s, self._look, known)

    def _look(self, known: _App) -> None:
        """Ask the policies that answer at once; users' own in the background."""
        known.timer = None
        now = self._clock()
        own = known.policy is not None or bool(known.policies)
        if own and known.asking is None:
            known.asking = asyncio.create_task(self._ask(known))
            known.asking.add_done_callback(lambda _: self._asked(known))
        for deployment, scaler in known.scalers.items():
            if not scaler.own_policy and deployment in self._heard:
                wish = default_autoscaling_policy(self._context(known, scaler))
                self._decide(known, scaler, wish)
        if known.asking is None:
            self._plan(known, now)

    def _asked(self, known: _App) -> None:
        known.asking = None
        if not known.closed and self._apps.get(known.app.name) is known:
            self._plan(known, self._clock())

    def _plan(self, known: _App, now: float) -> None:
        """Look again when something is due, unless something is told before.

        `now` is before the last look: what comes to rest while it lasts has not been seen by it.
        """
        moments = [s.look_at(now) for s in known.scalers.values()]
        due = min((m for m in moments if m is not None), default=None)
        if due is not None and known.timer is None:
            self._look_at(known, max(0.0, due - now))

    async def _ask(self, known: _App) -> None:
        contexts = {d: self._context(known, s) for d, s in known.scalers.items()}
        if known.policy is not None:
            await self._ask_for_all(known, known.policy, contexts)
            return
        for deployment, policy in list(known.policies.items()):
            if known.policies.get(deployment) is not policy:
                continue  # it was closed while another one answered
            try:
                wish = read_wish(await policy.ask(contexts[deployment]))
            except Exception as error:  # noqa: BLE001 - boundary: the user's code
                self._trouble(known, deployment, _POLICY, said(error))
            else:
                self._granted(known, deployment, wish)

    async def _ask_for_all(
        self, known: _App, policy: Policy, contexts: Mapping[DeploymentId, AutoscalingContext]
    ) -> None:
        try:
            wishes = read_wishes(await policy.ask(contexts), contexts)
        except Exception as error:  # noqa: BLE001 - boundary: the user's code
            for deployment in contexts:
                self._trouble(known, deployment, _POLICY, said(error))
        else:
            for deployment, wish in wishes.items():
                self._granted(known, deployment, wish)

    def _granted(self, known: _App, deployment: DeploymentId, wish: Wish) -> None:
        scaler = known.scalers.get(deployment)
        if scaler is not None:
            self._trouble(known, deployment, _POLICY, "")
            self._decide(known, scaler, wish)

    def _decide(self, known: _App, scaler: Autoscaler, wish: Wish) -> None:
        number, scaler.state = wish
        decision = scaler.decide(number, self._clock())
        if decision is None:
            return
        deployment = scaler.deployment
        memory = known.app.memory(deployment)
        memory.scaling = memory.scaled = scaler.last
        self._counts[deployment] = decision.after
        self._store.put_count(deployment, decision.after)
        self._events.emit(str(deployment), "SCALES", str(decision))
        known.app.scale(deployment, decision.after)
        self._touch(known.app)

    def _context(self, known: _App, scaler: Autoscaler) -> AutoscalingContext:
        now = self._clock()
        running = (ReplicaId.parse(name) for name in _running(known.app, scaler.deployment))
        return scaler.context(running, now, epoch=time.time() - now)

    def _trouble(self, known: _App, deployment: DeploymentId, what: str, why: str) -> None:
        """Logged once; the status shows it while it lasts, and the last good number stays."""
        troubles = known.app.memory(deployment).troubles
        if troubles.get(what, "") != why:
            troubles[what] = why
            if why:
                _logger.warning("Autoscaling of %s: %s: %s", deployment, what, why)
            self._touch(known.app)


def _running(app: App, deployment: DeploymentId) -> list[str]:
    return [m.replica.id for m in app.of(deployment) if m.replica.serves]


def _renewed(
    before: Policy | None, policy: AutoscalingPolicy | None, spec: AppSpec
) -> Policy | None:
    """A policy that has not changed keeps what it has made."""
    if policy is None or policy.is_default:
        return None
    return before if before is not None and before.spec == policy else Policy(policy, spec.sys_path)
