"""Users' policies that ask a Prometheus server: here a real one of HTTP, with answers of a test."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from salver.serve.autoscaling_policy import (
    PrometheusQueryMixin,
    PrometheusSample,
    PrometheusScalar,
    PrometheusVector,
)
from tests.control.prometheus_server import Prometheus
from tests.real.rig import PATIENCE_S

Make = Callable[..., PrometheusQueryMixin]


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    running = Prometheus()
    yield running
    running.stop()


@pytest.fixture
def make(prometheus: Prometheus) -> Iterator[Make]:
    made: list[PrometheusQueryMixin] = []

    def make(*queries: str, **options: Any) -> PrometheusQueryMixin:
        options = {"prometheus_address": prometheus.address, "fetch_interval_s": 0.01, **options}
        made.append(PrometheusQueryMixin(prometheus_queries=list(queries), **options))
        return made[-1]

    yield make
    for policy in made:
        end(policy)


def begin(policy: PrometheusQueryMixin) -> None:
    """Look for the first time, which has the server asked."""
    _ = policy.prometheus_results


def thread_of(policy: PrometheusQueryMixin) -> threading.Thread | None:
    return policy._prometheus._thread


def end(policy: PrometheusQueryMixin) -> None:
    policy._prometheus.over.set()
    if (thread := thread_of(policy)) is not None:
        thread.join(PATIENCE_S)


def sample(value: float, at: float = 7.0, **labels: str) -> PrometheusSample:
    return PrometheusSample(labels, value, at)


@pytest.mark.parametrize(
    ("kind", "result", "expected", "number"),
    [
        ("scalar", [7, "3.5"], PrometheusScalar(3.5, 7.0), 3.5),
        (
            "vector",
            [{"metric": {"model": "a"}, "value": [7, "2"]}],
            PrometheusVector((sample(2.0, model="a"),)),
            2.0,
        ),
        (
            "vector",
            [{"metric": {"m": m}, "value": [7, "2"]} for m in "ab"],
            PrometheusVector((sample(2.0, m="a"), sample(2.0, m="b"))),
            None,
        ),
        ("vector", [], PrometheusVector(()), None),
        ("vector", [{"metric": {}, "value": [7, "NaN"]}], PrometheusVector(()), None),
    ],
)
def test_answers_have_their_type_and_single_ones_are_numbers(
    make: Make, prometheus: Prometheus, kind: str, result: Any, expected: Any, number: float | None
) -> None:
    prometheus.say("q", kind, result)
    policy = make("q")
    begin(policy)
    prometheus.was_asked(2)
    assert policy.prometheus_results == {"q": expected}
    assert policy.prometheus_metrics == ({} if number is None else {"q": number})


def test_nobody_waits_for_an_answer(make: Make, prometheus: Prometheus) -> None:
    prometheus.say("q", "scalar", [7, "1"])
    prometheus.go_on.clear()
    policy = make("q")
    begin(policy)
    prometheus.was_asked(1)
    assert policy.prometheus_metrics is None
    prometheus.go_on.set()
    prometheus.was_asked(1)
    assert policy.prometheus_metrics == {"q": 1.0}


def test_labels_cannot_be_changed(make: Make, prometheus: Prometheus) -> None:
    prometheus.say("q", "vector", [{"metric": {"model": "a"}, "value": [7, "2"]}])
    policy = make("q")
    begin(policy)
    prometheus.was_asked(2)
    vector = (policy.prometheus_results or {})["q"]
    assert isinstance(vector, PrometheusVector)
    with pytest.raises(TypeError):
        vector.samples[0].labels["model"] = "b"  # type: ignore[index]


def test_a_query_without_an_answer_is_told_once_and_keeps_no_other_from_its_own(
    make: Make, prometheus: Prometheus, caplog: pytest.LogCaptureFixture
) -> None:
    prometheus.say("good", "scalar", [7, "1"])
    prometheus.say("range", "matrix", [])
    prometheus.say("native", "vector", [{"metric": {}, "histogram": [7, {}]}])
    prometheus.answers["bad"] = (400, {"status": "error", "error": "parse error"})
    policy = make("good", "range", "native", "bad")
    begin(policy)
    prometheus.was_asked(9)  # twice, and the first of the third time
    assert policy.prometheus_metrics == {"good": 1.0}
    assert caplog.text.count("query 'bad': 400 Bad Request: parse error") == 1
    assert caplog.text.count("query 'range': its result is a matrix") == 1
    assert caplog.text.count("query 'native': its result has native histograms") == 1


def test_what_is_old_is_not_told(make: Make, prometheus: Prometheus) -> None:
    prometheus.say("q", "scalar", [7, "1"])
    policy = make("q", cache_ttl_s=1e-9)
    begin(policy)
    prometheus.was_asked(2)
    assert policy.prometheus_metrics is None


def test_without_an_address_or_queries_nobody_is_asked(make: Make) -> None:
    for policy in (make("q", prometheus_address=None), make()):
        assert policy.prometheus_results is None
        assert policy.prometheus_metrics is None
        assert thread_of(policy) is None


def test_the_environment_names_the_server_and_its_headers(
    make: Make, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_PROMETHEUS_HOST", f"http://{prometheus.address}/")
    monkeypatch.setenv("RAY_PROMETHEUS_HEADERS", '{"X-Tenant": "me"}')
    prometheus.say("q", "scalar", [7, "1"])
    policy = make("q", prometheus_address=None)
    begin(policy)
    prometheus.was_asked(1)
    assert prometheus.heard[0] == ("/api/v1/query", "me")


def test_nobody_asks_for_a_policy_that_is_gone(prometheus: Prometheus) -> None:
    prometheus.say("q", "scalar", [7, "1"])
    policy = PrometheusQueryMixin(
        prometheus_address=prometheus.address, prometheus_queries=["q"], fetch_interval_s=3600
    )
    begin(policy)
    thread, gone = thread_of(policy), weakref.ref(policy)
    assert thread is not None
    del policy
    gc.collect()
    assert gone() is None
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prometheus_queries": "q"}, TypeError, "prometheus_queries='q' is not valid"),
        ({"fetch_interval_s": 0}, ValueError, "fetch_interval_s=0 is not valid"),
        ({"cache_ttl_s": -1}, ValueError, "cache_ttl_s=-1 is not valid"),
        ({"prometheus_address": "ftp://x"}, ValueError, "'ftp://x' is not valid: expected http"),
        ({"query": "q"}, TypeError, "query|argument"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        PrometheusQueryMixin(**options)
