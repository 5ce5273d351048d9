"""From an app's spec to what `core.reconcile` works on, and to what a replica is given."""

from __future__ import annotations

from collections.abc import Container
from functools import cache
from typing import Any, Final

import msgspec

from salver.core.autoscale import adjusted
from salver.core.failures import budget
from salver.core.ports import Resources
from salver.core.rollout import Target, in_gangs
from salver.spec.app import AppSpec, DeploymentSpec
from salver.spec.code import digest
from salver.spec.ids import DeploymentId
from salver.spec.options import DeploymentOptions, change_of
from salver.spec.placement import total_of

__all__ = ("Release", "resources_of")

_ANY: Final = 0.001  # of a resource that only has to be there


class Release:
    """An app as it was wanted at one time: its spec, and what reconcile makes of that."""

    def __init__(self, spec: AppSpec) -> None:
        self.spec = spec
        self.parts = {part.id: part for part in spec.deployments}
        self.targets = {part.id: _target(spec, part) for part in spec.deployments}  # callees first
        self._numbers = {name: target.num_replicas for name, target in self.targets.items()}

    def scale(self, deployment: DeploymentId, num_replicas: int) -> None:
        """Want so many of it, if it autoscales."""
        part = self.parts.get(deployment)
        if part is not None and part.options.autoscaling_config is not None:
            self._want(deployment, num_replicas)

    def rest(self, deployments: Container[DeploymentId]) -> None:
        """Want none of these, and of the others as many as ever; said after `scale`."""
        for name, part in self.parts.items():
            if name in deployments:
                self._want(name, 0)
            elif part.options.autoscaling_config is None:
                self._want(name, self._numbers[name])

    def _want(self, deployment: DeploymentId, num_replicas: int) -> None:
        target = self.targets[deployment]
        if target.num_replicas != num_replicas:
            self.targets[deployment] = msgspec.structs.replace(target, num_replicas=num_replicas)


def resources_of(spec: DeploymentSpec) -> Resources:
    """What one replica takes from the machine. Undeclared CPUs take nothing."""
    options = spec.options
    own = {
        "CPU": options.num_cpus or 0.0,
        "GPU": options.num_gpus,
        "memory": options.memory,
        **options.resources,
    }
    asked = total_of(options.placement_group_bundles) or own
    if options.accelerator_type:
        asked[f"accelerator_type:{options.accelerator_type}"] = _ANY
    custom = {name: n for name, n in asked.items() if name not in ("CPU", "GPU", "memory")}
    return Resources(asked.get("CPU", 0.0), asked.get("GPU", 0.0), asked.get("memory", 0.0), custom)


def _target(app: AppSpec, spec: DeploymentSpec) -> Target:
    options = spec.options
    scales = options.autoscaling_config  # the autoscaler has the last word on the number
    number = options.num_replicas if scales is None else scales.first_replicas
    gang_size = options.gang_size
    number = in_gangs(adjusted(number, app.target_capacity), gang_size)
    return Target(
        version=_version(app, spec),
        config=digest((_options_that("reconfigure", options), app.route_prefix)),
        num_replicas=number,
        startup_timeout_s=options.startup_timeout_s,
        retries=budget(max(1, number), options.max_constructor_retry_count),
        rolling=options.rolling_update_percentage,
        max_surge=options.max_surge_percent,
        gang_size=gang_size,
    )


def _version(app: AppSpec, spec: DeploymentSpec) -> str:
    """Changes with everything that a living replica cannot be taught."""
    options = _options_that("restart", spec.options)
    code = (spec.version, (*spec.sys_path, *app.sys_path), spec.cwd or app.cwd)
    return digest((code, options))


def _options_that(change: str, options: DeploymentOptions) -> list[Any]:
    return [getattr(options, name) for name in _names(change)]


@cache
def _names(change: str) -> list[str]:
    return [name for name in DeploymentOptions.__struct_fields__ if change_of(name) == change]
