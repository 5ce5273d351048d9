"""What people read: the state, and what is being waited for."""

from __future__ import annotations

import msgspec
import pytest

from salver.core.appraise import appraise_app, appraise_deployment, with_companions
from salver.core.failures import Failures
from salver.core.rollout import Known, Phase, Replica, Target
from salver.spec.ids import DeploymentId
from salver.spec.status import (
    ApplicationStatus,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
    ReplicaState,
)

TARGET = Target("2", "", 2, startup_timeout_s=600.0, retries=3)
OLD = Replica("old", "1", "", Phase.RUNNING, 0.0, 0.0)
NEW = Replica("new", "2", "", Phase.RUNNING, 0.0, 0.0)


def replicas(*phases: Phase) -> tuple[Replica, ...]:
    return tuple(
        msgspec.structs.replace(NEW, id=str(i), phase=phase) for i, phase in enumerate(phases)
    )


def judge(known: Known, now: float = 10.0) -> DeploymentStatusOverview:
    shortages = {"0": "needs num_gpus=1 (0 free of 0)"}
    return appraise_deployment(TARGET, known, shortages, now)


R, S, W, E = Phase.RUNNING, Phase.STARTING, Phase.WAITING, Phase.DRAINING
GONE = Replica("old", "1", "", Phase.DRAINING, 0.0, 0.0)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (Known(replicas(R, R), settled=True), DeploymentStatus.HEALTHY),
        (Known(replicas(R, S)), DeploymentStatus.UPDATING),
        (Known((*replicas(R, R), OLD)), DeploymentStatus.UPDATING),
        (Known(replicas(R, S), settled=True), DeploymentStatus.UPSCALING),
        (Known(replicas(R, R, R), settled=True), DeploymentStatus.DOWNSCALING),
        (Known(replicas(R), Failures(deaths=1), settled=True), DeploymentStatus.UNHEALTHY),
        (Known((), Failures(starts=3)), DeploymentStatus.DEPLOY_FAILED),
        (Known((), Failures().give_up("no room")), DeploymentStatus.DEPLOY_FAILED),
        (Known(replicas(R, R), Failures(deaths=5), settled=True), DeploymentStatus.HEALTHY),
    ],
)
def test_a_deployment_s_state_follows_from_what_is_known(
    known: Known, expected: DeploymentStatus
) -> None:
    assert judge(known).status is expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (Known(replicas(R, S)), "UPDATING CONFIG_UPDATE_STARTED"),
        (Known(replicas(R, R), settled=True), "HEALTHY CONFIG_UPDATE_COMPLETED"),
        (Known(replicas(R, S), settled=True, resized=1), "UPSCALING CONFIG_UPDATE_STARTED"),
        (Known(replicas(R, R), settled=True, resized=1), "HEALTHY UPSCALE_COMPLETED"),
        (Known(replicas(R, R, E), settled=True, resized=-1), "DOWNSCALING CONFIG_UPDATE_STARTED"),
        (Known((*replicas(R, R), GONE), settled=True, resized=-1), "HEALTHY DOWNSCALE_COMPLETED"),
        (Known(replicas(R, S), settled=True, scaling=1, scaled=1), "UPSCALING AUTOSCALING"),
        (Known(replicas(R, S), scaling=1, scaled=1), "UPSCALING AUTOSCALING"),
        (Known(replicas(S, S), scaling=1, scaled=1), "UPDATING CONFIG_UPDATE_STARTED"),
        (Known((), settled=True, scaling=1, scaled=1), "UPSCALING AUTOSCALING"),
        (Known(replicas(R, R), settled=True, scaled=1, resized=-1), "HEALTHY UPSCALE_COMPLETED"),
        (Known(replicas(R, R, E), settled=True, scaled=-1), "DOWNSCALING AUTOSCALING"),
        (Known(replicas(R, R, E), settled=True), "HEALTHY CONFIG_UPDATE_COMPLETED"),
        (Known(replicas(R), Failures(deaths=1), settled=True), "UNHEALTHY HEALTH_CHECK_FAILED"),
        (Known(replicas(R), Failures(starts=1), settled=True), "UNHEALTHY REPLICA_STARTUP_FAILED"),
        (Known((), Failures(starts=3)), "DEPLOY_FAILED REPLICA_STARTUP_FAILED"),
    ],
)
def test_a_status_says_what_has_brought_it_about(known: Known, expected: str) -> None:
    seen = judge(known)
    assert f"{seen.status} {seen.status_trigger}" == expected


