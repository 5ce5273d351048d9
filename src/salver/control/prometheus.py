"""What a Prometheus server answers, for users' autoscaling policies: asked for in a thread."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from types import MappingProxyType
from typing import Any, Final

from salver.settings import Settings

__all__ = ("PrometheusQueryMixin", "PrometheusSample", "PrometheusScalar", "PrometheusVector")

_logger: Final = logging.getLogger("salver.control")
_PATH: Final = "/api/v1/query"
_LIMIT_S: Final = 5.0  # for one answer


@dataclass(frozen=True)
class PrometheusScalar:
    """A number without labels."""

    value: float
    timestamp: float


@dataclass(frozen=True)
class PrometheusSample:
    """A number with its labels, which cannot be changed."""

    labels: Mapping[str, str]
    value: float
    timestamp: float


@dataclass(frozen=True)
class PrometheusVector:
    """Any number of samples, also none."""

    samples: tuple[PrometheusSample, ...]


Result = PrometheusScalar | PrometheusVector


class PrometheusQueryMixin:
    """Base of a policy's class that reads `self.prometheus_results` or `self.prometheus_metrics`.

    The first look starts a thread that asks all queries every `fetch_interval_s`, until the policy
    is gone. Nothing is waited for: without an address, before the first answer, and when the last
    one is older than `cache_ttl_s` there is None. The address is that of RAY_PROMETHEUS_HOST unless
    given; RAY_PROMETHEUS_HEADERS has headers, as JSON.
    """

    def __init__(
        self,
        *,
        prometheus_address: str | None = None,
        prometheus_queries: Sequence[str] | None = None,
        fetch_interval_s: float = 5.0,
        cache_ttl_s: float = 15.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, seconds in (("fetch_interval_s", fetch_interval_s), ("cache_ttl_s", cache_ttl_s)):
            if not seconds > 0:
                raise ValueError(f"{name}={seconds!r} is not valid: expected seconds, more than 0.")
        settings = Settings.read()
        address = prometheus_address or settings.prometheus_host
        self._prometheus = _Fetching(
            _query_url(address) if address else "",
            _queries(prometheus_queries),
            dict(settings.prometheus_headers),
            fetch_interval_s,
            cache_ttl_s,
        )
        weakref.finalize(self, self._prometheus.over.set)

    @property
    def prometheus_results(self) -> dict[str, PrometheusScalar | PrometheusVector] | None:
        """The latest answer to each query that had one, by its text."""
        return self._prometheus.latest()

    @property
    def prometheus_metrics(self) -> dict[str, float] | None:
        """Of these the numbers: scalars, and vectors of one sample."""
        results = self._prometheus.latest()
        if results is None:
            return None
        numbers = ((query, _number(result)) for query, result in results.items())
        return {query: number for query, number in numbers if number is not None}


class _Fetching:
    """The thread's side: it knows nothing of the policy, which may go at any time."""

    def __init__(
        self,
        url: str,
        queries: tuple[str, ...],
        headers: dict[str, str],
        interval_s: float,
        limit_s: float,
    ) -> None:
        self.over = threading.Event()
        self._url = url
        self._queries = queries
        self._headers = headers
        self._interval_s = interval_s
        self._limit_s = limit_s
        self._fetched: tuple[float, dict[str, Result]] | None = None
        self._failing: dict[str, str] = {}
        self._thread: threading.Thread | None = None

    def latest(self) -> dict[str, Result] | None:
        if self._thread is None and self._url and self._queries:
            self._thread = threading.Thread(
                target=self._fetch_for_ever, name="salver-prometheus", daemon=True
            )
            self._thread.start()
        fetched = self._fetched
        if fetched is None or time.monotonic() - fetched[0] > self._limit_s:
            return None
        return dict(fetched[1])

    def _fetch_for_ever(self) -> None:
        while not self.over.is_set():
            results = {query: result for query in self._queries if (result := self._ask(query))}
            if results:
                self._fetched = (time.monotonic(), results)
            self.over.wait(self._interval_s)

    def _ask(self, query: str) -> Result | None:
        """None: there is no answer, which is logged once."""
        try:
            answer = _result(_get(self._url, query, self._headers))
        except Exception as error:  # noqa: BLE001 - boundary: whatever a server may answer
            if self._failing.get(query) != str(error):
                self._failing[query] = str(error)
                _logger.warning("Prometheus at %s: query %r: %s", self._url, query, error)
            return None
        self._failing.pop(query, None)
        return answer


def _queries(given: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(query, str) for query in given or ()):
        raise TypeError(f"prometheus_queries={given!r} is not valid: expected a list of queries.")
    return tuple(given or ())


def _query_url(address: str) -> str:
    """Of a server's address, with scheme and path or without."""
    url = address.rstrip("/") if "://" in address else f"http://{address.rstrip('/')}"
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"prometheus_address={address!r} is not valid: expected http or https.")
    return url if url.endswith(_PATH) else url + _PATH


def _get(url: str, query: str, headers: Mapping[str, str]) -> Any:
    asked = f"{url}?{urllib.parse.urlencode({'query': query})}"
    request = urllib.request.Request(asked, headers=dict(headers))  # noqa: S310 - see `_query_url`
    try:
        with urllib.request.urlopen(request, timeout=_LIMIT_S) as reply:  # noqa: S310
            return json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            raise ValueError(f"{error.code} {error.reason}: {_complaint(error.read())}") from None


def _complaint(body: bytes) -> str:
    """What the server says of a query that it cannot answer."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, LookupError, TypeError):
        return body[:200].decode(errors="replace")


def _result(answer: Any) -> Result | None:
    """The answer's value; what is not a number is none."""
    kind, found = answer["data"]["resultType"], answer["data"]["result"]
    if kind == "scalar":
        at, value = float(found[0]), float(found[1])
        return None if isnan(value) else PrometheusScalar(value, at)
    if kind != "vector":
        raise ValueError(f"its result is a {kind}: expected a scalar or an instant vector.")
    samples = (_sample(one) for one in found)
    return PrometheusVector(tuple(sample for sample in samples if not isnan(sample.value)))


def _sample(found: Mapping[str, Any]) -> PrometheusSample:
    if "value" not in found:
        raise ValueError(
            "its result has native histograms: ask for a number of them, such as "
            "histogram_quantile(0.9, ...)."
        )
    at, value = found["value"]
    return PrometheusSample(MappingProxyType(dict(found["metric"])), float(value), float(at))


def _number(result: Result) -> float | None:
    if isinstance(result, PrometheusScalar):
        return result.value
    return result.samples[0].value if len(result.samples) == 1 else None
