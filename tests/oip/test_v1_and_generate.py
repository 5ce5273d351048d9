"""V1 and the generate extension: bodies in, arguments or tensors, bodies out."""

from __future__ import annotations

import contextlib
import json
from typing import Any, Literal, TypedDict

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given

from salver.oip.binding import Binder
from salver.oip.classification import classified
from salver.oip.errors import InvalidMessageError
from salver.oip.generate import event, named, read_generate, write_generate
from salver.oip.rest import RestFormat
from salver.oip.signature import Signature
from salver.oip.types import InferRequest, InferResponse, RequestedOutput, Tensor
from salver.oip.v1 import bind_v1, read_v1, write_v1
from tests.oip.kinds import same

REST = RestFormat()


class Both(TypedDict):
    total: npt.NDArray[np.float64]
    name: list[str]


def total(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64] | None = None) -> Both:
    rows = x if y is None else x + y
    return {"total": rows, "name": [f"row {at}" for at in range(len(rows))]}


def double(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return x * 2


def greet(name: str, times: int = 1) -> str:
    return f"hello {name}" * times


def size(data: bytes) -> int:
    return len(data)


def width(frame: pd.DataFrame) -> list[int]:
    return [len(frame.columns)] * len(frame)


def answer(function: Any, body: bytes) -> Any:
    binder = Binder(Signature.of(function))
    request = read_v1(body)
    results = [function(**arguments) for arguments in bind_v1(binder, request)]
    return json.loads(write_v1(binder, request, results))


@pytest.mark.parametrize(
    ("function", "body", "expected"),
    [
        (double, b'{"instances":[[1,2],[3,4]]}', {"predictions": [[2, 4], [6, 8]]}),
        (double, b'{"inputs":[[1,2],[3,4]]}', {"predictions": [[2, 4], [6, 8]]}),
        (double, b'{"inputs":{"x":[1,2]}}', {"outputs": [2, 4]}),
        (double, b'{"instances":[{"x":1},{"x":2}]}', {"predictions": [2, 4]}),
        (double, b'{"instances":[]}', {"predictions": []}),
        (
            total,
            b'{"instances":[{"x":1,"y":2},{"x":3,"y":4}]}',
            {"predictions": [{"total": 3, "name": "row 0"}, {"total": 7, "name": "row 1"}]},
        ),
        (total, b'{"inputs":{"x":[1],"y":[2]}}', {"outputs": {"total": [3], "name": ["row 0"]}}),
        (total, b'{"instances":[5]}', {"predictions": [{"total": 5, "name": "row 0"}]}),
        (greet, b'{"instances":["a","b"]}', {"predictions": ["hello a", "hello b"]}),
        (greet, b'{"instances":[{"name":"a","times":2}]}', {"predictions": ["hello ahello a"]}),
        (size, b'{"instances":[{"b64":"AAECAw=="}]}', {"predictions": [4]}),
        (size, b'{"instances":[{"data":{"b64":"AAECAw=="}}]}', {"predictions": [4]}),
        (width, b'{"instances":[{"a":1,"b":"x"},{"a":2,"b":"y"}]}', {"predictions": [2, 2]}),
        (width, b'{"instances":[{"a":{"b64":"/w=="}}]}', {"predictions": [1]}),
        (greet, b'{"instances":[{"b64":"SsO8cmdlbg=="}]}', {"predictions": ["hello J\u00fcrgen"]}),
        (greet, b'{"inputs":{"name":{"b64":"YQ=="}}}', {"outputs": "hello a"}),
    ],
)
def test_one_function_answers_v1(function: Any, body: bytes, expected: Any) -> None:
    assert answer(function, body) == expected


@pytest.mark.parametrize(
    ("function", "body", "message"),
    [
        (double, b"{}", r'^\$: expected either "instances" or "inputs"$'),
        (double, b'{"instances":1}', r"^\$\.instances: Expected `array`, got `int`$"),
        (double, b'{"instances":[1],"inputs":[1]}', r'expected either "instances" or "inputs"$'),
        (double, b"{", r"^no valid JSON"),
        (double, b'{"instances":[[1],[2,3]]}', r"^\$\.instances\[1\]: a list of 2 where"),
        (double, b'{"instances":["a"]}', r"^\$\.instances\[0\]: Expected a number"),
        (total, b'{"instances":[{"x":1},{"y":1}]}', r"^\$\.instances\[1\]: expected rows with"),
        (total, b'{"instances":[{"z":1}]}', r"^\$\.instances: unknown input 'z'"),
        (greet, b'{"instances":["a",1]}', r"^\$\.instances\[1\]: expected a string, got int$"),
        (size, b'{"instances":[{"b64":"!"}]}', r"^\$\.instances\[0\]: no valid base64 in b64: "),
        (
            size,
            b'{"instances":[{"b64":1}]}',
            r"^\$\.instances\[0\]: expected base64 in b64, got int$",
        ),
        (
            greet,
            b'{"inputs":{"name":{"b64":"/w=="}}}',
            r"^\$\.inputs\.name: the bytes are no text in",
        ),
    ],
)
def test_wrong_v1_bodies_are_named(function: Any, body: bytes, message: str) -> None:
    with pytest.raises(InvalidMessageError, match=message):
        answer(function, body)


TEXTS = ["x", {"b64": "aGFsbG8="}]
BLOBS = np.array([b"x", b"hallo"], object)


@pytest.mark.parametrize(
    ("hint", "cells", "given"),
    [
        (list[str], TEXTS, ["x", "hallo"]),
        (list[bytes], [{"b64": "/w=="}, "/w=="], [b"\xff", b"\xff"]),
        (npt.NDArray[np.str_], TEXTS, np.array(["x", "hallo"])),
        (npt.NDArray[np.bytes_], TEXTS[1:], BLOBS[1:]),
        (np.ndarray, TEXTS, BLOBS),
        (np.ndarray, [["x"], TEXTS[1:]], BLOBS.reshape(2, 1)),
        (dict[str, np.ndarray], {"x": TEXTS}, {"x": BLOBS}),
        (Any, TEXTS, ["x", b"hallo"]),
    ],
)
def test_b64_of_v1_is_the_bytes_and_text_where_text_is_declared(
    hint: Any, cells: Any, given: Any
) -> None:
    def function(x: Any) -> None: ...

    function.__annotations__ = {"x": hint}
    request = read_v1(json.dumps({"inputs": {"x": cells}}).encode())
    (found,) = bind_v1(Binder(Signature.of(function)), request)
    assert same(found["x"], given)


@pytest.mark.parametrize(
    ("hint", "cells", "path"),
    [
        (list[str], [{"b64": "YQ=="}, {"b64": "/w=="}], r"\[1\]"),
        (npt.NDArray[np.str_], [["a"], [{"b64": "/w=="}]], r"\[1\]\[0\]"),
        (list[str], ["a", {"b64": "YQ"}], r"\[1\]"),
        (int, {"b64": "YQ=="}, ""),
    ],
)
def test_bytes_of_v1_that_the_argument_cannot_be_are_named(
    hint: Any, cells: Any, path: str
) -> None:
    def function(x: Any) -> None: ...

    function.__annotations__ = {"x": hint}
    with pytest.raises(InvalidMessageError, match=rf"^\$\.inputs\.x{path}: "):
        bind_v1(
            Binder(Signature.of(function)),
            read_v1(json.dumps({"inputs": {"x": cells}}).encode()),
        )


INFER = (
    b'{"inputs":[{"name":"name","datatype":"BYTES","shape":[1],"data":["a"]},'
    b'{"name":"times","datatype":"INT64","shape":[1],"data":[2]}]}'
)
GENERATE = Signature.of(greet).metadata("m")


@pytest.mark.parametrize(
    ("body", "parameters"),
    [
        (b'{"name":"a","times":2}', {}),
        (b'{"name":["a"],"times":[2],"temperature":0.5}', {"temperature": 0.5}),
        (b'{"id":7,"name":"a","times":2,"parameters":{"k":true}}', {"k": True}),
        (
            INFER,
            {},
        ),
    ],
)
def test_the_three_forms_of_a_generate_body_mean_the_same(
    body: bytes, parameters: dict[str, Any]
) -> None:
    request = read_generate(body, GENERATE, REST)

    assert Binder(Signature.of(greet)).bind(request) == {"name": "a", "times": 2}
    assert request.parameters == parameters


def test_lists_in_lists_are_tensors_of_that_shape() -> None:
    def rows(x: list[list[float]], y: npt.NDArray[Any] | None = None) -> int:
        return len(x)

    metadata = Signature.of(rows).metadata("m")
    request = read_generate(b'{"x":[[1,2],[3,4]],"y":["a"]}', metadata, REST)

    assert [(t.datatype, t.shape) for t in request.inputs] == [("FP64", (2, 2)), ("BYTES", (1,))]
    assert read_generate(b'{"x":[1,2]}', metadata, REST).inputs[0].shape == (1, 2)
    ragged = read_generate(b'{"x":[[1,2],[3]]}', metadata, REST)
    assert Binder(Signature.of(rows)).bind(ragged)["x"] == [[1, 2], [3]]
    wrong = read_generate(b'{"x":[[1,2],["a"]]}', metadata, REST)
    with pytest.raises(InvalidMessageError) as raised:
        Binder(Signature.of(rows)).bind(wrong)
    assert str(named(raised.value, wrong, metadata)) == ("$.x[1][0]: Expected `float`, got `str`")


def test_scalars_may_come_in_the_nested_parameters() -> None:
    request = read_generate(b'{"name":"a","parameters":{"times":3}}', GENERATE, REST)

    assert Binder(Signature.of(greet)).bind(request) == {"name": "a", "times": 3}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", r"^\$: Expected `object`, got `array`"),
        (b"{", r"^no valid JSON"),
        (b'{"name":1}', r"^\$\.name: Expected `str`, got `int`"),
        (b'{"times":[1,"2"]}', r"^\$\.times\[1\]: Expected .*got `str`"),
        (b'{"times":[1,}', r"^no valid JSON|^\$\.times: no valid JSON"),
        (b'{"inputs":{}}', r"^\$\.inputs: Expected `array`"),
    ],
)
def test_wrong_generate_bodies_are_named(body: bytes, message: str) -> None:
    with pytest.raises(InvalidMessageError, match=message):
        read_generate(body, GENERATE, REST)


