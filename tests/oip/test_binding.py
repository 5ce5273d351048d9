"""One function, every form of request: arguments by annotation, results by annotation."""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from PIL import Image
from typing_extensions import TypeAliasType

from salver.oip.binding import Binder
from salver.oip.codecs.json import to_json
from salver.oip.datatypes import DATATYPES, name_of
from salver.oip.errors import (
    ContentError,
    InvalidMessageError,
    InvalidResultError,
    MismatchError,
    UnservableError,
)
from salver.oip.messages import read_infer_request, write_infer_request
from salver.oip.plainarrays import read_plain
from salver.oip.rest import RestFormat, write_request, write_response
from salver.oip.signature import Signature
from salver.oip.types import InferRequest, InferResponse, RequestedOutput, Tensor
from salver.spec.endpoint import Field

REST = RestFormat()


class Person(pydantic.BaseModel):
    name: str
    age: int = 0


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


@dataclasses.dataclass
class Line:
    points: dict[str, list[Point]]
    width: int = 1


class Named(pydantic.BaseModel):
    kind: str = pydantic.Field(alias="type")


class Scores(TypedDict):
    probabilities: npt.NDArray[np.float32]
    label: str


class Pair(NamedTuple):
    left: npt.NDArray[np.int64]
    right: list[str]


Image3 = Annotated[npt.NDArray[np.float32], Field(shape=(-1, 3))]


def scale(x: Image3, factor: float = 2.0) -> npt.NDArray[np.float32]:
    return (x * factor).astype(np.float32)


def scores3(x: Image3) -> Image3:
    return x


def person(person: Person) -> Person:
    return person


def many(people: list[Person], points: list[Point] | None = None) -> list[Person]:
    return people


def texts(words: list[str], upper: bool = False, mode: Literal["a", "b"] = "a") -> list[str]:
    return [word.upper() if upper else word for word in words]


def scores(x: npt.NDArray[np.float32]) -> Scores:
    return {"probabilities": x, "label": "a"}


def pair(a: int, when: dt.datetime) -> Pair:
    return Pair(np.array([a]), [when.isoformat()])


def several(data: bytes, image: Image.Image) -> tuple[bytes, int, Image.Image]:
    return data, len(data), image


def nothing(n: int) -> None:
    pass


def several_or_none(n: int) -> tuple[bytes, int, Image.Image | None]:
    return b"", n, None


def frame(frame: pd.DataFrame, k: int = 1) -> pd.DataFrame:
    return frame


def anything(x, y=3):  # type: ignore[no-untyped-def]
    return x


def whole(request: InferRequest, x: int) -> InferResponse:
    return InferResponse([Tensor.of("seen", np.array([len(request.inputs)]))])


def tell(text_input: str, max_tokens: int = 20) -> Iterator[str]:
    yield from text_input.split()[:max_tokens]


async def later(text: str) -> AsyncIterator[int]:
    yield len(text)


def bare(rows: typing.List, grid: list[typing.List]) -> typing.List:  # type: ignore[type-arg]  # noqa: UP006
    return rows + grid


def request(**inputs: Any) -> InferRequest:
    return InferRequest([Tensor.of(name, value) for name, value in inputs.items()])


def call(function: Any, request_: InferRequest) -> InferResponse:
    binder = Binder(Signature.of(function))
    return binder.pack(function(**binder.bind(request_)), request_)


def over_json(request_: InferRequest) -> InferRequest:
    return REST.read_request(write_request(request_).join())


def over_binary(request_: InferRequest) -> InferRequest:
    body = write_request(request_, lambda _: True)
    return REST.read_request(body.join(), body.header_length)


def over_grpc(request_: InferRequest) -> InferRequest:
    return read_infer_request(write_infer_request(request_))


OVERS = pytest.mark.parametrize("over", [over_json, over_binary, over_grpc])


