"""From the controller's memory to what others are shown: views for routers, status for people."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping

import msgspec

from salver.control.members import App
from salver.core.appraise import appraise_app, appraise_deployment, with_companions
from salver.core.rollout import RISING, Phase, Plan, has_failed
from salver.spec.app import AppSpec
from salver.spec.ids import DeploymentId
from salver.spec.options import DeploymentOptions
from salver.spec.routing import RequestRouterConfig
from salver.spec.status import (
    ApplicationStatus,
    AppStatus,
    DeploymentStatusOverview,
    DeploymentView,
    ModelView,
    ReplicaView,
    RouteView,
)

__all__ = (
    "app_status",
    "is_up",
    "models_of",
    "routes_of",
    "serving_route",
    "serving_spec",
    "target_capacity",
    "views_of",
)


def app_status(app: App, now: float) -> AppStatus:
    known, shortages = app.known(), app.shortages()
    every = {
        d: _with_troubles(
            appraise_deployment(app.targets.get(d), k, shortages, now),
            app.memory(d).troubles,
        )
        for d, k in known.known.items()
    }
    deployments = with_companions(every, app.targets)
    wanted = {d.name: s for d, s in deployments.items() if d in app.targets}
    status, message = appraise_app(wanted, deleting=app.deleting)
    named = {d.name: s for d, s in deployments.items()}
    return AppStatus(status, message, app.deployed_at, named)


def is_up(apps: Iterable[App], now: float) -> bool:
    """Whether none of them is still being brought up, and one has run."""
    found = {_outcome(app, now) for app in apps if not app.deleting}
    return True in found and None not in found


def _outcome(app: App, now: float) -> bool | None:
    """True: it has run. False: it has failed. None: it is still being brought up.

    One that only waits for room on the machine has come as far as it can: it has run if there is a
    replica of all that it wants, and otherwise holds up no other app.
    """
    if app.standing is not None:
        return True
    status = app_status(app, now).status
    if status in (ApplicationStatus.RUNNING, ApplicationStatus.DEPLOY_FAILED):
        return status is ApplicationStatus.RUNNING
    phases = {member.replica.phase for member in app.members.values()}
    if Phase.WAITING not in phases or phases & RISING:
        return None
    return all(
        target.num_replicas == 0 or any(m.replica.serves for m in app.of(deployment))
        for deployment, target in app.targets.items()
    )


def target_capacity(apps: Iterable[App]) -> float | None:
    """The share that a configuration wants of all replicas; it says it once for all its apps."""
    said = (app.spec.target_capacity for app in apps if app.spec is not None)
    return next((capacity for capacity in said if capacity is not None), None)


def _with_troubles(
    overview: DeploymentStatusOverview, troubles: Mapping[str, str]
) -> DeploymentStatusOverview:
    """What keeps the autoscaler from its work stands beside the rest."""
    told = [f"autoscaling: {what}: {why}" for what, why in troubles.items() if why]
    message = "; ".join(filter(None, [overview.message, *told]))
    return msgspec.structs.replace(overview, message=message) if told else overview


def views_of(app: App) -> Iterator[DeploymentView]:
    """Every deployment of an app as routers are to see it."""
    serving = app.plan.serving if app.plan is not None else {}
    known = app.known()
    for deployment, state in known.known.items():
        found = (app.members.get(name) for name in serving.get(deployment, ()))
        members = [member for member in found if member is not None]
        replicas = tuple(ReplicaView(m.replica.id, m.address) for m in members if m.address)
        options = app.options_of(members[0]) if members else app.memory(deployment).options
        gone = ""
        if not replicas and deployment not in known.standing:
            if deployment not in known.targets:
                gone = f"Deployment {deployment} was deleted."
            elif has_failed(known.targets[deployment], state):
                # Clients of the door read this: the traceback is for the status and the log.
                gone = f"Deployment {deployment} could not start; its status says why."
        if deployment in app.resting:
            gone = f"Deployment {deployment} is unloaded; load its model to have it back."
        yield DeploymentView(
            id=deployment,
            max_ongoing_requests=options.max_ongoing_requests,
            max_queued_requests=options.max_queued_requests,
            replicas=replicas,
            gone=gone,
            ingress=bool(app.order) and deployment == _ingress(app),
            backpressure=options.backpressure_config,
            routing=_routing_of(options),
            report_s=scales.report_s if (scales := options.autoscaling_config) else 0.0,
        )


def _routing_of(options: DeploymentOptions) -> RequestRouterConfig | None:
    """The rule that callers are to go by; None: the one that holds anyway."""
    routing = options.request_router_config
    return None if routing is None or routing.is_default else routing


def serving_route(app: App, plan: Plan) -> str | None:
    """The prefix that leads to whoever serves now: an update moves it when all go by another."""
    if app.spec is None:
        return None
    found = (app.members.get(name) for name in plan.serving.get(_ingress(app), ()))
    routes = [member.route for member in found if member is not None]
    if not routes:
        return serving_spec(app).route_prefix
    return app.route if app.route in routes else routes[0]


def routes_of(apps: Iterable[App]) -> list[RouteView]:
    """A prefix that two apps have, as it passes from one to the other, leads to its new owner."""
    routes: dict[str, RouteView] = {}
    for app in apps:
        if app.route is None or app.spec is None:
            continue
        if app.route not in routes or app.route == app.spec.route_prefix:
            routes[app.route] = RouteView(app.route, app.name, _ingress(app))
    return list(routes.values())


def models_of(apps: Iterable[App], withheld: Container[str] = ()) -> list[ModelView]:
    return [
        ModelView(
            found.model,
            found.version,
            spec.id,
            found.method,
            withheld=found.model in withheld,
            wakes=_may_sleep(spec.options),
        )
        for app in apps
        if app.spec is not None
        for spec in serving_spec(app).deployments
        for found in spec.endpoints
    ]


def _may_sleep(options: DeploymentOptions) -> bool:
    scaling = options.autoscaling_config
    return scaling is not None and scaling.min_replicas == 0


def _ingress(app: App) -> DeploymentId:
    return serving_spec(app).ingress.id if app.spec is not None else app.order[-1]


def serving_spec(app: App) -> AppSpec:
    """An update takes over when it is complete."""
    release = app.standing or app.wanted
    assert release is not None  # noqa: S101 - nothing is asked of an app that is being deleted
    return release.spec
