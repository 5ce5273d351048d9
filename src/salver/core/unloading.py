"""What clients have unloaded, and what of an app has nobody to serve then."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from salver.spec.app import AppSpec, DeploymentSpec
from salver.spec.ids import DeploymentId

__all__ = ("Unloaded", "resting")


class Unloaded(msgspec.Struct, frozen=True):
    """Models by name, and the apps that were unloaded with all that they are made of."""

    models: frozenset[str] = frozenset()
    apps: frozenset[str] = frozenset()

    def unload(self, specs: Iterable[AppSpec], model: str, *, dependents: bool) -> Unloaded:
        """The same with this model; with `dependents`, what only it was made of goes along."""
        models = self.models | {model}
        whole = [
            spec
            for spec in specs
            if dependents and model in _models(spec.ingress) and _models(spec.ingress) <= models
        ]
        return Unloaded(models.union(*map(_all_models, whole)), self.apps | _names(whole))

    def load(self, specs: Iterable[AppSpec], model: str) -> Unloaded:
        """The same without this model, and without what went along with it."""
        whole = [s for s in specs if s.name in self.apps and model in _models(s.ingress)]
        models = self.models - {model}
        return Unloaded(models.difference(*map(_all_models, whole)), self.apps - _names(whole))

    def among(self, specs: Iterable[AppSpec]) -> Unloaded:
        """What there still is of it: a model that comes again later comes loaded."""
        if self == Unloaded():
            return self
        specs = list(specs)
        models = frozenset[str]().union(*map(_all_models, specs))
        return Unloaded(self.models & models, self.apps & _names(specs))


def resting(spec: AppSpec, unloaded: Unloaded) -> frozenset[DeploymentId]:
    """The deployments of an app that need no replicas while this is unloaded.

    It is the outermost one, if it answers for nothing else: the others were made to be called by it
    or each other, and rest only where a client has said so.
    """
    outermost = spec.ingress
    models = _models(outermost)
    if not models or outermost.answers_http or not models <= unloaded.models:
        return frozenset()
    if spec.name in unloaded.apps and _all_models(spec) <= unloaded.models:
        return frozenset(part.id for part in spec.deployments)
    owned = (part.id for part in spec.deployments if _owner(part) == outermost.id)
    return frozenset((outermost.id, *owned))


def _owner(spec: DeploymentSpec) -> DeploymentId | None:
    owner = spec.id.owner
    return owner[0] if owner is not None else None


def _models(spec: DeploymentSpec) -> frozenset[str]:
    return frozenset(found.model for found in spec.endpoints)


def _all_models(spec: AppSpec) -> frozenset[str]:
    return frozenset[str]().union(*map(_models, spec.deployments))


def _names(specs: Iterable[AppSpec]) -> frozenset[str]:
    return frozenset(spec.name for spec in specs)
