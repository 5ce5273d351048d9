"""What one app has and another may not take."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from salver.control.members import App
from salver.control.views import models_of
from salver.errors import SalverError
from salver.spec.app import AppSpec
from salver.spec.ids import DeploymentId

__all__ = ("refuse_conflicts",)


def refuse_conflicts(
    apps: Iterable[App], specs: Sequence[AppSpec], without: Collection[str]
) -> None:
    """SalverError: a route or a model of these is that of another, or of an app that stays.

    What they take from each other, or from those `without`, is free.
    """
    leaving = {*without, *(spec.name for spec in specs)}
    staying = [app for app in apps if app.name not in leaving and app.spec is not None]
    routes = {route: app.name for app in staying for route in (app.route, _wanted_route(app))}
    models = {(model.name, model.version): model.deployment for model in models_of(staying)}
    for spec in specs:
        _refuse_taken_route(spec, routes)
        _refuse_taken_models(spec, models)


def _wanted_route(app: App) -> str | None:
    return app.spec.route_prefix if app.spec is not None else None


def _refuse_taken_route(spec: AppSpec, routes: dict[str | None, str]) -> None:
    prefix = spec.route_prefix
    if prefix is None:
        return
    owner = routes.setdefault(prefix, spec.name)
    if owner != spec.name:
        raise SalverError(
            f"Route prefix {prefix!r} of app {spec.name!r} is taken by app {owner!r}. "
            "Give one of them another route_prefix."
        )


def _refuse_taken_models(spec: AppSpec, models: dict[tuple[str, str], DeploymentId]) -> None:
    for mine, found in ((d.id, e) for d in spec.deployments for e in d.endpoints):
        owner = models.setdefault((found.model, found.version), mine)
        if owner.app != spec.name:
            version = f" version {found.version!r}" if found.version else ""
            raise SalverError(
                f"Model {found.model!r}{version} of deployment {mine} is taken by deployment "
                f"{owner}. Give one of them another name: @endpoint(name=...)."
            )
