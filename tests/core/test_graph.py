"""Order, names, circles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.core.graph import CycleError, DuplicateNameError, Graph


class Node:
    def __init__(self, name: str, *needs: Node, origin: object | None = None) -> None:
        self.name = name
        self.needs = list(needs)
        self.origin = origin


def order(root: Node) -> Graph[str]:
    graph: Graph[str] = Graph()

    def add(node: Node) -> str:
        def build(name: str) -> str:
            return f"{name}({','.join(add(needed) for needed in node.needs)})"

        return graph.add(node, node.name, build, node.origin)

    add(root)
    return graph


def test_callees_come_first_and_the_root_last() -> None:
    assert order(Node("a", Node("b", Node("c")))).parts == ["c()", "b(c)", "a(b)"]


def test_a_shared_part_is_built_once() -> None:
    shared = Node("shared")
    assert order(Node("root", Node("left", shared), Node("right", shared))).parts == [
        "shared()",
        "left(shared)",
        "right(shared)",
        "root(left,right)",
    ]


def test_other_parts_of_the_same_name_get_numbers() -> None:
    graph = order(Node("root", Node("m"), Node("m"), Node("m")))
    assert graph.parts[-1] == "root(m,m_1,m_2)"
    assert graph.renamed == {"m_1": "m", "m_2": "m"}


def test_a_number_does_not_collide_with_a_name_that_looks_like_it() -> None:
    assert order(Node("root", Node("m_1"), Node("m"), Node("m"))).parts[-1] == "root(m_1,m,m_2)"


def test_a_name_chosen_twice_on_purpose_is_refused() -> None:
    root = Node("root", Node("m", origin="here"), Node("m", origin="there"))
    with pytest.raises(
        DuplicateNameError, match=r"^Two deployments of this app are both named 'm'"
    ):
        order(root)


def test_one_choice_of_a_name_met_twice_gets_a_number() -> None:
    root = Node("root", Node("m", origin="here"), Node("m", origin="here"))
    assert order(root).parts[-1] == "root(m,m_1)"


def test_a_circle_is_refused_and_shown() -> None:
    a = Node("a")
    a.needs.append(Node("b", Node("c", a)))
    with pytest.raises(CycleError, match=r"bound in a circle: a -> b -> c -> a\."):
        order(a)


@given(st.lists(st.lists(st.integers(0, 100), max_size=4), min_size=1, max_size=20))
def test_whatever_the_graph_every_part_comes_after_what_it_needs(edges: list[list[int]]) -> None:
    nodes: list[Node] = []
    for number, needs in enumerate(edges):
        nodes.append(Node(f"n{number}", *(nodes[i % number] for i in needs if number)))
    seen: set[str] = set()
    parts = order(nodes[-1]).parts
    for part in parts:
        name, needs_text = part.rstrip(")").split("(")
        assert set(filter(None, needs_text.split(","))) <= seen
        assert name not in seen
        seen.add(name)