def test_counts_are_by_the_states_that_users_know() -> None:
    known = Known(replicas(R, S, W, Phase.DRAINING, Phase.UPDATING))
    assert judge(known).replica_states == {
        ReplicaState.RUNNING: 1,
        ReplicaState.STARTING: 2,
        ReplicaState.STOPPING: 1,
        ReplicaState.UPDATING: 1,
    }


def test_the_message_says_what_is_waited_for_and_how_long_already() -> None:
    assert judge(Known(replicas(W, S))).message == (
        "1 replica waiting for resources for 10s (startup_timeout_s=600): "
        "needs num_gpus=1 (0 free of 0); 1 replica constructing for 10s"
    )


def test_the_message_says_what_failed_and_when_it_is_tried_again() -> None:
    failures = Failures().start_failed(10.0, "ValueError: no weights")
    assert judge(Known((), failures)).message == "ValueError: no weights; next attempt in 0.2s"


def test_a_failed_update_says_who_goes_on_serving() -> None:
    known = Known((OLD,), Failures(starts=3, message="ValueError: no weights"))
    assert judge(known).message == (
        "ValueError: no weights. The update is given up: "
        "1 replica of the version before keeps serving."
    )


def test_an_app_is_as_its_worst_deployment() -> None:
    def overview(status: DeploymentStatus, message: str = "") -> DeploymentStatusOverview:
        return DeploymentStatusOverview(status, DeploymentStatusTrigger.UNSPECIFIED, {}, message)

    fine = overview(DeploymentStatus.HEALTHY)
    ill = overview(DeploymentStatus.UNHEALTHY, "died")
    failed = overview(DeploymentStatus.DEPLOY_FAILED, "no weights")
    busy = overview(DeploymentStatus.UPDATING, "waits")
    assert appraise_app({"A": fine}, deleting=False) == (ApplicationStatus.RUNNING, "")
    fewer = overview(DeploymentStatus.DOWNSCALING)
    assert appraise_app({"A": fewer}, deleting=False) == (ApplicationStatus.RUNNING, "")
    assert appraise_app({"A": fine, "B": busy}, deleting=False) == (
        ApplicationStatus.DEPLOYING,
        "B: waits",
    )
    assert appraise_app({"A": busy, "B": ill}, deleting=False)[0] is ApplicationStatus.UNHEALTHY
    assert appraise_app({"A": ill, "B": failed}, deleting=False) == (
        ApplicationStatus.DEPLOY_FAILED,
        "B: no weights",
    )
    assert appraise_app({"A": failed}, deleting=True)[0] is ApplicationStatus.DELETING


@pytest.mark.parametrize(
    ("actor", "owner", "expected"),
    [
        (DeploymentStatus.HEALTHY, DeploymentStatus.HEALTHY, ("HEALTHY", "UNSPECIFIED")),
        (DeploymentStatus.UPDATING, DeploymentStatus.HEALTHY, ("UPDATING", "DELETING")),
        (DeploymentStatus.UPDATING, DeploymentStatus.UNHEALTHY, ("UNHEALTHY", "UNSPECIFIED")),
        (
            DeploymentStatus.DEPLOY_FAILED,
            DeploymentStatus.UPDATING,
            ("DEPLOY_FAILED", "DEPLOYMENT_ACTOR_FAILED"),
        ),
        (
            DeploymentStatus.UNHEALTHY,
            DeploymentStatus.DEPLOY_FAILED,
            ("DEPLOY_FAILED", "UNSPECIFIED"),
        ),
    ],
)
def test_a_deployment_is_as_well_as_its_actors(
    actor: DeploymentStatus, owner: DeploymentStatus, expected: tuple[str, str]
) -> None:
    mine = DeploymentId("Model", "app")
    companion = mine.companion("cache", "1234567890")
    every = {
        mine: DeploymentStatusOverview(owner, DeploymentStatusTrigger.UNSPECIFIED, {}, "own"),
        companion: DeploymentStatusOverview(actor, DeploymentStatusTrigger.DELETING, {}, "lost"),
    }
    shown = with_companions(every, {mine, companion})
    assert list(shown) == [mine]
    assert (shown[mine].status, shown[mine].status_trigger) == expected
    assert shown[mine].message == ("own" if expected[1] == "UNSPECIFIED" else MESSAGE)
    assert with_companions(every, {mine}) == {mine: every[mine]}  # an old one, on its way out


MESSAGE = "deployment actor 'cache': lost"
