"""Who is asked for the page of numbers, and what it says of those who do not answer."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from salver.control.events import Events
from salver.control.metrics import Metrics
from salver.telemetry.registry import Family, Kind, Sample
from salver.testing.clock import VirtualClock, virtual_loop


class Source:
    """A process with one number, or none that it tells in time."""

    def __init__(self, number: float | None) -> None:
        self.is_open = True
        self._number = number

    async def call(self, method: str, _body: Any = None) -> Any:
        assert method == "metrics"
        if self._number is None:
            await asyncio.Event().wait()
        family = Family("n", Kind.COUNTER, samples=(Sample((), self._number or 0.0),))
        return msgspec.to_builtins([family])


def page_of(metrics: Metrics) -> str:
    loop = virtual_loop(VirtualClock())
    try:
        return loop.run_until_complete(metrics.page())
    finally:
        loop.close()


def test_numbers_of_all_sources_add_up() -> None:
    metrics = Metrics(Events())
    metrics.joined("a#D#1", Source(1.0))
    metrics.joined("ingress", Source(2.0))
    page = page_of(metrics)
    assert "n_total 3\n" in page
    assert 'salver_up{application="a",deployment="D",replica="1"} 1\n' in page
    assert 'salver_up{process="ingress"} 1\n' in page


def test_one_that_is_held_up_keeps_nobody_from_the_others_numbers() -> None:
    metrics = Metrics(Events())
    metrics.joined("a#D#1", Source(1.0))
    metrics.joined("a#D#2", Source(None))
    page = page_of(metrics)
    assert "n_total 1\n" in page
    assert 'salver_up{application="a",deployment="D",replica="2"} 0\n' in page


def test_who_is_gone_is_not_asked() -> None:
    metrics = Metrics(Events())
    gone, closed, again = Source(1.0), Source(2.0), Source(4.0)
    metrics.joined("a#D#1", gone)
    metrics.joined("a#D#1", again)
    metrics.left("a#D#1", gone)  # the line that it had before
    metrics.joined("a#D#2", closed)
    closed.is_open = False
    page = page_of(metrics)
    assert "n_total 4\n" in page
    assert 'replica="2"' not in page


def test_starts_and_deaths_are_counted_by_deployment() -> None:
    events = Events()
    metrics = Metrics(events)
    for subject, state in (
        ("app", "RUNNING"),
        ("app#D#1", "RUNNING"),
        ("app#D#1", "DIED"),
        ("app#D#2", "RUNNING"),
        ("app#D#2", "STOPPED"),
    ):
        events.emit(subject, state)
    page = page_of(metrics)
    assert 'salver_replica_starts_total{application="app",deployment="D"} 2\n' in page
    assert 'salver_replica_deaths_total{application="app",deployment="D"} 1\n' in page


def test_of_an_app_that_is_deleted_nothing_is_counted_any_more() -> None:
    events = Events()
    metrics = Metrics(events)
    for app in ("app", "other"):
        events.emit(f"{app}#D#1", "RUNNING")
        events.emit(f"{app}#D#1", "DIED")
    events.emit("app", "DELETED")
    page = page_of(metrics)
    assert 'application="app"' not in page
    assert 'salver_replica_starts_total{application="other",deployment="D"} 1\n' in page
    assert 'salver_replica_deaths_total{application="other",deployment="D"} 1\n' in page