@OVERS
@given(
    array=hnp.arrays(
        "f4", st.tuples(st.integers(0, 4), st.just(3)), elements=st.floats(-9, 9, width=32)
    )
)
def test_one_function_gives_the_same_over_every_format(over: Any, array: Any) -> None:
    response = call(scale, over(request(x=array)))

    (output,) = response.outputs
    assert (output.name, output.datatype) == ("output-0", "FP32")
    assert np.array_equal(output.array(), array * 2)


@given(
    array=hnp.arrays(
        "f4", st.tuples(st.integers(1, 4), st.just(3)), elements=st.floats(-9, 9, width=32)
    )
)
def test_plain_json_gives_the_same_as_tensors(array: Any) -> None:
    binder = Binder(Signature.of(scale))

    by_json = binder.bind_json(to_json({"x": array, "factor": 3}))

    assert np.array_equal(by_json["x"], array)
    assert by_json["x"].dtype == np.float32
    assert by_json["factor"] == 3.0


def test_metadata_tell_what_the_signature_says() -> None:
    model = Signature.of(scale).metadata("m", ["1"])

    assert (model.name, model.versions) == ("m", ["1"])
    x, factor = model.inputs
    assert (x.name, x.datatype, x.shape, x.optional) == ("x", "FP32", [-1, 3], False)
    assert (factor.datatype, factor.shape, factor.optional) == ("FP64", [1], True)
    assert [(o.name, o.datatype, o.shape) for o in model.outputs] == [("output-0", "FP32", [-1])]


@pytest.mark.parametrize(
    ("function", "inputs", "outputs", "streams"),
    [
        (person, ["person:BYTES[1]"], ["output-0:BYTES[1]"], False),
        (many, ["people:BYTES[-1]", "points:BYTES[-1]"], ["output-0:BYTES[-1]"], False),
        (
            texts,
            ["words:BYTES[-1]", "upper:BOOL[1]", "mode:BYTES[1]"],
            ["output-0:BYTES[-1]"],
            False,
        ),
        (scores, ["x:FP32[-1]"], ["probabilities:FP32[-1]", "label:BYTES[1]"], False),
        (pair, ["a:INT64[1]", "when:BYTES[1]"], ["left:INT64[-1]", "right:BYTES[-1]"], False),
        (
            several,
            ["data:BYTES[1]", "image:BYTES[1]"],
            ["output-0:BYTES[1]", "output-1:INT64[1]", "output-2:BYTES[1]"],
            False,
        ),
        (frame, ["frame:BYTES[-1]", "k:INT64[1]"], ["output-0:BYTES[-1]"], False),
        (whole, ["x:INT64[1]"], [], False),
        (tell, ["text_input:BYTES[1]", "max_tokens:INT64[1]"], ["text_output:BYTES[1]"], True),
        (later, ["text:BYTES[1]"], ["output-0:INT64[1]"], True),
        (bare, ["rows:BYTES[1]", "grid:BYTES[1]"], ["output-0:BYTES[1]"], False),
    ],
)
def test_signatures_become_models(
    function: Any, inputs: list[str], outputs: list[str], streams: bool
) -> None:
    signature = Signature.of(function)
    model = signature.metadata("m")

    assert [f"{t.name}:{t.datatype}{t.shape}".replace(" ", "") for t in model.inputs] == inputs
    assert [f"{t.name}:{t.datatype}{t.shape}".replace(" ", "") for t in model.outputs] == outputs
    assert signature.streams is streams


@OVERS
def test_records_text_and_times_arrive_as_themselves(over: Any) -> None:
    sent = request(words=np.array(["a", "b"]), upper=np.array([True]))
    assert [e.decode() for e in call(texts, over(sent)).outputs[0].array()] == ["A", "B"]

    sent = request(person=np.array(['{"name":"Ada","age":3}']))
    assert Binder(Signature.of(person)).bind(over(sent)) == {"person": Person(name="Ada", age=3)}

    sent = request(a=np.array([4], "i2"), when=np.array(["2020-01-02T03:04:05"]))
    left, right = call(pair, over(sent)).outputs
    assert left.array().tolist() == [4]
    assert right.array().tolist() == [b"2020-01-02T03:04:05"]


