"""The words of a program: what they make, and what they refuse."""

# A decorated class is a Deployment, which mypy does not follow.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import functools
import importlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest
from fastapi import FastAPI

import salver
from salver import Application, Deployment, deployment, ingress, serve
from salver.program import page_of
from tests.conftest import ROOT


@deployment
class Bare:
    pass


@deployment(num_replicas=3, max_ongoing_requests=7)
class WithOptions:
    def __init__(self, *args: object) -> None: ...


@deployment
def function(request: object) -> str:
    return "called"


def test_a_deployment_has_the_name_that_it_is_given() -> None:
    assert deployment(name="Other")(Bare.func_or_class).name == "Other"


def test_a_class_and_a_function_become_deployments() -> None:
    assert isinstance(Bare, Deployment)
    assert (Bare.name, function.name) == ("Bare", "function")
    assert repr(Bare) == "Deployment(name=Bare)"


def test_options_are_readable() -> None:
    assert (WithOptions.num_replicas, WithOptions.max_ongoing_requests) == (3, 7)
    assert WithOptions.max_queued_requests == -1
    assert (WithOptions.version, WithOptions.user_config) == (None, None)
    tuned = WithOptions.options(user_config={"a": 1}, backpressure_config={"status_code": 429})
    assert (tuned.user_config, tuned.backpressure_config.status_code) == ({"a": 1}, 429)
    assert (WithOptions.init_args, WithOptions.init_kwargs) == ((), {})
    with pytest.raises(AttributeError, match=r"^Deployment Bare has no attribute 'nothing'\.$"):
        _ = Bare.nothing
    with pytest.raises(AttributeError, match=r"'set_options'\. `Bare\.options\(\.\.\.\)` returns"):
        _ = Bare.set_options


def test_deployments_of_the_same_code_name_and_options_are_equal() -> None:
    same = Bare.options(num_replicas=1)
    assert (same == Bare, hash(same)) == (True, hash(Bare))
    assert Bare.options(num_replicas=2) != Bare
    assert Bare.options(name="Other") != Bare
    others: list[object] = [WithOptions, "Bare"]
    assert Bare not in others


def test_options_copies_and_keeps_the_rest() -> None:
    other = WithOptions.options(name="Other", num_replicas=1)
    assert (other.name, other.num_replicas, other.max_ongoing_requests) == ("Other", 1, 7)
    assert (WithOptions.name, WithOptions.num_replicas) == ("WithOptions", 3)


def test_later_options_win_over_earlier_ones_in_either_spelling() -> None:
    first = Bare.options(ray_actor_options={"num_cpus": 1, "num_gpus": 1})
    assert first.options(num_cpus=2).num_cpus == 2
    assert first.options(num_cpus=2).num_gpus == 1
    assert first.options(ray_actor_options={"num_cpus": 3}).num_gpus == 0
    assert first.ray_actor_options == {"num_cpus": 1.0, "num_gpus": 1.0}
    environment = {"env_vars": {"A": "b"}, "pip": ["numpy"]}
    assert Bare.options(ray_actor_options={"runtime_env": environment}).ray_actor_options == {
        "runtime_env": environment
    }


def test_a_wrong_option_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match=r"Did you mean num_replicas\?"):
        deployment(num_replica=3)  # type: ignore[call-overload]


def test_bind_makes_an_application() -> None:
    app = WithOptions.bind(1, 2)
    assert isinstance(app, Application)
    assert app.args == (1, 2)


def test_a_function_takes_no_arguments_at_bind() -> None:
    with pytest.raises(ValueError, match=r"^Deployment function is a function, and"):
        function.bind(1)


def test_a_deployment_is_neither_called_nor_constructed() -> None:
    with pytest.raises(RuntimeError, match=r"`Bare\.bind\(\.\.\.\)`"):
        Bare()
    with pytest.raises(RuntimeError, match=r"@deployment instead"):
        Deployment(Bare)


def test_a_class_inherits_from_the_class_and_not_from_the_deployment() -> None:
    with pytest.raises(RuntimeError, match=r"^Class Child cannot .* `Bare\.func_or_class`, and"):

        class Child(Bare):
            pass


