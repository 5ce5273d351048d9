from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.doors.routes import RouteTable
from salver.spec.ids import DeploymentId
from salver.spec.status import RouteView


def table(*prefixes: str) -> RouteTable:
    views = [RouteView(prefix, f"app{prefix}", DeploymentId("d", prefix)) for prefix in prefixes]
    router: Any = SimpleNamespace()
    return RouteTable(views, lambda _id: router)


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/hello", "/hello"),
        ("/hello/", "/hello"),
        ("/hello/x", "/hello"),
        ("/hello2", "/"),
        ("/hello/there", "/hello/there"),
        ("/hello/there/x/y", "/hello/there"),
        ("/hello/therefore", "/hello"),
        ("/", "/"),
        ("*", "/"),
    ],
)
def test_the_longest_prefix_at_a_segments_end_wins(path: str, prefix: str) -> None:
    route = table("/", "/hello", "/hello/there").match(path)
    assert route is not None
    assert route.prefix == prefix


def test_without_a_root_other_paths_match_nothing() -> None:
    routes = table("/a")
    assert routes.match("/b") is None
    assert routes.match("*") is None
    assert routes.match("/ab") is None
    assert routes.listing() == {"/a": "app/a"}


_segment = st.sampled_from(["a", "b", "ab", ""])
_path = st.lists(_segment, max_size=5).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(_path, max_size=6), _path)
def test_match_is_what_the_definition_says(prefixes: list[str], path: str) -> None:
    prefixes = list({prefix.rstrip("/"): prefix for prefix in prefixes}.values())
    fits = [
        prefix.rstrip("/")
        for prefix in prefixes
        if path == prefix.rstrip("/") or path.startswith(prefix.rstrip("/") + "/")
    ]
    route = table(*prefixes).match(path)
    found = None if route is None else route.prefix.rstrip("/")
    assert found == max(fits, key=len, default=None)


def test_remembered_paths_are_bounded() -> None:
    routes = table("/")
    for number in range(10_000):
        routes.match(f"/{number}")
    assert len(routes._cache) <= 4096


def test_long_paths_are_not_remembered() -> None:
    routes = table("/", "/a")
    assert routes.match("/" + "x" * 60_000) is not None
    assert routes._cache == {}


class _Counted(dict[str, Any]):
    asked = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.asked += 1
        return super().get(key, default)


def test_a_path_of_very_many_segments_is_looked_up_no_deeper_than_prefixes_go() -> None:
    routes = table("/a/b")
    counted = routes._routes = _Counted(routes._routes)
    assert routes.match("/" * 60_000) is None
    found = routes.match("/a/b" + "/" * 60_000)
    assert found is not None
    assert found.prefix == "/a/b"
    assert counted.asked < 10
