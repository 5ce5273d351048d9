"""What a user wants to run: apps made of deployments, and where their code is found."""

from __future__ import annotations

import msgspec

from salver.spec.endpoint import EndpointSpec
from salver.spec.ids import DeploymentId
from salver.spec.logging import LoggingConfig
from salver.spec.options import DeploymentOptions

__all__ = ("AppSpec", "DeploymentSpec", "ImportedCode", "PickledCode")


class ImportedCode(msgspec.Struct, frozen=True, tag="import"):
    """Code that every process can import: it is never pickled."""

    module: str
    qualname: str


class PickledCode(msgspec.Struct, frozen=True, tag="pickle"):
    """Code of a script's `__main__`, a notebook or a closure, by value."""

    data: bytes


class DeploymentSpec(msgspec.Struct, frozen=True):
    """One deployment as wanted. `arguments` is a pickled (args, kwargs), handles inside."""

    id: DeploymentId
    code: ImportedCode | PickledCode
    arguments: bytes
    options: DeploymentOptions
    version: str
    ingress: bool = False
    endpoints: tuple[EndpointSpec, ...] = ()


class AppSpec(msgspec.Struct, frozen=True):
    """One app as wanted; the deployments come callees first, the ingress last."""

    name: str
    route_prefix: str | None
    deployments: tuple[DeploymentSpec, ...]
    sys_path: tuple[str, ...] = ()
    cwd: str = ""

    def with_logging(self, config: LoggingConfig | None) -> AppSpec:
        """The same; deployments that do not say how they log, log like this."""
        if config is None:
            return self
        return msgspec.structs.replace(
            self, deployments=tuple(_with_logging(spec, config) for spec in self.deployments)
        )

    @property
    def ingress(self) -> DeploymentSpec:
        return self.deployments[-1]


def _with_logging(spec: DeploymentSpec, config: LoggingConfig) -> DeploymentSpec:
    options = spec.options
    if options.logging_config is not None:
        return spec
    options = msgspec.structs.replace(options, logging_config=config)
    return msgspec.structs.replace(spec, options=options)