@OVERS
def test_bytes_and_images_arrive_as_themselves(over: Any) -> None:
    binder = Binder(Signature.of(several))
    image = Image.new("L", (3, 2), 7)
    sent = binder.pack((b"\xff\0", 2, image)).outputs
    sent[0].name, sent[2].name = "data", "image"

    data, length, back = call(several, over(InferRequest([sent[0], sent[2]]))).outputs

    assert data.array().tolist() == [b"\xff\0"]
    assert length.array().tolist() == [2]
    assert binder.signature.registry.decode(back)[0].tobytes() == image.tobytes()


@OVERS
def test_a_frame_takes_the_inputs_that_no_other_argument_names(over: Any) -> None:
    sent = request(a=np.array([1, 2]), k=np.array([5]), b=np.array(["x", "y"]))

    bound = Binder(Signature.of(frame)).bind(over(sent))

    assert bound["k"] == 5
    assert bound["frame"].to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}


def test_arguments_that_are_not_annotated_are_arrays() -> None:
    response = call(anything, request(x=np.arange(3)))

    assert response.outputs[0].array().tolist() == [0, 1, 2]


def test_the_request_itself_can_be_an_argument() -> None:
    assert call(whole, request(x=np.array([1]))).outputs[0].array().tolist() == [1]


def test_a_scalar_may_be_a_request_parameter() -> None:
    sent = InferRequest(request(x=np.ones((1, 3), "f4")).inputs, parameters={"factor": 10})

    assert call(scale, sent).outputs[0].array().tolist() == [[10, 10, 10]]


def test_so_may_whatever_else_is_one_json_value() -> None:
    def choose(
        mode: Literal["a", "b"], point: Point, day: dt.date | None = None, untyped: Any = 1
    ) -> list[str]:
        return [mode, str(point.x), str(day), str(untyped)]

    sent = InferRequest(
        [], parameters={"mode": "b", "point": {"x": 2}, "day": "2024-05-06", "untyped": 7}
    )
    found = call(choose, sent).outputs[0].array().tolist()

    assert found == [b"b", b"2.0", b"2024-05-06", b"7"]
    sent.parameters["mode"] = "c"
    with pytest.raises(
        ContentError, match=r"^\$\.parameters\.mode: Invalid enum value 'c'; known are 'a', 'b'$"
    ):
        call(choose, sent)


def test_only_the_outputs_that_were_asked_for_are_given() -> None:
    sent = request(x=np.ones(2, "f4"))
    sent.outputs = [RequestedOutput("label")]

    assert [tensor.name for tensor in call(scores, sent).outputs] == ["label"]


