"""What one app has and another may not take."""

from __future__ import annotations

from collections.abc import Iterable

from salver.control.members import App
from salver.control.views import models_of
from salver.errors import SalverError
from salver.spec.app import AppSpec

__all__ = ("refuse_conflicts",)


def refuse_conflicts(apps: Iterable[App], spec: AppSpec) -> None:
    """SalverError: its route or one of its models is another app's."""
    _refuse_taken_models(spec, apps)
    for other in apps:
        if other.name == spec.name or other.spec is None or spec.route_prefix is None:
            continue
        if spec.route_prefix in (other.spec.route_prefix, other.route):
            raise SalverError(
                f"Route prefix {spec.route_prefix!r} of app {spec.name!r} is taken by app "
                f"{other.name!r}. Give one of them another route_prefix."
            )


def _refuse_taken_models(spec: AppSpec, apps: Iterable[App]) -> None:
    wanted = {(e.model, e.version): d.id for d in spec.deployments for e in d.endpoints}
    for model in models_of(app for app in apps if app.name != spec.name):
        mine = wanted.get((model.name, model.version))
        if mine is not None:
            version = f" version {model.version!r}" if model.version else ""
            raise SalverError(
                f"Model {model.name!r}{version} of deployment {mine} is taken by deployment "
                f"{model.deployment}. Give one of them another name: @endpoint(name=...)."
            )
