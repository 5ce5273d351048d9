"""Requests below an app's prefix, and below the one that it had before a move."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from salver.replica.roots import move, root_of, take_root


class Later:
    """What is to be called later, once the test says so."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def call_later(self, _delay: float, call: Callable[[], None]) -> None:
        self.calls.append(call)


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/new", "/new"),
        ("/new/x?y=/old", "/new"),
        ("/newer", "/new"),  # below none of them
        ("/old?x", "/old"),
        ("/old/new/x", "/old"),
        ("/new/deep/x", "/new/deep"),
    ],
)
def test_the_longest_prefix_of_the_path_counts(path: str, root: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nhost: /old\r\n\r\n".encode()
    assert root_of(head, ("/new", "/old", "/new/deep")) == root


def test_the_root_of_all_takes_what_is_below_no_other() -> None:
    assert root_of(b"GET /any HTTP/1.1\r\n\r\n", ("/old", "")) == ""


def test_for_a_while_after_a_move_both_prefixes_count() -> None:
    later = Later()
    host: Any = SimpleNamespace(mount="/all", route="", roots=("",), loop=later)
    take_root(host, "/a")
    assert host.roots == ("/all/a",)
    move(host, "/a")
    assert later.calls == []
    move(host, "/b")
    assert (host.route, host.roots) == ("/b", ("/all/b", "/all/a"))
    move(host, "/")
    assert host.roots == ("/all", "/all/b")
    first, second = later.calls
    first()  # of a move that another has followed
    assert host.roots == ("/all", "/all/b")
    second()
    assert host.roots == ("/all",)