@pytest.mark.parametrize(
    ("function", "inputs", "message"),
    [
        (scale, {"x": np.ones((1, 3))}, r"\[0\]\.datatype: expected FP32, got FP64$"),
        (scale, {"x": np.ones((1, 4), "f4")}, r"\[0\]\.shape: expected \[-1, 3\], got \[1, 4\]$"),
        (scale, {"x": np.ones(3, "f4")}, r"\[0\]\.shape: expected \[-1, 3\], got \[3\]$"),
        (scale, {"y": np.ones(3, "f4")}, r"\[0\]\.name: unknown input 'y'"),
        (scale, {}, r": input 'x' is missing; required: 'x'$"),
        (pair, {"a": np.ones(1)}, r"\[0\]\.datatype: expected INT64, got FP64$"),
        (pair, {"a": np.ones(2, int)}, r"\[0\]\.shape: expected one element, got \[2\]$"),
        (pair, {"when": np.array(["x"])}, r"\[0\]\.data\[0\]: the element is no datetime"),
        (texts, {"word": np.array(["x"])}, r"\[0\]\.name: unknown input 'word'; did you"),
        (person, {"person": np.array(['{"age":1}'])}, r"\[0\]\.data\[0\]\.name: Field required$"),
        (person, {"person": np.array(["{"])}, r"\[0\]\.data\[0\]: Invalid JSON"),
        (texts, {"words": np.ones(1)}, r"\[0\]\.datatype: expected BYTES, got FP64$"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(function: Any, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidMessageError, match=r"^\$\.inputs" + message):
        Binder(Signature.of(function)).bind(request(**inputs))


@pytest.mark.parametrize(
    ("function", "body", "expected"),
    [
        (person, b'{"name":"Ada"}', {"person": Person(name="Ada")}),
        (person, b'{"person":{"name":"Ada"}}', {"person": Person(name="Ada")}),
        (many, b'{"people":[{"name":"A"}],"points":[{"x":1}]}',
         {"people": [Person(name="A")], "points": [Point(1)]}),
        (many, b'{"people":[],"points":null}', {"people": [], "points": None}),
        (texts, b'{"words":["a"],"mode":"b"}', {"words": ["a"], "mode": "b"}),
        (tell, b'{"text_input":"a b"}', {"text_input": "a b"}),
        (later, b'"abc"', {"text": "abc"}),
        (later, b'{"text":"abc"}', {"text": "abc"}),
        (anything, b'{"x":[1,"a"]}', {"x": [1, "a"]}),
    ],
)  # fmt: skip
def test_plain_json_becomes_arguments(function: Any, body: bytes, expected: Any) -> None:
    assert Binder(Signature.of(function)).bind_json(body) == expected


@pytest.mark.parametrize(
    ("function", "body", "message"),
    [
        (scale, b'{"x":[[1,2],[3]]}', r"^\$\.x\[1\]: a list of 1 where the shape \[2\] wants 2$"),
        (scale, b'{"x":[[true,2,3]]}', r"^\$\.x\[0\]\[0\]: Expected .*, got `bool`"),
        (scale, b'{"x":[{}]}', r"^\$\.x\[0\]: Expected .*, got `object`"),
        (anything, b'{"z":1}', r"^\$: unknown input 'z'"),
        (scale, b'{"x":[["a","b","c"]]}', r"^\$\.x\[0\]\[0\]: Expected a number, null"),
        (scale, b'{"x":[[1,2,1e39]]}', r"^\$\.x\[2\]: 1e\+39 is too large for FP32$"),
        (scale, b'{"x":[[1,2]]}', r"^\$\.x: expected shape \[-1, 3\], got \[1, 2\]$"),
        (scale, b'{"x":[[1,2,3]],"factor":"2"}', r"^\$\.factor: Expected `float`, got `str`$"),
        (scale, b'{"z":1}', r"^\$: unknown input 'z'; the inputs are x, factor$"),
        (scale, b"{}", r"^\$: input 'x' is missing; required: 'x'$"),
        (scale, b"[1]", r"^\$: expected shape \[-1, 3\], got \[1\]$"),
        (pair, b"[1]", r"^\$: expected an object with a, when$"),
        (scale, b"{", r"^\$: no valid JSON"),
        (scale, b"[" * 100_000, r"^\$: no valid JSON"),
        (texts, b'{"words":["a",1]}', r"^\$\.words\[1\]: expected a string, got int$"),
        (
            texts,
            b'{"words":[],"mode":"c"}',
            r"^\$\.mode: .* 'c'; known are 'a', 'b'$",
        ),
        (
            many,
            b'{"people":[{"name":1}]}',
            r"^\$\.people\[0\]\.name: Input should be a valid string",
        ),
        (person, b'{"person":{"age":1}}', r"^\$\.person\.name: Field required$"),
        (pair, b'{"a":1,"when":"x"}', r"^\$\.when: no datetime: "),
    ],
)
def test_plain_json_that_does_not_fit_is_named(function: Any, body: bytes, message: str) -> None:
    with pytest.raises((ContentError, MismatchError), match=message):
        Binder(Signature.of(function)).bind_json(body)


def test_tables_may_come_as_columns_or_rows() -> None:
    binder = Binder(Signature.of(frame))

    columns = binder.bind_json(b'{"a":[1,2],"b":["x","y"]}')["frame"]
    rows = binder.bind_json(b'{"frame":[{"a":1,"b":"x"},{"a":2,"b":"y"}],"k":2}')["frame"]
    bare = binder.bind_json(binder.pack_json(rows))["frame"]

    assert bare.equals(rows)
    assert binder.bind_json(b"[]")["frame"].empty
    with pytest.raises(ContentError, match=r"^\$\[1\]: expected rows with the same members each"):
        binder.bind_json(b'[{"a":1},{"b":1}]')
    with pytest.raises(ContentError, match=r"^\$: expected an object with frame, k$"):
        binder.bind_json(b"5")
    assert columns.to_dict("list") == rows.to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}


@pytest.mark.parametrize(
    ("function", "result", "expected"),
    [
        (scale, np.array([[1.5, np.nan]], "f4"), b"[[1.5,null]]"),
        (person, Person(name="A"), b'{"name":"A","age":0}'),
        (several_or_none, (b"\xff", 1, None), b'{"output-0":"/w==","output-1":1,"output-2":null}'),
        (scores, {"probabilities": np.ones(1, "f4"), "label": "a"},
         b'{"probabilities":[1.0],"label":"a"}'),
        (whole, InferResponse([Tensor.of("x", np.ones(1))]), b'{"x":[1.0]}'),
    ],
)  # fmt: skip
def test_results_become_plain_json(function: Any, result: Any, expected: bytes) -> None:
    assert Binder(Signature.of(function)).pack_json(result) == expected


def test_what_a_dataclass_was_not_given_is_in_the_answer_as_well() -> None:
    def lines(x: list[Line]) -> list[Line]:
        return x

    binder = Binder(Signature.of(lines))
    (given,) = binder.bind_json(b'[{"points":{"a":[{"x":1}]}}]').values()
    (row,) = binder.bind_plain([{"points": {"a": [{"x": 1}]}}]).values()

    text = b'[{"points":{"a":[{"x":1.0,"y":0.0}]},"width":1}]'
    assert binder.pack_json(given) == binder.pack_json(row) == text


def test_a_model_of_pydantic_is_written_under_the_names_of_its_schema() -> None:
    def named(x: Named) -> list[Named]:
        return [x]

    binder = Binder(Signature.of(named))
    assert binder.pack_json(named(**binder.bind_json(b'{"type":"a"}'))) == b'[{"type":"a"}]'


@pytest.mark.parametrize(
    ("function", "result", "message"),
    [
        (
            scores3,
            np.ones((3, 1)),
            r"output 'output-0' is declared with the shape \[-1, 3\], but an",
        ),
        (scale, np.array(["a"]), r"output 'output-0' is declared FP32, but an array of <U1"),
        (scale, {"a": 1}, r"output 'output-0' is declared FP32, but {'a': 1} was returned\."),
        (scores, {"label": "a"}, r"the result has no 'probabilities', which its annotation prom"),
        (several, b"x", r"a tuple of 3 is declared, but b'x' was returned\.$"),
        (
            several,
            (1, 1, 1),
            r"output 'output-0': element 0 \(int\) cannot be written as 'bytes': e",
        ),
        (later, "5", r"output 'output-0' is declared int, but '5' was returned\.$"),
        (later, 5.5, r"output 'output-0' is declared int, but 5.5 was returned\.$"),
        (texts, "abc", r"output 'output-0' is declared a list of str, but 'abc' was returned\.$"),
        (texts, [1], r"output 'output-0': element 0 \(int\) cannot be written as 'str': expected"),
        (
            person,
            {"nam": "x"},
            r"output 'output-0' is declared Person, but {'nam': 'x'} was return",
        ),
        (many, [Point(1)], r"output 'output-0' is declared list\[.*Person\], but \[Point"),
        (frame, [1], r"a DataFrame is declared, but \[1\] was returned\.$"),
        (whole, 1, r"an InferResponse is declared, but 1 was returned\.$"),
        (nothing, 1, r"None is declared, but 1 was returned\.$"),
    ],
)
def test_results_that_break_their_promise_are_the_models_fault(
    function: Any, result: Any, message: str
) -> None:
    binder = Binder(Signature.of(function))
    for pack in (binder.pack, binder.pack_json):
        with pytest.raises(InvalidResultError, match=rf"^{function.__name__}\(\): {message}"):
            pack(result)


def test_functions_that_no_protocol_can_carry_are_refused_when_defined() -> None:
    def spread(*values: int) -> None: ...

    def unknown(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    def two(a: pd.DataFrame, b: pd.DataFrame) -> None: ...

    def wrong(x: Annotated[Any, Field(content_type="npy")]) -> None: ...

    def answers(x: int) -> Annotated[npt.NDArray[Any], Field("FP31")]:
        return np.zeros(x)

    for function, message in (
        (spread, r"spread\(\) takes \*values.*write each argument out\.$"),
        (unknown, r"unknown\(\) cannot be resolved: name 'Nowhere' is not defined"),
        (two, r"two\(\) takes more than one frame"),
        (wrong, r"wrong\(\): argument 'x': unknown content type 'npy'; did you mean 'np'\?"),
        (answers, r"answers\(\): output 'output-0': unknown datatype 'FP31'; expected one of BOOL"),
    ):
        with pytest.raises(UnservableError, match=message):
            Signature.of(function)


def test_no_two_tensors_of_a_function_have_one_name() -> None:
    def takes(x: Annotated[int, Field(name="y")], y: int) -> None: ...

    def gives() -> tuple[int, Annotated[int, Field(name="output-0")]]:
        return 1, 2

    with pytest.raises(UnservableError, match=r"takes\(\): two arguments are called 'y'; name one"):
        Signature.of(takes)
    with pytest.raises(UnservableError, match=r"gives\(\): two outputs are called 'output-0'; "):
        Signature.of(gives)


def test_methods_are_functions_without_self() -> None:
    class Model:
        def predict(self, x: int) -> int:
            return x

        def __call__(self, y: int) -> int:
            return y

    assert [a.name for a in Signature.of(Model.predict).arguments] == ["x"]
    assert [a.name for a in Signature.of(Model().predict).arguments] == ["x"]
    assert [a.name for a in Signature.of(Model()).arguments] == ["y"]


def test_arrays_that_are_only_read_are_not_copied() -> None:
    def read(x: Annotated[np.ndarray[Any, Any], Field(writable=False)]) -> None: ...

    contents = np.ones(4, "f4").tobytes()
    sent = InferRequest([Tensor.raw("x", "FP32", (4,), contents)])

    array = Binder(Signature.of(read)).bind(sent)["x"]

    assert not array.flags.owndata
    assert not array.flags.writeable


@given(st.binary(max_size=60))
def test_arbitrary_plain_bodies_raise_only_our_errors(body: bytes) -> None:
    for function in (scale, person, texts, frame, many):
        try:
            Binder(Signature.of(function)).bind_json(body)
        except InvalidMessageError:
            continue


def test_a_response_can_be_written_as_it_is_packed() -> None:
    response = call(scores, request(x=np.ones(2, "f4")))

    assert write_response(response).text == (
        b'{"model_name":"","outputs":[{"name":"probabilities","datatype":"FP32","shape":[2],'
        b'"parameters":{"content_type":"np"},"data":[1.0,1.0]},{"name":"label","datatype":"BYTES",'
        b'"shape":[1],"parameters":{"content_type":"str"},"data":["a"]}]}'
    )


@given(
    array=hnp.arrays(
        st.sampled_from(["f4", "f8", "i1", "u8", "?"]),
        hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=30),
        elements={"allow_nan": False},
    )
)
def test_arrays_in_plain_json_come_back_small_or_large(array: Any) -> None:
    text = Binder(Signature.of(anything)).pack_json(array)
    kind = DATATYPES[name_of(array.dtype)]

    found_kind, found = read_plain(text, kind)

    assert found_kind is kind
    assert np.array_equal(found.reshape(-1), array.reshape(-1))
    assert found.shape == (array.shape if array.size else found.shape)


def test_an_annotation_that_cannot_be_hashed_is_validated_all_the_same() -> None:
    def function(people: Annotated[list[Person], {"of": "pydantic"}]) -> int:
        return len(people)

    binder = Binder(Signature.of(function))
    assert function(**binder.bind_json(b'{"people": [{"name": "Ada"}]}')) == 1
    with pytest.raises(ContentError, match=r"^\$\.people"):
        binder.bind_json(b'{"people": [{}]}')


def test_a_result_that_is_none_where_it_may_be_has_no_tensor() -> None:
    def maybe(x: int) -> tuple[int | None, int]:
        return (x or None), x

    binder = Binder(Signature.of(maybe))
    asked = InferRequest([], [RequestedOutput("output-0")])
    assert [t.name for t in binder.pack((None, 0)).outputs] == ["output-1"]
    assert binder.pack((None, 0), asked).outputs == []
    assert [t.name for t in binder.pack((1, 1), asked).outputs] == ["output-0"]
    assert binder.pack_json((None, 0)) == b'{"output-0":null,"output-1":0}'
    assert binder.signature.metadata("m").outputs[0].optional


def test_undeclared_arrays_in_plain_json_are_exact_integers_or_doubles() -> None:
    binder = Binder(Signature.of(echoed))
    for text, dtype in (
        (b"[16777217,1]", "int64"),
        (b"[18446744073709551615]", "uint64"),
        (b"[1,2.0]", "float64"),
        (b'["Infinity",1]', "float64"),
        (b"[null]", "float64"),
        (b"[true]", "bool"),
    ):
        array = binder.bind_json(text)["x"]
        assert array.dtype == dtype
        assert binder.bind_json(binder.pack_json(array))["x"].tobytes() == array.tobytes()
    with pytest.raises(ContentError, match=r"^\$\[0\]: 18446744073709551616 is no INT64"):
        binder.bind_json(b"[18446744073709551616]")


def echoed(x: np.ndarray) -> np.ndarray:
    return x


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([b"[1]", b'["a"]'], r"\.data\[1\]\[0\]: Expected `int`, got `str`"),
        ([b"[1]", b"1"], r"\.data\[1\]: Expected `array`, got `int`"),
        ([b"[1]", b"["], r"\.data\[1\]: no valid JSON"),
    ],
)
def test_what_is_wrong_in_a_row_of_json_is_named(rows: list[bytes], said: str) -> None:
    def function(x: list[list[int]]) -> None: ...

    tensor = Tensor.of("x", np.array(rows, object))
    with pytest.raises(InvalidMessageError, match=rf"^\$\.inputs\[0\]{said}"):
        Binder(Signature.of(function)).bind(InferRequest([tensor]))