@given(st.binary(max_size=60))
def test_arbitrary_bodies_raise_only_our_errors(body: bytes) -> None:
    for read in (lambda: read_generate(body, GENERATE, REST), lambda: read_v1(body)):
        with contextlib.suppress(InvalidMessageError):
            read()


def test_a_generate_answer_has_a_member_for_each_output() -> None:
    outputs = [
        Tensor.of("text_output", np.array(["hello"])),
        Tensor.of("scores", np.array([0.5, 1], "f4")),
        Tensor.of("facts", np.array(['{"a":1}']), {"content_type": "json"}),
    ]
    response = InferResponse(outputs, "m", "1", "7", {"finish_reason": "length"})

    assert json.loads(write_generate(response)) == {
        "model_name": "m", "model_version": "1", "id": "7", "finish_reason": "length",
        "text_output": "hello", "scores": [0.5, 1], "facts": {"a": 1},
    }  # fmt: skip
    assert event(b"{}") == b"data: {}\n\n"


def test_an_output_can_be_classified() -> None:
    scores = Tensor.of("y", np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], "f4"))
    wanted = [RequestedOutput("y", {"classification": 2})]

    (output,) = classified(InferResponse([scores]), wanted, ["cat", "dog"]).outputs

    assert output.shape == (2, 2)
    assert output.array().tolist() == [
        [b"0.700000:1:dog", b"0.200000:2"], [b"0.500000:0:cat", b"0.300000:1:dog"],
    ]  # fmt: skip
    for count in (0, "2", True):
        wanted = [RequestedOutput("y", {"classification": count})]
        with pytest.raises(
            InvalidMessageError,
            match=r"^\$\.outputs\[0\]\.parameters\.classification: classification of 'y'",
        ):
            classified(InferResponse([scores]), wanted)


