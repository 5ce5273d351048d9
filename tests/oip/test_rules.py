"""What stands beside a type in an annotation holds for its values, by every protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import annotated_types
import msgspec
import numpy as np
import pandas as pd
import pydantic
import pydantic_core
import pytest

from salver.oip.binding import Binder
from salver.oip.codecs.json import to_json
from salver.oip.codecs.registry import built_in
from salver.oip.errors import ContentError, InvalidResultError, UnservableError
from salver.oip.signature import Signature
from salver.oip.types import InferRequest
from salver.spec.endpoint import Field


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]


@dataclass
class Sized:
    size: Annotated[int, pydantic.Field(ge=0)]


Pet = Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
FOLLOWED: list[tuple[Any, Any, Any, str]] = [  # an annotation, what fits, what does not, and why
    (Annotated[int, pydantic.Field(ge=0)], 1, -1, "greater than or equal to 0"),
    (Annotated[int, annotated_types.Ge(0)], 0, -1, "greater than or equal to 0"),
    (Annotated[int, msgspec.Meta(ge=0)], 0, -1, "Expected `int` >= 0"),
    (pydantic.PositiveInt, 1, 0, "greater than 0"),
    (Annotated[float, pydantic.Field(lt=1)], 0.5, 2.5, "less than 1"),
    (Annotated[str, pydantic.StringConstraints(max_length=3)], "abc", "abcd", "at most 3"),
    (Annotated[str, msgspec.Meta(pattern="^a")], "ab", "b", "matching regex"),
    (Annotated[bytes, pydantic.Field(min_length=1)], b"a", b"", "at least 1 byte"),
    (Annotated[int | None, pydantic.Field(ge=0)], 1, -1, "greater than or equal to 0"),
    (Annotated[int, pydantic.Field(ge=0)] | None, 1, -1, "greater than or equal to 0"),
    (list[Annotated[int, pydantic.Field(ge=0)]], [1, 2], [1, -2], "greater than or equal to 0"),
    (Annotated[list[str], pydantic.Field(min_length=1)], ["a"], [], "at least 1 item"),
    (Annotated[list[list[float]], msgspec.Meta(max_length=1)], [[1.0]], [[1.0], [2]], "length <="),
    (Annotated[list[Cat], pydantic.Field(max_length=1)], [Cat(kind="cat")], [Cat(kind="cat")] * 2,
     "at most 1 item"),
    (Annotated[dict[str, int], pydantic.Field(min_length=1)], {"a": 1}, {}, "at least 1 item"),
    (Annotated[dict[str, int], msgspec.Meta(min_length=1)], {"a": 1}, {}, "length >= 1"),
    (Annotated[Literal[1, 2], pydantic.Field(gt=1)], 2, 1, "greater than 1"),
]  # fmt: skip


def takes(hint: Any) -> Binder:
    def function(x: Any) -> None: ...

    function.__annotations__ = {"x": hint}
    return Binder(Signature.of(function))


def gives(hint: Any) -> Binder:
    def function() -> Any: ...

    function.__annotations__ = {"return": hint}
    return Binder(Signature.of(function))


def by_tensors(binder: Binder, value: Any) -> Any:
    """As a client without the rules sends it."""
    (tensor,) = binder.signature.metadata("m").inputs
    named = tensor.parameters["content_type"]
    codec = built_in().named("number" if named == "number" else named)
    if named == "json" and tensor.shape == [1]:
        value = [value]
    return binder.bind(InferRequest([codec.encode("x", value)]))["x"]


def by_json(binder: Binder, value: Any) -> Any:
    return binder.bind_json(b'{"x":' + to_json(value) + b"}")["x"]


@pytest.mark.parametrize(("hint", "right", "wrong", "why"), FOLLOWED)
@pytest.mark.parametrize("by", [by_tensors, by_json])
def test_a_value_is_held_to_the_rules(
    by: Callable[..., Any], hint: Any, right: Any, wrong: Any, why: str
) -> None:
    binder = takes(hint)
    assert by(binder, right) == right
    with pytest.raises(ContentError, match=why) as caught:
        by(binder, wrong)
    assert caught.value.path.startswith("$.inputs[0].data" if by is by_tensors else "$.x")


@pytest.mark.parametrize(("hint", "right", "wrong", "why"), FOLLOWED)
def test_a_result_is_held_to_the_rules(hint: Any, right: Any, wrong: Any, why: str) -> None:
    binder = gives(hint)
    assert binder.pack(right).outputs
    binder.pack_json(right)
    for pack in (binder.pack, binder.pack_json):
        with pytest.raises(InvalidResultError, match=f"output 'output-0' is declared .*{why}"):
            pack(wrong)


def test_what_rules_make_of_a_value_is_the_value() -> None:
    binder = takes(Annotated[str, pydantic.StringConstraints(to_upper=True)])
    assert by_tensors(binder, "a") == by_json(binder, "a") == "A"


def test_a_union_is_told_by_its_discriminator() -> None:
    binder = takes(Pet)
    assert by_json(binder, {"kind": "cat"}) == Cat(kind="cat")
    with pytest.raises(ContentError, match=r"^\$\.x: Input tag 'cow' found using 'kind'"):
        by_json(binder, {"kind": "cow"})


def test_tensors_stay_what_they_are_without_the_rules() -> None:
    for ruled, bare in (
        (Annotated[int, pydantic.Field(ge=0)], int),
        (list[Annotated[float, pydantic.Field(ge=0)]], list[float]),
        (Annotated[str | None, pydantic.Field(min_length=1)], str | None),
        (list[Annotated[str, "whatever"]], list[str]),
    ):
        told = [takes(hint).signature.metadata("m") for hint in (ruled, bare)]
        assert told[0] == told[1]


def test_documents_say_the_rules() -> None:
    (argument,) = takes(
        Annotated[int, pydantic.Field(ge=3, description="A few.")]
    ).signature.carried
    assert argument.slot is not None
    assert argument.slot.schema()["minimum"] == 3
    assert argument.description == "A few."


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (Annotated[np.ndarray, pydantic.Field(min_length=1)], "no array is held to it"),
        (Annotated[pd.DataFrame, annotated_types.MinLen(1)], "no rule for columns"),
        (Annotated[int, pydantic.Field(alias="y")], r"says alias, .* salver\.Field\(name=\.\.\.\)"),
        (Annotated[int, pydantic.Field(default=3)], "says default, which only fields of models"),
        (Annotated[int, msgspec.Meta(max_length=3)], "Can only set `max_length`"),
        (Sized, r"Sized\.size has a Field"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused_when_defined(hint: Any, said: str) -> None:
    with pytest.raises(UnservableError, match=rf"function\(\): argument 'x'.*{said}"):
        takes(hint)


def test_a_rule_in_the_place_of_a_default_is_refused() -> None:
    def function(x: int = pydantic.Field(3, ge=0)) -> None: ...

    with pytest.raises(UnservableError, match=r"write Annotated\[int, pydantic\.Field\(ge=0\)\] ="):
        Signature.of(function)


def test_a_model_may_be_a_default() -> None:
    def function(pet: Cat = Cat(kind="cat")) -> None: ...  # noqa: B008

    assert not Signature.of(function).carried[0].required


def test_a_mark_of_ones_own_is_followed() -> None:
    class Doubled:
        def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
            double = pydantic_core.core_schema.no_info_after_validator_function
            return double(lambda value: 2 * value, handler(source))

    assert by_json(takes(Annotated[int, Doubled()]), 2) == 4


def test_words_of_others_and_those_that_rule_nothing_are_no_matter() -> None:
    takes(Annotated[np.ndarray, Field("FP32"), pydantic.Field(description="x"), "unit: m"])
    takes(Annotated[int, "unit: m"])