def test_a_dict_of_arrays_may_be_empty() -> None:
    def same(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return columns

    binder = Binder(Signature.of(same))
    given = binder.bind_json(b'{"columns":{}}')
    assert given == {"columns": {}}
    assert binder.pack_json(same(**given)) == b"{}"
    assert binder.pack(same(**given)).outputs == []


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (Annotated[int, Field("INT32")], r"Field says datatype='INT32', but int is INT64\. "),
        (Annotated[list[float], Field("FP64", (4,))], r"says shape=\(4,\), but list\[float\] is "),
        (Annotated[Literal["a"], Field(shape=(-1,))], r"Field says shape=\(-1,\), but "),
        (Annotated[pd.DataFrame, Field("FP32")], r"says datatype='FP32', but .* of its columns\. "),
        (Annotated[dict[str, np.ndarray], Field(content_type="np")], r"says content_type='np', "),
    ],
)
def test_a_field_says_nothing_that_would_not_be_followed(hint: Any, said: str) -> None:
    def takes(x: Any) -> None: ...
    def gives() -> Any: ...

    takes.__annotations__ = {"x": hint}
    gives.__annotations__ = {"return": hint}
    for function in (takes, gives):
        with pytest.raises(UnservableError, match=said):
            Signature.of(function)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Field("FP32", 4),  # type: ignore[arg-type]
        lambda: Field("FP32", (-2,)),
        lambda: Field("FP32", (None, 4)),  # type: ignore[arg-type]
        lambda: Field("FP32", (True,)),
        lambda: Field(name=""),
    ],
)
def test_a_field_that_makes_no_sense_is_refused(make: Callable[[], Field]) -> None:
    with pytest.raises(ValueError, match=r"of a Field is not valid: expected "):
        make()