def test_a_request_without_outputs_is_left_alone() -> None:
    response = InferResponse([Tensor.of("y", np.ones(2))])

    assert classified(response, InferRequest([]).outputs).outputs[0].datatype == "FP64"


def test_what_is_wrong_in_rows_is_named_in_the_rows() -> None:
    def both(a: npt.NDArray[np.float32], b: list[str]) -> int:
        return len(b)

    def one(a: npt.NDArray[np.float32]) -> int:
        return len(a)

    for function, body, path in (
        (one, b'{"instances":[[1,"a"]]}', "$.instances[0][1]"),
        (both, b'{"instances":[{"a":1,"b":"x"},{"a":2,"b":3}]}', "$.instances[1].b"),
    ):
        with pytest.raises(InvalidMessageError) as caught:
            bind_v1(Binder(Signature.of(function)), read_v1(body))
        assert caught.value.path == path


def test_what_is_wrong_in_a_generate_body_is_named_in_that_body() -> None:
    def moody(mode: Literal["a", "b"], people: list[dict[str, int]] | None = None) -> str:
        return mode

    binder = Binder(Signature.of(moody))
    body = b'{"mode":"c"}'
    metadata = binder.signature.metadata("m")
    request = read_generate(body, metadata, RestFormat())
    with pytest.raises(InvalidMessageError) as caught:
        binder.bind(request)
    assert str(named(caught.value, request, metadata)) == (
        "$.mode: Invalid enum value 'c'; known are 'a', 'b'"
    )
