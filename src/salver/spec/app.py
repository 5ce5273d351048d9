"""What a user wants to run: apps made of deployments, and where their code is found."""

from __future__ import annotations

import msgspec

from salver.spec.autoscaling import AutoscalingPolicy
from salver.spec.code import ImportedCode, PickledCode
from salver.spec.endpoint import EndpointSpec
from salver.spec.ids import DeploymentId
from salver.spec.logging import LoggingConfig
from salver.spec.options import DeploymentOptions

__all__ = ("AppSpec", "DeploymentSpec", "ImportedCode", "PickledCode")


class DeploymentSpec(msgspec.Struct, frozen=True):
    """One deployment as wanted. `arguments` is a pickled (args, kwargs), handles inside."""

    id: DeploymentId
    code: ImportedCode | PickledCode
    arguments: bytes
    options: DeploymentOptions
    version: str
    ingress: bool = False
    endpoints: tuple[EndpointSpec, ...] = ()
    answers_http: bool = False  # by itself, beside its endpoints
    page: str = ""  # below the prefix: where it shows its routes, having nothing at "/" itself
    sys_path: tuple[str, ...] = ()  # in front of the app's
    cwd: str = ""  # instead of the app's
    companions: tuple[str, ...] = ()  # names of its deployment actors


class AppSpec(msgspec.Struct, frozen=True):
    """One app as wanted; the deployments come callees first, the ingress last.

    `autoscaling_policy` decides for all deployments that autoscale, instead of their own policies.
    `target_capacity` is the share of all replicas that is to be there, in percent.
    """

    name: str
    route_prefix: str | None
    deployments: tuple[DeploymentSpec, ...]
    sys_path: tuple[str, ...] = ()
    cwd: str = ""
    autoscaling_policy: AutoscalingPolicy | None = None
    target_capacity: float | None = None

    def with_logging(self, config: LoggingConfig | None) -> AppSpec:
        """The same; deployments that do not say how they log, log like this."""
        if config is None:
            return self
        return msgspec.structs.replace(
            self, deployments=tuple(_with_logging(spec, config) for spec in self.deployments)
        )

    @property
    def written(self) -> tuple[DeploymentSpec, ...]:
        """The deployments that the program has: without their companions."""
        return tuple(spec for spec in self.deployments if spec.id.owner is None)

    @property
    def ingress(self) -> DeploymentSpec:
        return self.deployments[-1]


def _with_logging(spec: DeploymentSpec, config: LoggingConfig) -> DeploymentSpec:
    options = spec.options
    if options.logging_config is not None:
        return spec
    options = msgspec.structs.replace(options, logging_config=config)
    return msgspec.structs.replace(spec, options=options)
