"""Marks on methods and what a deployment's class says by them."""

from __future__ import annotations

from typing import Any

import pytest

from salver import deployment, endpoint
from salver.build import build
from salver.spec.endpoint import EndpointSpec, endpoints_of, options_of


class Models:
    @endpoint
    def first(self, x: float) -> float:
        return x

    def plain(self) -> None:
        pass

    @endpoint(version="2", labels=["cat", "dog"])
    async def second(self, x: float) -> float:
        return x

    @endpoint(name="third")
    def named(self) -> None:
        pass


def test_the_first_has_the_name_of_the_deployment_and_others_add_theirs() -> None:
    assert endpoints_of(Models, "M") == (
        EndpointSpec("M", "first"),
        EndpointSpec("M.second", "second", "2"),
        EndpointSpec("third", "named"),
    )


def test_a_function_is_one_model() -> None:
    @endpoint(name="double", version="1")
    def function(x: float) -> float:
        return 2 * x

    assert function(2) == 4
    assert endpoints_of(function, "f") == (EndpointSpec("double", "__call__", "1"),)
    assert endpoints_of(lambda: 1, "f") == ()


def test_what_a_class_overrides_without_a_mark_is_none() -> None:
    class Quiet(Models):
        def first(self, x: float) -> float:
            return -x

    assert [found.method for found in endpoints_of(Quiet, "Q")] == ["second", "named"]


def test_static_and_class_methods_are_models_too() -> None:
    class Fixed:
        @staticmethod
        @endpoint
        def one(x: int) -> int:
            return x

        @classmethod
        @endpoint
        def two(cls, x: int) -> int:
            return x

    assert [found.method for found in endpoints_of(Fixed, "F")] == ["one", "two"]


def test_the_mark_keeps_what_was_given() -> None:
    options = options_of(Models.second)
    assert options is not None
    assert options.labels == ("cat", "dog")
    assert options_of(Models.plain) is None


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"name": ""}, r"^name='' of an endpoint is not valid: expected text without / or :"),
        ({"name": ".."}, r"^name='\.\.' of an endpoint is not valid: .* not of dots alone"),
        ({"name": "a/b"}, r"^name='a/b' of an endpoint is not valid"),
        ({"version": " 1"}, r"^version=' 1' of an endpoint is not valid"),
    ],
)
def test_names_that_are_no_part_of_a_url_are_refused(given: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        endpoint(**given)


def test_it_takes_functions_only() -> None:
    with pytest.raises(TypeError, match=r"^@endpoint takes a method of a class or a function"):
        endpoint(deployment(lambda: 1))
    with pytest.raises(TypeError, match=r"^@endpoint takes a method of a class or a function"):
        endpoint(Models)
    with pytest.raises(TypeError, match=r"Put it on the method, below @staticmethod"):
        endpoint(staticmethod(lambda x: x))
    with pytest.raises(TypeError, match=r"^name=3 of an endpoint is not valid: expected a str"):
        endpoint(name=3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^labels='cat' of an endpoint .* expected a list of str"):
        endpoint(labels="cat")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^labels=1 of an endpoint is not valid: expected a str"):
        endpoint(labels=[1])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"^platform=5 of an endpoint is not valid: expected a str"):
        endpoint(platform=5)  # type: ignore[call-overload]


def test_one_model_twice_in_an_app_is_refused_by_both_names() -> None:
    class Twice:
        @endpoint(name="m")
        def one(self) -> None:
            pass

        @endpoint(name="m")
        def two(self) -> None:
            pass

    with pytest.raises(ValueError, match=r"^Two endpoints .* are the model 'm': Twice.one and Twi"):
        build(deployment(Twice).bind(), "app", "/")


def test_the_spec_of_an_app_names_its_models() -> None:
    app = build(deployment(Models).bind(), "app", "/")
    assert [e.model for e in app.ingress.endpoints] == ["Models", "Models.second", "third"]
