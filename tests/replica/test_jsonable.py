"""Results become the JSON that FastAPI would make of them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import ipaddress
import json
import math
from collections import Counter, OrderedDict, deque
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import numpy as np
import pandas as pd
import pytest
from fastapi.encoders import jsonable_encoder
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

from salver.replica.jsonable import encode


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


class Place(NamedTuple):
    x: int
    y: int


class Model(BaseModel):
    at: dt.datetime
    alias: int = Field(serialization_alias="other")
    secret: SecretStr = SecretStr("s")


@dataclasses.dataclass
class Data:
    inner: Any


class Plain:
    def __init__(self) -> None:
        self.a = 1

    def __repr__(self) -> str:
        return "Plain()"


UTC = dt.timezone.utc  # noqa: UP017 - spelled as users do
SAME_AS_FASTAPI = [
    {1: 2},
    {True: 1, None: 2, 1.5: 3},
    Name("a"),
    {Name("a"): Level.HIGH},
    Colour.RED,
    {Colour.RED: Colour.RED},
    OrderedDict(a=1),
    Counter("aab"),
    deque([1, 2]),
    frozenset([1]),
    {3},
    Place(1, 2),
    b"bytes",
    {"k": b"bytes"},
    Decimal("1.5"),
    Decimal(3),
    [Decimal("0.1")],
    dt.datetime(2020, 1, 2, 3, 4, 5, 6, UTC),
    dt.datetime(2020, 1, 2),
    dt.date(2020, 1, 2),
    dt.time(3, 4),
    dt.timedelta(days=1, seconds=0.5),
    {"t": [dt.timedelta(seconds=2)]},
    Path("/a/b"),
    UUID(int=5),
    ipaddress.ip_address("1.2.3.4"),
    Model(at=dt.datetime(2020, 1, 2, tzinfo=UTC), alias=1),
    [Model(at=dt.datetime(2020, 1, 2, tzinfo=UTC), alias=1)],
    Data(Data({1})),
    Plain(),
    {"nested": [{"deep": (1, {"x": Data(2)})}]},
    2**70,
]


@pytest.mark.parametrize("value", SAME_AS_FASTAPI, ids=repr)
def test_the_same_as_fastapi(value: Any) -> None:
    assert json.loads(encode(value)) == json.loads(json.dumps(jsonable_encoder(value)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(1.5), b"1.5"),
        ({"a": np.arange(3)}, b'{"a":[0,1,2]}'),
        (np.bool_(True), b"true"),
        ({np.int64(1): 2}, b'{"1":2}'),
        (float("inf"), b"null"),
        ([float("nan")], b"[null]"),
        ([np.float64("nan")], b"[null]"),
        (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), b'[{"a":1,"b":"x"},{"a":2,"b":null}]'),
        (pd.Series([1, 2], index=["x", "ndim"]), b'{"x":1,"ndim":2}'),
        (ValueError("why"), b'"why"'),
        (msgspec.defstruct("S", ["a"])(a=dt.timedelta(seconds=1)), b'{"a":1.0}'),
        ("\ud800", b'"\\ud800"'),
        ("ü", '"ü"'.encode()),
    ],
    ids=repr,
)
def test_what_fastapi_leaves_open(value: Any, text: bytes) -> None:
    assert encode(value) == text


@pytest.mark.parametrize("value", [len, {"a": object()}, {(1, 2): 3}, [lambda: None]])
def test_what_has_no_json_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_odd = st.binary() | st.decimals(allow_nan=False, allow_infinity=False) | st.timedeltas()
_trees = st.recursive(
    _scalars | _odd.filter(lambda v: not isinstance(v, bytes) or _is_text(v)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return value


@given(_trees)
def test_any_tree_is_what_fastapi_makes_of_it(tree: Any) -> None:
    expected = json.loads(json.dumps(_without_nan(jsonable_encoder(tree))))
    assert json.loads(encode(tree)) == expected