@pytest.mark.parametrize(
    ("kind", "datatype"),
    [(np.longlong, "INT64"), (np.intc, "INT32"), (np.half, "FP16"), (np.bool_, "BOOL"),
     (np.bytes_, "BYTES"), (import_module("ml_dtypes").bfloat16, "BF16")],
)  # fmt: skip
def test_every_name_of_a_dtype_is_its_datatype(kind: Any, datatype: str) -> None:
    def function(x: Any) -> None: ...

    function.__annotations__ = {"x": npt.NDArray[kind]}
    (tensor,) = Signature.of(function).metadata("m").inputs
    assert (tensor.datatype, tensor.parameters.get("any_datatype")) == (datatype, None)


@pytest.mark.parametrize("kind", [np.floating, np.number, np.datetime64])
def test_a_kind_of_dtypes_is_any_datatype(kind: Any) -> None:
    def function(x: Any) -> None: ...

    function.__annotations__ = {"x": npt.NDArray[kind]}
    assert Signature.of(function).metadata("m").inputs[0].parameters["any_datatype"] is True


@pytest.mark.parametrize("kind", [np.complex64, np.longdouble, np.timedelta64, np.void])
def test_a_dtype_that_the_protocol_has_not_is_refused(kind: Any) -> None:
    def function(x: Any) -> None: ...

    function.__annotations__ = {"x": npt.NDArray[kind]}
    with pytest.raises(UnservableError, match=r"argument 'x' .*has no datatype in the protocol"):
        Signature.of(function)


def test_a_new_type_is_what_it_is_of() -> None:
    rows = NewType("rows", npt.NDArray[np.float32])
    pairs = TypeAliasType("pairs", Annotated[np.ndarray, Field("FP32", (-1, 2))])

    def function(x: Any, y: Any) -> None: ...

    function.__annotations__ = {"x": rows, "y": pairs | None}
    x, y = Signature.of(function).metadata("m").inputs
    assert (x.datatype, y.datatype, y.shape, y.optional) == ("FP32", "FP32", [-1, 2], True)


def test_a_field_may_say_what_is_so_anyway() -> None:
    def same(x: Annotated[list[int], Field("INT64", (-1,), name="y")]) -> None: ...

    assert Signature.of(same).metadata("m").inputs[0].name == "y"


def test_a_function_without_inputs_says_that_it_takes_none() -> None:
    def nothing() -> int:
        return 1

    with pytest.raises(MismatchError, match="unknown input 'a'; the model takes none"):
        Binder(Signature.of(nothing)).bind(InferRequest([Tensor.of("a", np.ones(1))]))
