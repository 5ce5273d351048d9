"""JSON bodies: what is accepted, and what is refused, at which path, by both readers alike."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from salver.oip import simdata
from salver.oip.errors import InvalidMessageError, MalformedBodyError
from salver.oip.jsontext import shortest, write_numbers
from salver.oip.rest import RestFormat, write_response
from salver.oip.types import InferResponse, RequestedOutput, Tensor

REST = RestFormat()
PADDINGS = pytest.mark.parametrize("padding", [b"", b" " * simdata.LARGE], ids=["small", "large"])


def body(data: str, datatype: str = "FP32", shape: str = "[2]") -> bytes:
    return (
        f'{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{shape},"data":{data}}}]}}'
    ).encode()


def read(text: bytes) -> Any:
    return REST.read_request(text).inputs[0].array()


@PADDINGS
@pytest.mark.parametrize(
    ("data", "datatype", "expected"),
    [
        ("[1, 2.5]", "FP32", [1.0, 2.5]),
        ("[1e3, -0.0]", "FP16", [1000.0, 0.0]),
        ("[3.0, 1e2]", "INT16", [3, 100]),
        ("[18446744073709551615, 0]", "UINT64", [2**64 - 1, 0]),
        ("[-9223372036854775808, 9007199254740993]", "INT64", [-(2**63), 9007199254740993]),
        ("[123456789012345678901234567890, 1]", "FP64", [1.2345678901234568e29, 1.0]),
        ("[true, false]", "BOOL", [True, False]),
        ('["a", "ü"]', "BYTES", [b"a", "ü".encode()]),
        ("[1.5, 2]", "BF16", [0x3FC0, 0x4000]),
    ],
)
def test_numbers_are_read_as_they_are_meant(
    padding: bytes, data: str, datatype: str, expected: list[Any]
) -> None:
    assert read(body(data, datatype) + padding).tolist() == expected


@PADDINGS
@pytest.mark.parametrize(
    "data", ['[null, "Infinity", "-Infinity", "NaN"]', "[NaN, Infinity, -Infinity, NaN]"]
)
def test_null_is_nan_and_infinity_has_a_name(padding: bytes, data: str) -> None:
    """Bare NaN and Infinity are no JSON, but what clients of other servers send."""
    array = read(body(data, shape="[4]") + padding)

    assert np.isnan(array[[0, 3]]).all()
    assert array[1:3].tolist() == [np.inf, -np.inf]


def test_a_string_that_says_nan_stays_a_string() -> None:
    text = body("[NaN]", shape="[1]").replace(b'"x"', b'"NaN"')
    text = text.replace(b'{"inputs"', b'{"id":"NaN \\" Infinity","inputs"')

    request = REST.read_request(text)

    assert (request.id, request.inputs[0].name) == ('NaN " Infinity', "NaN")


@PADDINGS
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (body("[1]"), r"^\$\.inputs\[0\]\.data: 1 elements .* the shape \[2\] holds 2$"),
        (body("[1, 2, 3]"), r"^\$\.inputs\[0\]\.data: 3 elements are given"),
        (body('[1, "abc"]'), r"^\$\.inputs\[0\]\.data\[1\]: Expected a number, null"),
        (body('["1.5", 2]'), r"^\$\.inputs\[0\]\.data\[0\]: Expected a number, null"),
        (body("[1, true]"), r"^\$\.inputs\[0\]\.data\[1\]: Expected .*, got `bool`"),
        (body("[1, {}]"), r"^\$\.inputs\[0\]\.data\[1\]: Expected .*, got `object`"),
        (body("[1, 1e39]"), r"^\$\.inputs\[0\]\.data\[1\]: 1e\+39 is too large for FP32$"),
        (body("[1, 70000]", "FP16"), r"^\$\.inputs\[0\]\.data\[1\]: 70000\.0 is too large for FP"),
        (body("[1, 3.4e38]", "BF16"), r"^\$\.inputs\[0\]\.data\[1\]: 3\.4e\+38 is too large"),
        (body("[0, 256]", "UINT8"), r"^\$\.inputs\[0\]\.data\[1\]: 256 is no UINT8; .* 0 to 255"),
        (body("[0, -1]", "UINT64"), r"^\$\.inputs\[0\]\.data\[1\]: -1 is no UINT64"),
        (body("[0, 18446744073709551616]", "UINT64"), r"^\$\.inputs\[0\]\.data\[1\]: "),
        (body("[1, 2.5]", "INT32"), r"^\$\.inputs\[0\]\.data\[1\]: 2\.5 is no INT32"),
        (body("[1, null]", "INT32"), r"^\$\.inputs\[0\]\.data\[1\]: Expected .*, got `null`"),
        (body("[1, 0]", "BOOL"), r"^\$\.inputs\[0\]\.data\[0\]: Expected `bool`, got `int`"),
        (body('["a", 1]', "BYTES"), r"^\$\.inputs\[0\]\.data\[1\]: Expected `str`, got `int`"),
        (body("1"), r"^\$\.inputs\[0\]\.data: [Ee]xpected .*"),
        (body("null"), r"^\$\.inputs\[0\]\.data: [Ee]xpected .*"),
        (body("[[1, 2], [3]]", shape="[2, 2]"), r"\.data\[1\]: a list of 1 where the shape \[2\]"),
        (body("[[1, 2, 3], [4]]", shape="[2, 2]"), r"\.data\[0\]: a list of 3 where the shape"),
        (body("[[[1, 2, 3], [4]]]", shape="[1, 2, 2]"), r"\.data\[0\]\[0\]: a list of 3 where the"),
        (body("[[1, 2]]", shape="[2]"), r"^\$\.inputs\[0\]\.data\[0\]: Expected .*, got `array`"),
        (body("[1, [2, 3], [], 4]", shape="[4]"), r"\.data\[1\]: Expected .*, got `array`"),
        (body("[[1, 2], 3]", shape="[2, 2]"), r"\.data\[1\]: Expected `array`, got `int`"),
        (body("[1]", shape="[-1]"), r"^\$\.inputs\[0\]\.shape\[0\]: a size of -1 is impossible"),
        (body("[1]", shape="[true]"), r"^\$\.inputs\[0\]\.shape\[0\]: Expected `int`, got `bool`"),
        (body("[1]", shape="[1e30]"), r"^\$\.inputs\[0\]\.shape\[0\]: Expected `int`"),
        (body("[1]", shape='"2"'), r"^\$\.inputs\[0\]\.shape: Expected `array`, got `str`"),
        (body("[]", shape="[4611686018427387904,4]"), r"\.shape: .* larger than any memory"),
        (body("[1]", "FP33"), r"^\$\.inputs\[0\]\.datatype: unknown datatype 'FP33'"),
        (b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1]}]}', r"\.data: data is missing$"),
        (b'{"inputs":[{"datatype":"FP32","shape":[1]}]}', r"^\$\.inputs\[0\]: .*missing .*`name`"),
        (b'{"inputs":[1]}', r"^\$\.inputs\[0\]: Expected `object`, got `int`"),
        (b'{"inputs":{}}', r"^\$\.inputs: Expected `array`, got `object`"),
        (b'{"input":[]}', r"^\$: Object missing required field `inputs`"),
        (b"[]", r"^\$: Expected `object`, got `array`"),
        (
            body('[1,2]},{"name":"x","datatype":"INT8","shape":[0],"data":[]'),
            r"^\$\.inputs\[1\]\.name: 'x' appears twice$",
        ),
        (b'{"id":5,"inputs":[]}', r"^\$\.id: Expected `str"),
        (b'{"parameters":[],"inputs":[]}', r"^\$\.parameters: Expected `object"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(padding: bytes, text: bytes, message: str) -> None:
    with pytest.raises(InvalidMessageError, match=message):
        REST.read_request(text + padding)


@PADDINGS
@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"nonsense", b'{"inputs":[]', b'{"inputs":[]}}', b"\xff",
     b'{"inputs":[],"id":"\xff"}', b'{"x":' + b"[" * 100_000,
     b'{"parameters":' + b'{"a":' * 100_000, b"\xef\xbb\xbf{}"],
)  # fmt: skip
def test_broken_json_is_refused(padding: bytes, text: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        REST.read_request(text + padding)


@PADDINGS
@pytest.mark.parametrize("datatype", ["FP32", "BYTES", "BF16"])
def test_a_huge_shape_costs_no_memory(padding: bytes, datatype: str) -> None:
    text = body("[]", datatype, "[1048576, 1048576, 1024]") + padding
    tracemalloc.start()
    with pytest.raises(InvalidMessageError, match=r"^\$\.inputs\[0\]\.data: 0 elements are given"):
        REST.read_request(text)

    assert tracemalloc.get_traced_memory()[1] < 200_000
    tracemalloc.stop()


@PADDINGS
def test_unknown_members_are_ignored_and_nulls_are_absent(padding: bytes) -> None:
    text = (
        b'{"id":null,"extra":[[1]],"parameters":null,"outputs":null,"inputs":[{"name":"x","more":{},'
        b'"datatype":"FP32","shape":[1],"data":[1],"parameters":null}]}'
    )

    request = REST.read_request(text + padding)

    assert (request.id, request.parameters, request.outputs) == ("", {}, [])
    assert request.inputs[0].array().tolist() == [1]


@PADDINGS
def test_the_last_of_two_members_of_one_name_counts(padding: bytes) -> None:
    text = (
        b'{"inputs":[],"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[5],"data":[7]}]}'
    )

    assert read(text + padding).tolist() == [7]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
DATA = st.recursive(
    st.integers(-300, 300) | st.floats() | st.none() | st.booleans() | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(
    data=DATA,
    shape=st.lists(st.integers(0, 4), max_size=3),
    datatype=st.sampled_from(["FP32", "FP64", "INT8", "UINT64", "BOOL", "BYTES", "BF16"]),
    extra=st.dictionaries(st.text(max_size=4), JSON, max_size=2),
)
def test_both_readers_agree_on_anything(
    data: Any, shape: list[int], datatype: str, extra: dict[str, Any]
) -> None:
    item = {"name": "x", "datatype": datatype, "shape": shape, "data": data, "parameters": extra}
    text = json.dumps({"inputs": [item]}).encode()

    assert outcome(text) == outcome(text + b" " * simdata.LARGE)


def outcome(text: bytes) -> Any:
    try:
        tensor = REST.read_request(text).inputs[0]
    except InvalidMessageError as error:
        return type(error), str(error)
    return repr(tensor.array().tolist()), repr(tensor.parameters)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_arbitrary_bytes_raise_only_our_errors(text: bytes) -> None:
    for padding in (b"", b" " * simdata.LARGE):
        with pytest.raises(InvalidMessageError):
            REST.read_request(text + padding)


def test_parsers_are_used_again_but_not_after_errors() -> None:
    rest = RestFormat()
    good, bad = body("[1,2]") + b" " * simdata.LARGE, body('[1,"a"]') + b" " * simdata.LARGE
    kept = []
    for _ in range(3):
        with pytest.raises(InvalidMessageError) as caught:
            rest.read_request(bad)
        kept.append(caught)  # the traceback holds what the parser made

    assert [rest.read_request(good).inputs[0].array().tolist() for _ in range(2)] == [[1, 2]] * 2


@given(st.lists(st.floats(width=32), max_size=80))
def test_floats_are_written_in_their_shortest_form(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)

    written = msgspec.json.decode(write_numbers(array, "FP32"))

    back = np.array([np.nan if v is None else float(v) for v in written], dtype=np.float32)
    assert np.array_equal(back, array, equal_nan=True)


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=80)
)
def test_the_slow_writer_is_exact_and_short_too(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)

    doubles = shortest(array)

    assert (doubles.astype(np.float32) == array).all()
    assert all(
        len(repr(d)) <= max(18, len(repr(float(v))))
        for d, v in zip(doubles.tolist(), array, strict=True)
    )


def test_bytes_that_are_no_text_are_written_as_base64_and_say_so() -> None:
    response = InferResponse([Tensor.of("x", np.array([b"\xff", b"a"], object))], "m")

    written = msgspec.json.decode(write_response(response).text)["outputs"][0]

    assert written["data"] == ["/w==", "YQ=="]
    assert written["parameters"] == {"encoding": "base64"}


def test_base64_that_is_none_is_refused() -> None:
    text = body('["!"]', "BYTES", "[1]").replace(
        b'"data"', b'"parameters":{"encoding":"base64"},"data"'
    )

    with pytest.raises(InvalidMessageError, match=r"^\$\.inputs\[0\]\.data\[0\]: no valid base64"):
        REST.read_request(text)


def test_requested_outputs_are_given_in_their_order_and_unknown_ones_refused() -> None:
    response = InferResponse([Tensor.of(name, np.ones(1)) for name in "abc"])

    chosen = response.select([RequestedOutput("c"), RequestedOutput("a")])

    assert [tensor.name for tensor in chosen.outputs] == ["c", "a"]
    with pytest.raises(
        InvalidMessageError, match=r"^\$\.outputs\[0\]\.name: .* no output 'z'; .*'a'"
    ):
        response.select([RequestedOutput("z")])


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"parameters": {"binary_data_output": 1}}, "$.parameters.binary_data_output"),
        (
            {"outputs": [{"name": "a"}, {"name": "b", "parameters": {"binary_data": "yes"}}]},
            "$.outputs[1].parameters.binary_data",
        ),
    ],
)
def test_what_asks_for_binary_data_is_true_or_false(more: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidMessageError, match="expected true or false") as raised:
        REST.read_request(json.dumps({"inputs": []} | more).encode())
    assert raised.value.path == path