def test_what_is_no_code_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^@deployment takes a class or a function, got 'x'"):
        deployment("x")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^@deployment takes a class or a function, got functools"):
        deployment(functools.partial(int, "7"))
    with pytest.raises(TypeError, match=r"^Bare is a deployment already"):
        deployment(Bare)


@pytest.mark.parametrize("name", ["", "a#b", "a/b"])
def test_a_name_that_cannot_be_part_of_an_id_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^name='.*' is not valid"):
        Bare.options(name=name)


def test_a_deployment_can_be_pickled() -> None:
    copy = pickle.loads(cloudpickle.dumps(function.options(num_replicas=2)))
    assert (copy.name, copy.num_replicas) == ("function", 2)


async def asgi_app(scope: object, receive: object, send: object) -> None: ...


def test_ingress_marks_a_class() -> None:
    @ingress(asgi_app)
    class Door:
        pass

    assert Door.__salver_asgi__ is asgi_app


def test_an_app_alone_gets_a_class_of_its_own() -> None:
    one, other = ingress(asgi_app)(), ingress(asgi_app)()
    assert one is not other
    assert (one.__name__, one.__module__) == ("ASGIIngressDeployment", __name__)
    assert one(1, x=2).kwargs == {"x": 2}
    with pytest.raises(ValueError, match=r"needs ASGIIngressDeployment to define"):
        ingress()()


def test_ingress_refuses_what_cannot_answer() -> None:
    with pytest.raises(ValueError, match=r"^@ingress takes a class"):
        ingress(asgi_app)(lambda: 1)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=r"both @ingress and __call__"):

        @ingress(asgi_app)
        class Both:
            def __call__(self) -> None: ...

    with pytest.raises(ValueError, match=r"needs Nothing to define __serve_build_asgi_app__"):

        @ingress()
        class Nothing: ...

    with pytest.raises(ValueError, match=r"put @deployment above @ingress"):
        ingress(asgi_app)(Bare)
    with pytest.raises(TypeError, match=r"expected an ASGI app"):

        @ingress(5)
        class Number: ...


def test_every_public_name_is_there() -> None:
    assert all(hasattr(salver, name) for name in salver.__all__)
    assert set(salver.__all__) < set(serve.__all__)
    for name in serve.__all__:
        assert hasattr(serve, name)


def test_a_package_never_hides_the_name_of_a_decorator() -> None:
    code = "import salver.doors.server, salver; from salver import ingress; ingress(print)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT / "src")


def test_a_deployment_where_its_app_was_meant_is_told_at_once() -> None:
    inner, outer = salver.deployment(object), salver.deployment(dict)
    for argument in (inner, [inner], {"a": inner}, (1, inner)):
        with pytest.raises(TypeError, match=r"^dict.bind\(\) got the deployment object: expected"):
            outer.bind(argument)
        with pytest.raises(TypeError, match=r"Pass `object.bind\(...\)`"):
            outer.bind(x=argument)


def test_the_decorator_stays_where_the_module_of_its_name_is_imported() -> None:
    module = importlib.import_module("salver.serve.deployment")
    assert module.Deployment is Deployment
    assert serve.deployment is deployment
    assert pickle.loads(cloudpickle.dumps(serve)) is serve


def nothing() -> None: ...


def at_root(api: FastAPI) -> None:
    api.get("/")(nothing)


def elsewhere(api: FastAPI) -> None:
    api.get("/items")(nothing)
    api.post("/")(nothing)


def mounted(api: FastAPI) -> None:
    api.mount("/", FastAPI())


@pytest.mark.parametrize(
    ("fill", "options", "page"),
    [
        (at_root, {}, ""),
        (mounted, {}, ""),
        (elsewhere, {}, "/docs"),
        (elsewhere, {"docs_url": "/help"}, "/help"),
        (elsewhere, {"docs_url": None}, ""),
    ],
)
def test_a_fastapi_app_without_a_page_at_its_root_shows_its_documents(
    fill: Callable[[FastAPI], None], options: dict[str, Any], page: str
) -> None:
    api = FastAPI(**options)
    fill(api)
    assert page_of(ingress(api)(type("Served", (), {}))) == page


def test_of_other_apps_the_root_is_as_good_as_any_page() -> None:
    assert page_of(ingress(FastAPI)(type("Built", (), {}))) == ""
    assert page_of(dict) == ""
