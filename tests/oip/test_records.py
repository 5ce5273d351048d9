"""Records that hold arrays, and annotations that no protocol can carry."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt
import pydantic
import pytest

import salver
from salver.build import build
from salver.oip import openapi
from salver.oip.binding import Binder
from salver.oip.errors import ContentError, UnservableError
from salver.oip.signature import Signature
from salver.oip.types import InferRequest, Tensor


@dataclass
class Shot:
    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_] | None = None
    scale: float = 2.0


class Cut(TypedDict):
    image: npt.NDArray[np.float32]


class Shots(NamedTuple):
    first: Shot
    more: list[Cut] = []  # noqa: RUF012 - as a default of a field


def test_records_may_hold_arrays() -> None:
    def function(shots: Shots, cut: Cut, again: Shot | None = None) -> Shot:
        return shots.first

    binder = Binder(Signature.of(function))
    body = {"shots": [{"image": [[1, 2]]}, [{"image": [3]}]], "cut": {"image": []}}
    tensors = [
        Tensor.of(name, np.array([json.dumps(value)], object)) for name, value in body.items()
    ]
    for given in (binder.bind(InferRequest(tensors)), binder.bind_plain(body)):
        first, more = given["shots"]
        assert first.image.dtype == np.float32
        assert (first.image.tolist(), first.mask, first.scale) == ([[1, 2]], None, 2.0)
        assert more[0]["image"].tolist() == [3]
        assert given["cut"]["image"].shape == (0,)
        assert "again" not in given  # it has a default


def test_what_is_wrong_within_a_record_is_named_to_the_element() -> None:
    def function(shots: list[Shot]) -> None: ...

    with pytest.raises(ContentError, match=r"^\$\.shots\[1\]\.image\[0\]\[1\]: Expected a number"):
        Binder(Signature.of(function)).bind_plain({"shots": [{"image": 1}, {"image": [[1, "a"]]}]})


class Lens(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True, strict=True)
    kind: Literal["lens"]
    curve: npt.NDArray[np.float32]


class Camera(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    image: Annotated[np.ndarray, salver.Field("FP16", (-1, 2))] | None = None
    lens: Lens | int = pydantic.Field(0, alias="Lens")
    rows: dict[str, list[np.ndarray]] = {}
    weights: Annotated[np.ndarray, pydantic.BeforeValidator(lambda value: np.full(value, 7))] = (
        np.zeros(0)
    )


def test_models_of_pydantic_may_hold_arrays_wherever_they_are_in_them() -> None:
    def function(camera: Camera) -> None: ...

    binder = Binder(Signature.of(function))
    body = {
        "image": [[1, 2]],
        "Lens": {"kind": "lens", "curve": [1]},
        "rows": {"a": [[1], [2.5]]},
        "weights": 2,
    }
    tensor = Tensor.of("camera", np.array([json.dumps(body)], object))
    for given in (
        binder.bind(InferRequest([tensor])),
        binder.bind_plain({"camera": body}),
        binder.bind_json(json.dumps(body).encode()),
    ):
        camera = given["camera"]
        assert isinstance(camera, Camera)
        assert camera.image is not None
        assert isinstance(camera.lens, Lens)
        assert [str(array.dtype) for array in (camera.image, camera.lens.curve)] == [
            "float16", "float32",
        ]  # fmt: skip
        assert [row.tolist() for row in camera.rows["a"]] == [[1], [2.5]]
        assert camera.weights.tolist() == [7, 7]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"image": [[1]]}, r"\.image: expected shape \[-1, 2\], got \[1, 1\]"),
        ({"rows": {"a": [[1], [[2], [3, 4]]]}}, r"\.rows\.a\[1\]\[1\]: a list of 2 where"),
        ({"Lens": {"kind": "lens", "curve": ["a"]}}, r"\.Lens\.Lens\.curve\[0\]: Expected a num"),
    ],
)
def test_what_is_wrong_within_a_model_of_pydantic_is_named(body: Any, said: str) -> None:
    def function(camera: Camera) -> None: ...

    with pytest.raises(ContentError, match=rf"^\$\.camera{said}"):
        Binder(Signature.of(function)).bind_plain({"camera": body})


def test_a_default_is_kept_where_none_is_a_value_too() -> None:
    def function(x: int | None = 5, y: int | None = None, z: int | None = None) -> None: ...

    assert "x" not in Binder(Signature.of(function)).bind_plain({"y": 1})
    assert Binder(Signature.of(function)).bind_plain({"x": None}) == {"x": None}


class Foreign: ...


class Held(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    image: np.ndarray
    foreign: Foreign


class Film(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    KIND: ClassVar[str] = "film"
    _seen: int = pydantic.PrivateAttr(0)
    image: np.ndarray
    name: str = pydantic.Field("x", alias="Name")

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def size(self) -> int:
        return int(self.image.size)


@dataclass
class Reel:
    KIND: ClassVar[str] = "reel"
    films: list[Film]
    length: npt.NDArray[np.float64] | None = None


def test_a_record_that_is_a_result_has_an_output_for_each_of_its_fields() -> None:
    def film(x: Film) -> Film:
        return x

    binder = Binder(Signature.of(film))
    given = binder.bind_json(b'{"image":[1,2],"Name":"n"}')
    packed = {tensor.name: tensor.array().tolist() for tensor in binder.pack(film(**given)).outputs}
    assert packed == {"image": [1, 2], "Name": [b"n"], "size": [2]}
    assert json.loads(binder.pack_json(film(**given))) == {"image": [1, 2], "Name": "n", "size": 2}


class Whole(pydantic.RootModel[Any]):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    root: npt.NDArray[np.float32]


def test_a_root_model_is_what_it_holds_in_and_out() -> None:
    def same(x: Whole) -> Whole:
        return x

    signature = Signature.of(same)
    binder = Binder(signature)
    given = binder.bind_json(b"[1,2]")
    assert given["x"].root.dtype == np.float32
    assert json.loads(binder.pack_json(same(**given))) == [1, 2]
    (packed,) = binder.pack(same(**given)).outputs
    assert (packed.name, packed.datatype) == ("output-0", "FP32")
    assert packed.array().tolist() == [1, 2]
    sent = InferRequest([Tensor.of("x", np.array(["[1,2]"], object))])
    assert binder.bind(sent)["x"].root.tolist() == [1, 2]
    document = signature.metadata("m"), signature
    assert "object" not in json.dumps(openapi.document(*document, plain="/")["paths"]["/"])


def test_dataclasses_may_hold_models_of_pydantic() -> None:
    def cut(x: Reel) -> list[Reel]:
        return [x]

    binder = Binder(Signature.of(cut))
    given = binder.bind_json(b'{"films":[{"image":[1]}],"length":[2]}')
    assert isinstance(given["x"].films[0], Film)
    (reel,) = json.loads(binder.pack_json(cut(**given)))
    assert reel == {"films": [{"image": [1], "Name": "x", "size": 1}], "length": [2.0]}
    with pytest.raises(ContentError, match=r"^\$\.films\[1\]\.image\[1\]: a list of 2 where"):
        binder.bind_json(b'{"films":[{"image":[1]},{"image":[[1],[2,3]]}]}')
    with pytest.raises(ContentError, match=r"^\$\.films\[0\]\.Name: Input should be a valid"):
        binder.bind_json(b'{"films":[{"image":[1],"Name":1}]}')


@dataclass
class Marked:
    image: Annotated[np.ndarray, salver.Field("FP32")] | None
    inner: list[Marked] | None = None


def test_a_field_that_would_not_be_followed_is_refused() -> None:
    """Within a result that is the record each field is an output, and its Field is followed."""

    def given(x: dict[str, Marked]) -> None: ...

    def returned() -> Marked:
        raise NotImplementedError

    with pytest.raises(UnservableError, match=r"argument 'x': Marked\.image has a Field"):
        Signature.of(given)
    assert Signature.of(returned).outputs[0].slot.datatype == "FP32"


@dataclass
class Deep:
    inner: dict[str, Foreign]


@dataclass
class Outer:
    held: Held


INSTEAD = r"\. Use arrays, numbers, str, .*"


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (Foreign, "Foreign: Foreign has no form in JSON" + INSTEAD),
        (complex, "complex: complex has no form in JSON" + INSTEAD),
        (np.float32, "float32: float32 has no form in JSON" + INSTEAD),
        (Deep, "Deep: Foreign has no form in JSON" + INSTEAD),
        (list[Foreign], r"list\[.*\]: Foreign has no form in JSON" + INSTEAD),
        (Callable[[int], int], r".*Callable.*: Callable has no form in JSON" + INSTEAD),
        (Shot | Deep, r".*: Type unions may not contain more than one dataclass.*" + INSTEAD),
        (Outer, r"Outer: it holds what pydantic takes from Python alone, and what is neither.*"),
        (list[Held], r".*: it holds what pydantic takes from Python alone, and what is neither.*"),
    ],
)
def test_an_annotation_that_json_cannot_say_is_refused_when_defined(hint: Any, said: str) -> None:
    def function(x: Any) -> Any: ...

    for name, what in (("x", "argument 'x'"), ("return", "output 'output-0'")):
        function.__annotations__ = {name: hint}
        with pytest.raises(UnservableError, match=rf"^.*function\(\): {what} is annotated {said}$"):
            Signature.of(function)


def test_an_app_with_such_an_annotation_is_refused_before_any_process_starts() -> None:
    class Model:
        @salver.endpoint
        def first(self, x: int) -> int:
            return x

        @salver.endpoint
        @salver.batch
        async def second(self, foreign: list[Foreign]) -> list[int]:
            return [1 for _ in foreign]

    said = r"Model\.second\(\): argument 'foreign' is annotated Foreign: Foreign has no form"
    with pytest.raises(UnservableError, match=said):
        build(salver.deployment(Model).bind(), "app", "/")
