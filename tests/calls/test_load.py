"""The load is told when it changes, in time, at once when a call waits; nothing without need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from salver.calls.load import LoadReports
from salver.calls.router import Router, RouterStats
from salver.spec.ids import DeploymentId
from salver.spec.status import DeploymentView, Load
from salver.testing.clock import VirtualClock, virtual_loop

A, B = DeploymentId("A", "app"), DeploymentId("B", "app")


class Counters:
    """What reports look at of a router."""

    reports: LoadReports | None = None

    def __init__(self, deployment: DeploymentId) -> None:
        self.deployment = deployment
        self.waiting = 0
        self.inflight = 0
        self.calls = 0
        self.looks = 0

    def stats(self) -> RouterStats:
        self.looks += 1
        return RouterStats(1, self.waiting, self.inflight, self.calls)


class Scene:
    """Reports on a loop whose time stands still until it is told to pass."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.loop = virtual_loop(self.clock)
        self.sent: list[tuple[float, list[Load]]] = []
        self.reports = LoadReports(self.loop, self.send)

    def send(self, loads: list[Load]) -> None:
        self.sent.append((round(self.clock.now, 3), loads))

    def follow(self, router: Counters, period_s: float) -> None:
        view = DeploymentView(router.deployment, 5, -1, report_s=period_s)
        self.reports.follow(cast("Router", router), view)

    def until(self, moment: float) -> list[tuple[float, Any]]:
        """What was told up to then."""
        self.loop.call_at(moment, self.loop.stop)
        self.loop.run_forever()
        told, self.sent = self.sent, []
        return told


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.reports.close()
    scene.loop.close()


def test_a_router_that_nobody_asks_about_is_not_looked_at(scene: Scene) -> None:
    router = Counters(A)
    scene.follow(router, 0)
    assert scene.until(10) == []
    assert (router.looks, router.reports) == (0, None)


def test_changes_are_told_within_the_period_and_sameness_is_not(scene: Scene) -> None:
    router = Counters(A)
    scene.follow(router, 1.0)
    assert scene.until(0.5) == [(0.01, [Load(A, 0, 0)])]
    router.inflight = 3
    [(at, told)] = scene.until(1.5)
    assert told == [Load(A, 0, 3)]
    assert 0.5 < at <= 1.01
    assert scene.until(10.5) == []


def test_calls_that_are_over_before_anybody_looks_are_told_of(scene: Scene) -> None:
    router = Counters(A)
    scene.follow(router, 1.0)
    scene.until(0.5)
    router.calls = 7
    assert [told for _, told in scene.until(1.5)] == [[Load(A, 0, 0, 7)]]
    router.calls = 8
    assert [told for _, told in scene.until(2.5)] == [[Load(A, 0, 0, 1)]]


def test_looks_are_never_in_step_with_the_load(scene: Scene) -> None:
    """Of calls that come once a second and take half of it, half are seen."""
    router = Counters(A)
    scene.follow(router, 1.0)
    seen = 0
    for half in range(200):
        router.inflight = half % 2
        looks = router.looks
        scene.until(half / 2 + 0.5)
        seen += (router.looks - looks) * router.inflight
    assert 0.4 < seen / router.looks < 0.6


def test_a_call_that_waits_is_told_at_once_but_a_crowd_only_every_so_often(scene: Scene) -> None:
    router = Counters(A)
    scene.follow(router, 1.0)
    scene.until(0.5)
    assert router.reports is not None
    for router.waiting in (1, 2, 3):
        router.reports.hurry()
    assert scene.until(0.501) == [(0.5, [Load(A, 3, 0)])]
    router.waiting = 4
    router.reports.hurry()
    assert scene.until(0.505) == []
    assert scene.until(0.6) == [(0.51, [Load(A, 4, 0)])]


def test_what_has_changed_of_several_is_one_report(scene: Scene) -> None:
    first, second, third = Counters(A), Counters(B), Counters(DeploymentId("C", "app"))
    for router in (first, second, third):
        scene.follow(router, 1.0)
    scene.until(0.5)
    first.inflight = second.inflight = 1
    assert [told for _, told in scene.until(1.5)] == [[Load(A, 0, 1), Load(B, 0, 1)]]


def test_a_new_controller_is_told_everything(scene: Scene) -> None:
    router = Counters(A)
    scene.follow(router, 1.0)
    router.inflight = 2
    assert scene.until(0.5) == [(0.01, [Load(A, 0, 2)])]
    scene.reports.again()
    assert scene.until(0.6) == [(0.5, [Load(A, 0, 2)])]


def test_once_nobody_asks_any_more_it_ends(scene: Scene) -> None:
    router = Counters(A)
    scene.follow(router, 1.0)
    scene.until(0.5)
    scene.follow(router, 0)
    looks = router.looks
    router.inflight = 5
    assert scene.until(10) == []
    assert (router.looks, router.reports) == (looks, None)
