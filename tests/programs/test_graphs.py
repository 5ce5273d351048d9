"""Bound apps in the arguments of others."""

# A class decorator cannot change what a type checker takes the class for.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import dataclasses
from typing import Any

import httpx
import pytest

from salver import serve
from salver.serve.handle import DeploymentHandle


@serve.deployment
class Leaf:
    def __init__(self, value: int = 0) -> None:
        self.value = value
        self.calls = 0

    def get(self) -> int:
        self.calls += 1
        return self.value

    def count(self) -> int:
        return self.calls


@dataclasses.dataclass
class Parts:
    one: Any
    many: list[Any]


@serve.deployment
class Root:
    def __init__(self, *places: Any, **named: Any) -> None:
        self.places = places
        self.named = named

    async def total(self) -> int:
        return sum([await handle.get.remote() for handle in found((self.places, self.named))])

    def names(self) -> list[str]:
        return sorted(h.deployment_name for h in found((self.places, self.named)))

    def shape(self) -> str:
        return shape_of((self.places, self.named))


def found(value: Any) -> list[DeploymentHandle[Any]]:
    """Every handle in it."""
    if isinstance(value, DeploymentHandle):
        return [value]
    if dataclasses.is_dataclass(value):
        return found([getattr(value, f.name) for f in dataclasses.fields(value)])
    if isinstance(value, dict):
        return found(list(value.values()))
    if isinstance(value, list | tuple | set):
        return [handle for part in value for handle in found(part)]
    return []


def shape_of(value: Any) -> str:
    if isinstance(value, DeploymentHandle):
        return "H"
    if isinstance(value, Parts):
        return f"P<{shape_of(value.one)},{shape_of(value.many)}>"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{shape_of(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(shape_of, value)) + "]"
    return repr(value)


def test_apps_are_found_anywhere_in_the_arguments(door: str) -> None:
    leaf = Leaf.bind(1)
    app = Root.bind(
        Leaf.options(name="B").bind(10),
        [Leaf.options(name="C").bind(100), {"deep": (leaf, 5)}],
        parts=Parts(leaf, [Leaf.options(name="D").bind(1000)]),
        word="w",
    )
    handle = serve.run(app, name="nested", route_prefix=None)
    assert handle.shape.remote().result() == "[[H,[H,{deep:[H,5]}]],{parts:P<H,[H]>,word:'w'}]"
    assert handle.names.remote().result() == ["B", "C", "D", "Leaf", "Leaf"]
    assert handle.total.remote().result() == 1112
    serve.delete("nested")


@serve.deployment
class Side:
    def __init__(self, below: DeploymentHandle[Any], factor: int) -> None:
        self.below = below
        self.factor = factor

    async def get(self) -> int:
        value: int = await self.below.get.remote()
        return value * self.factor


def test_a_diamond_has_one_deployment_at_its_foot(door: str) -> None:
    foot = Leaf.bind(7)
    left, right = Side.options(name="Left").bind(foot, 1), Side.options(name="Right").bind(foot, 2)
    handle = serve.run(Root.bind(left, right), name="diamond", route_prefix=None)
    assert handle.total.remote().result() == 21
    deployments = serve.status().applications["diamond"].deployments
    assert set(deployments) == {"Root", "Left", "Right", "Leaf"}
    assert serve.get_deployment_handle("Leaf", "diamond").count.remote().result() == 2
    serve.delete("diamond")


def test_two_binds_are_two_deployments_with_a_warning(
    door: str, caplog: pytest.LogCaptureFixture
) -> None:
    handle = serve.run(
        Root.bind(Leaf.bind(1), Leaf.bind(2), Leaf.bind(3)), name="twice", route_prefix=None
    )
    assert handle.names.remote().result() == ["Leaf", "Leaf_1", "Leaf_2"]
    assert handle.total.remote().result() == 6
    assert "Leaf_1" in caplog.text
    serve.delete("twice")


@serve.deployment
class Eager:
    """Calls another deployment while it is being constructed."""

    def __init__(self, leaf: DeploymentHandle[Any]) -> None:
        self.first = leaf.get.remote()

    async def __call__(self, request: Any = None) -> str:
        return str(await self.first)


@serve.deployment
class AsyncEager:
    async def __init__(self, leaf: DeploymentHandle[Any]) -> None:  # type: ignore[misc]
        self.first = await leaf.get.remote()

    def __call__(self, request: Any = None) -> str:
        return str(self.first)


@pytest.mark.parametrize("kind", [Eager, AsyncEager])
def test_handles_work_in_constructors(client: httpx.Client, kind: Any) -> None:
    serve.run(kind.bind(Leaf.bind(5)), name="eager", route_prefix="/eager")
    assert client.get("/eager").text == "5"
    serve.delete("eager")


@serve.deployment
def doubled(value: int = 21) -> int:
    return value * 2


@serve.deployment
class Uses:
    def __init__(self, function: DeploymentHandle[Any]) -> None:
        self.function = function

    async def __call__(self, request: Any = None) -> int:
        result: int = await self.function.remote(4)
        return result


def test_a_function_is_a_deployment(door: str) -> None:
    handle = serve.run(Uses.bind(doubled.bind()), name="function", route_prefix=None)
    assert handle.remote().result() == 8
    serve.delete("function")
    with pytest.raises(ValueError, match="doubled is a function"):
        doubled.bind(1)


def test_lambdas_and_closures_as_arguments(door: str) -> None:
    offset = 3

    def add(value: int) -> int:
        return value + offset

    @serve.deployment
    class Applies:
        def __init__(self, *functions: Any) -> None:
            self.functions = functions

        def run(self, value: int) -> int:
            for function in self.functions:
                value = function(value)
            return value + offset

        def now(self, function: Any) -> Any:
            return function(offset)

    handle = serve.run(Applies.bind(add, lambda v: v * 10), name="closures", route_prefix=None)
    assert handle.run.remote(1).result() == 43
    assert handle.now.remote(lambda v: v + offset).result() == 6
    assert handle.now.remote(lambda v: lambda: v).result()() == 3
    serve.delete("closures")


def test_a_deployment_can_neither_be_called_nor_made() -> None:
    with pytest.raises(RuntimeError, match="bind"):
        Leaf(1)
    with pytest.raises(RuntimeError, match="@deployment"):
        serve.Deployment(1)


def test_options_make_another_deployment_and_leave_the_first_as_it_is() -> None:
    other = Leaf.options(num_replicas=2, max_ongoing_requests=9, name="Other")
    assert (Leaf.num_replicas, Leaf.max_ongoing_requests, Leaf.name) == (1, 5, "Leaf")
    assert (other.num_replicas, other.max_ongoing_requests, other.name) == (2, 9, "Other")
    assert str(other) == "Deployment(name=Other)"
    assert Leaf.options() == Leaf
    assert other != Leaf
    with pytest.raises(ValueError, match="num_replicas"):
        Leaf.options(num_replicas=0)
    with pytest.raises(ValueError, match="max_ongoing_requests"):
        Leaf.options(max_ongoing_requests=None)
    with pytest.raises(ValueError, match="name"):
        Leaf.options(name="a#b")
    with pytest.raises(ValueError, match="version"):
        Leaf.options(version="1")
    with pytest.raises(ValueError, match="num_cpu"):
        Leaf.options(ray_actor_options={"num_cpu": 1})
    with pytest.raises(TypeError, match="ray_actor_options"):
        Leaf.options(ray_actor_options=1)
    with pytest.raises(ValueError, match="user_config"):
        Leaf.options(user_config=object())
