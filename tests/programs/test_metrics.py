"""Numbers that user code counts in several replicas, and Salver's own, on one page."""

# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from salver import serve
from salver.serve import metrics
from salver.testing import run_inline


@serve.deployment(num_replicas=2)
class Counting:
    def __init__(self) -> None:
        self.seen = metrics.Counter("seen", "Things seen.", tag_keys=("kind", "route"))
        self.seen.set_default_tags({"kind": "any"})
        self.size = metrics.Histogram("size", boundaries=[10.0, 100.0])
        self.threads = metrics.Gauge("threads")

    def __call__(self) -> str:
        self.seen.inc()
        self.seen.inc(2, tags={"kind": "two"})
        self.size.observe(50)
        thread = threading.Thread(target=self.threads.set, args=(7,))
        thread.start()
        thread.join()
        return "ok"


@pytest.fixture(scope="module")
def counting(client: httpx.Client) -> Iterator[httpx.Client]:
    serve.run(Counting.bind(), name="counting", route_prefix="/counting")
    yield client
    serve.delete("counting")


Page = dict[str, list[tuple[dict[str, str], float]]]


def read(text: str) -> Page:
    found: Page = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def total(page: Page, name: str, **labels: str) -> float:
    return sum(value for found, value in page.get(name, []) if labels.items() <= found.items())


def done(page: Page, **labels: str) -> float:
    """Calls that replicas let in and kept: one that is held up gives them back."""
    let_in = total(page, "salver_replica_calls_total", **labels)
    return let_in - total(page, "salver_replica_withdrawn_calls_total", **labels)


def test_the_numbers_of_all_replicas_are_on_one_page(counting: httpx.Client) -> None:
    before = read(counting.get("/-/metrics").text)
    for _ in range(10):
        assert counting.get("/counting").text == "ok"
    page = read(counting.get("/-/metrics").text)
    mine = {"application": "counting", "deployment": "Counting"}
    seen = "seen_total"
    assert total(page, seen, kind="any", route="/counting", **mine) == 10
    assert total(page, seen, kind="two") == 20
    assert total(page, "size_bucket", le="100", **mine) == 10
    up = {labels.get("replica") for labels, value in page["salver_up"] if value}
    assert {labels["replica"] for labels, _ in page[seen]} <= up
    assert all(labels["deployment"] == "Counting" for labels, _ in page["threads"])
    assert done(page, **mine) == 10
    ok = "salver_http_replies_total"
    assert total(page, ok, status="2xx") - total(before, ok, status="2xx") == 11
    assert total(page, "salver_http_requests_in_flight") == 1  # that for the page itself
    assert total(page, "salver_queued_calls", **mine) == 0
    assert total(page, "salver_replica_starts_total", **mine) == 2


async def test_inline_replicas_count_apart() -> None:
    async with (
        run_inline(Counting.bind()) as running,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(running.asgi), base_url="http://inline"
        ) as client,
    ):
        for _ in range(4):
            await client.get("/")
        page = read((await client.get("/-/metrics")).text)
    assert total(page, "seen_total", kind="any", application="default") == 4
    assert done(page) == 4
    assert len(page["salver_replica_calls_total"]) == 2
