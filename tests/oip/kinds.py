"""One kind of value for each annotation that an endpoint may have: how it is made and compared."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import decimal
import enum
import io
import math
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, TypedDict, get_args, get_origin

import hypothesis.strategies as st
import ml_dtypes
import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic
import torch
from hypothesis.extra import numpy as hnp
from PIL import Image

from salver.oip.datatypes import DATATYPES
from salver.spec.endpoint import Field
from tests.oip.strategies import arrays


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Person(pydantic.BaseModel):
    name: str
    born: dt.date | None = None


@dataclasses.dataclass
class Point:
    height: float
    tags: list[str] = dataclasses.field(default_factory=list)


class Box(msgspec.Struct):
    low: Point
    data: bytes = b""


class Options(TypedDict, total=False):
    depth: int
    color: Color


class Pair(NamedTuple):
    left: int
    right: str


@dataclasses.dataclass
class Patch:
    pixels: npt.NDArray[np.float64]
    icon: Image.Image
    weights: torch.Tensor
    mask: npt.NDArray[np.bool_] | None = None
    scale: float = 1.0


class Scan(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    pixels: Annotated[np.ndarray, Field("FP64", None)]
    icon: Image.Image
    weights: torch.Tensor
    mask: npt.NDArray[np.bool_] | None = None
    scale: float = 1.0
    more: list[Scan] = []


@dataclasses.dataclass
class Kind:
    """`plain` is what the value is in JSON, made without our code; `told` what a client has of
    it, who knows none of the server's classes."""

    hint: Any
    values: st.SearchStrategy[Any]
    plain: Callable[[Any], Any] = lambda value: value
    json: bool = False  # a client has what it is in JSON

    def told(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.numpy()
        item = get_args(self.hint)[0] if get_origin(self.hint) is list else self.hint
        told = (
            self.json
            or dataclasses.is_dataclass(item)
            or (isinstance(item, type) and issubclass(item, TOLD))
        )
        return self.plain(value) if told and value is not None else value


TOLD = (enum.Enum, pydantic.BaseModel, msgspec.Struct, dt.time, dt.timedelta, decimal.Decimal,
        uuid.UUID)  # fmt: skip


def listed(array: Any) -> Any:
    """Nested lists; NaN and the infinities as JSON has them."""
    found = np.asarray(array).astype("O").tolist()

    def spelled(value: Any) -> Any:
        if isinstance(value, list):
            return [spelled(item) for item in value]
        if isinstance(value, bytes):
            return coded(value)
        if not isinstance(value, float | np.generic | ml_dtypes.bfloat16):
            return value
        value = float(value)
        if math.isfinite(value):
            return value
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"

    return spelled(found)


def coded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def filed(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return coded(file.getvalue())


def each(plain: Callable[[Any], Any]) -> Callable[[list[Any]], Any]:
    return lambda values: list(map(plain, values))


@st.composite
def images(draw: st.DrawFn) -> Image.Image:
    width, height = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return Image.frombytes("L", (width, height), draw(st.binary(min_size=9, max_size=9)))


def bfloat16(array: Any) -> Any:
    return array.view(ml_dtypes.bfloat16)


def quiet(array: Any) -> Any:
    """Every NaN the same NaN, as JSON has but one."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isnan(array), np.array(np.nan, array.dtype), array)


FULL = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3)
FLOAT = st.floats(allow_nan=True)
TEXT = st.text(max_size=5)
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
TIMES = st.datetimes(timezones=st.sampled_from([None, dt.UTC]))
POINTS = st.builds(Point, st.floats(-9, 9), st.lists(TEXT, max_size=2))
PEOPLE = st.builds(Person, name=TEXT, born=st.none() | st.dates())


def array_kind(name: str) -> Kind:
    values: st.SearchStrategy[Any] = FULL.flatmap(lambda shape: arrays(name, shape))
    if name == "BF16":
        values = values.map(bfloat16)
    if name in ("BF16", "FP16", "FP32", "FP64"):
        values = values.map(quiet)
    return Kind(Annotated[np.ndarray, Field(name)], values, listed)


PATCHES = st.builds(
    Patch,
    arrays("FP64", FULL).map(quiet),
    images(),
    arrays("INT64", FULL).map(torch.from_numpy),
    st.none() | arrays("BOOL", FULL),
    st.floats(-9, 9),
)


SCANS = PATCHES.flatmap(
    lambda patch: st.builds(
        Scan,
        **{name: st.just(value) for name, value in vars(patch).items()},
        more=st.lists(PATCHES.map(lambda one: Scan(**vars(one))), max_size=1),
    )
)


def patched(patch: Patch | Scan) -> dict[str, Any]:
    return {
        "pixels": listed(patch.pixels),
        "icon": filed(patch.icon),
        "weights": listed(patch.weights.numpy()),
        "mask": None if patch.mask is None else listed(patch.mask),
        "scale": patch.scale,
    } | ({"more": list(map(patched, patch.more))} if isinstance(patch, Scan) else {})


def rows(size: int) -> st.SearchStrategy[Any]:
    shape = st.tuples(st.integers(0, 3), st.just(size))
    return hnp.arrays("f4", shape, elements=st.floats(-9, 9, width=32))


KINDS: dict[str, Kind] = {
    **{name: array_kind(name) for name in DATATYPES},
    "rows": Kind(Annotated[np.ndarray, Field("FP32", (-1, 4))], rows(4), listed),
    "numpy typing": Kind(npt.NDArray[np.int8], arrays("INT8", FULL), listed),
    "text array": Kind(npt.NDArray[np.str_], hnp.arrays("U4", FULL, elements=CELLS), listed),
    "any int64": Kind(np.ndarray, arrays("INT64", FULL), listed),
    "any float64": Kind(np.ndarray, arrays("FP64", FULL).map(quiet), listed),
    "any bool": Kind(np.ndarray, arrays("BOOL", FULL), listed),
    "any text": Kind(np.ndarray, hnp.arrays("U4", FULL, elements=CELLS), listed),
    "huge": Kind(np.ndarray, st.just(np.array([2**63, 1], "u8")), listed),
    "torch": Kind(
        Annotated[torch.Tensor, Field("FP16")],
        arrays("FP16", FULL).map(quiet).map(torch.from_numpy),
        lambda tensor: listed(tensor.numpy()),
    ),
    "any torch": Kind(
        torch.Tensor,
        (arrays("FP32", FULL).map(quiet) | arrays("INT64", FULL)).map(torch.from_numpy),
        lambda tensor: listed(tensor.numpy()),
    ),
    "series": Kind(
        pd.Series, st.lists(st.integers(-9, 9), min_size=1, max_size=3).map(pd.Series), list
    ),
    "bool": Kind(bool, st.booleans()),
    "int": Kind(int, st.integers(-(2**63), 2**63 - 1)),
    "float": Kind(float, FLOAT, lambda value: listed(np.float64(value))),
    "str": Kind(str, TEXT),
    "bytes": Kind(bytes, st.binary(max_size=5), coded),
    "image": Kind(Image.Image, images(), filed),
    "datetime": Kind(dt.datetime, TIMES, dt.datetime.isoformat),
    "ints": Kind(list[int], st.lists(st.integers(-9, 2**60), max_size=3)),
    "bools": Kind(list[bool], st.lists(st.booleans(), max_size=3)),
    "matrix": Kind(
        list[list[float]],
        st.lists(st.lists(FLOAT, min_size=2, max_size=2), max_size=3),
        lambda value: listed(np.array(value)),
    ),
    "ragged": Kind(
        list[list[float]],
        st.lists(st.lists(FLOAT, max_size=3), max_size=3),
        lambda value: [listed(np.array(row)) for row in value],
    ),
    "deep": Kind(
        list[list[list[int]]],
        st.just([[[1], [2, 3]], [], [[4]]]) | st.just([[[1]], [[2]]]),
    ),
    "strs": Kind(list[str], st.lists(TEXT, max_size=3)),
    "many bytes": Kind(list[bytes], st.lists(st.binary(max_size=5), max_size=3), each(coded)),
    "images": Kind(list[Image.Image], st.lists(images(), max_size=2), each(filed)),
    "times": Kind(list[dt.datetime], st.lists(TIMES, max_size=2), each(dt.datetime.isoformat)),
    "date": Kind(dt.date, st.dates(), dt.date.isoformat, json=True),
    "time": Kind(dt.time, st.times(), dt.time.isoformat),
    "span": Kind(dt.timedelta, st.timedeltas(), msgspec.to_builtins),
    "decimal": Kind(decimal.Decimal, st.decimals(-9, 9, places=2), str),
    "uuid": Kind(uuid.UUID, st.uuids(), str),
    "uuids": Kind(list[uuid.UUID], st.lists(st.uuids(), max_size=2), each(str)),
    "word": Kind(Literal["a", "b"], st.sampled_from("ab")),
    "number": Kind(Literal[1, 2], st.sampled_from([1, 2])),
    "mixed": Kind(Literal["a", 1], st.sampled_from(["a", 1])),
    "enum": Kind(Color, st.sampled_from(Color), lambda color: color.value),
    "int enum": Kind(Level, st.sampled_from(Level), int),
    "enums": Kind(
        list[Color], st.lists(st.sampled_from(Color), max_size=2), each(lambda color: color.value)
    ),
    "pydantic": Kind(Person, PEOPLE, lambda person: person.model_dump(mode="json")),
    "people": Kind(
        list[Person],
        st.lists(PEOPLE, max_size=2),
        each(lambda person: person.model_dump(mode="json")),
    ),
    "dataclass": Kind(Point, POINTS, dataclasses.asdict),
    "points": Kind(list[Point], st.lists(POINTS, max_size=2), each(dataclasses.asdict)),
    "patches": Kind(list[Patch], st.lists(PATCHES, max_size=2), each(patched)),
    "scans": Kind(list[Scan], st.lists(SCANS, max_size=2), each(patched)),
    "struct": Kind(
        Box,
        st.builds(Box, POINTS, st.binary(max_size=3)),
        lambda box: {"low": dataclasses.asdict(box.low), "data": coded(box.data)},
    ),
    "typed dict": Kind(
        Options,
        st.fixed_dictionaries(
            {}, optional={"depth": st.integers(0, 9), "color": st.sampled_from(Color)}
        ),
        msgspec.to_builtins,
        json=True,
    ),
    "named tuple": Kind(Pair, st.builds(Pair, st.integers(0, 9), TEXT), list, json=True),
    "dict": Kind(
        dict[str, float], st.dictionaries(TEXT.filter(lambda key: key != "x"), st.floats(-9, 9))
    ),
    "nested": Kind(dict[str, list[Point]], st.dictionaries(st.just("p"), st.lists(POINTS)),
                   lambda found: {key: list(map(dataclasses.asdict, of))
                                  for key, of in found.items()}, json=True),
    "union": Kind(int | str, st.integers(0, 9) | TEXT),
    "maybe int": Kind(int | None, st.none() | st.integers(0, 9)),
    "maybe text": Kind(str | None, st.none() | TEXT),
    "maybe word": Kind(Literal["a", "b"] | None, st.sampled_from(["a", "b", None])),
    "maybe record": Kind(
        Point | None,
        st.none() | POINTS,
        lambda point: None if point is None else dataclasses.asdict(point),
        json=True,
    ),
    "maybe array": Kind(
        npt.NDArray[np.int64] | None,
        st.none() | arrays("INT64", FULL),
        lambda array: None if array is None else listed(array),
    ),
    "arrays": Kind(
        dict[str, npt.NDArray[np.float64]],
        st.dictionaries(st.sampled_from("abc"), arrays("FP64", st.just((2,))).map(quiet),
                        min_size=1),
        lambda found: {name: listed(array) for name, array in found.items()},
    ),
    "frame": Kind(
        pd.DataFrame,
        st.builds(
            lambda a, b, c: pd.DataFrame({"a": a, "b": b, "c": c}),
            st.lists(st.integers(-9, 9), min_size=2, max_size=2),
            st.lists(CELLS, min_size=2, max_size=2),
            st.lists(st.floats(-9, 9) | st.just(math.nan), min_size=2, max_size=2).map(np.array),
        ),
        lambda frame: [
            row | {"c": None if math.isnan(row["c"]) else row["c"]}
            for row in frame.to_dict(orient="records")
        ],
    ),
}  # fmt: skip


def same_array(left: Any, right: Any) -> bool:
    alike = left.shape == right.shape and left.dtype.kind == right.dtype.kind
    if left.dtype.kind in "OU":
        return bool(alike and left.tolist() == right.tolist())
    return bool(alike and left.dtype == right.dtype and left.tobytes() == right.tobytes())


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal and of one type, to the bit."""
    if isinstance(left, Image.Image):  # a file's is of a class of its own
        return (left.mode, left.size, left.tobytes()) == (right.mode, right.size, right.tobytes())
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return same_array(left, right)
    if isinstance(left, torch.Tensor):
        return same(left.numpy(), right.numpy())
    if isinstance(left, pd.DataFrame | pd.Series):
        return bool(left.equals(right))
    if isinstance(left, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Patch | Scan):
        left, right = vars(left), vars(right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)
