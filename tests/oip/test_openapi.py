"""The OpenAPI document of a model: valid, and right for what the model takes and gives."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic
import pytest

from salver.oip.binding import Binder
from salver.oip.openapi import document, plain_schema
from salver.oip.rest import write_request, write_response
from salver.oip.signature import Signature
from salver.oip.types import InferRequest, InferResponse, Tensor
from salver.spec.endpoint import Field

jsonschema = import_module("jsonschema")


class Person(pydantic.BaseModel):
    name: str
    age: int = 0


@dataclasses.dataclass
class Point:
    x: float
    next: Point | None = None


@dataclasses.dataclass
class Error:
    code: int


class Picky(pydantic.BaseModel):
    code: str = pydantic.Field(pattern="^[0-9]{9}$")


class Order(pydantic.BaseModel, extra="forbid"):
    count: int

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return self.count


class Other:
    @dataclasses.dataclass
    class Point:
        a: int


def model(x: npt.NDArray[np.float32], k: int = 3) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Says what it is told."""
    return x.astype(np.float64), ["a"]


def greet(person: Person, words: list[str]) -> str:
    return person.name


SIGNATURE = Signature.of(model)
DOCUMENT = document(SIGNATURE.metadata("m"), SIGNATURE, version="2", title="Models")


def check(name: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


def test_the_document_has_every_path_of_the_model() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["description"] == "Says what it is told."
    assert list(DOCUMENT["paths"]) == [
        "/v2/models/m/versions/2",
        "/v2/models/m/versions/2/ready",
        "/v2/models/m/versions/2/infer",
        "/v2/models/m/versions/2/infer_stream",
        "/v2/models/m/versions/2/generate",
        "/v2/models/m/versions/2/generate_stream",
        "/v1/models/m/versions/2:predict",
    ]


def test_only_models_that_explain_have_the_path_for_it() -> None:
    found = document(SIGNATURE.metadata("m"), SIGNATURE, explains=True)
    assert found["paths"].keys() - DOCUMENT["paths"].keys() >= {"/v1/models/m:explain"}
    assert not any(path.endswith(":explain") for path in DOCUMENT["paths"])


def words(text_input: str, n: int = 3) -> Iterator[str]:
    yield text_input


def test_a_model_that_streams_has_no_path_that_answers_once() -> None:
    signature = Signature.of(words)
    found = document(signature.metadata("m"), signature, plain="/words")

    assert list(found["paths"]) == [
        "/v2/models/m",
        "/v2/models/m/ready",
        "/v2/models/m/infer_stream",
        "/v2/models/m/generate_stream",
        "/words",
    ]
    answer = found["paths"]["/words"]["post"]["responses"]["200"]
    assert list(answer["content"]) == ["text/event-stream"]
    assert found["components"]["schemas"].keys().isdisjoint({"V1Request", "V1Response"})


def test_what_types_refer_to_are_components_of_the_document() -> None:
    def ask(point: Point, error: Error, points: list[Point], other: Other.Point) -> Point:
        return point

    signature = Signature.of(ask)
    found = document(signature.metadata("m"), signature, plain="/")
    schemas = found["components"]["schemas"]
    body = {"point": {"x": 1, "next": None}, "error": {"code": 1}, "points": [], "other": {"a": 1}}

    assert schemas["Error"]["required"] == ["error"]  # ours
    assert schemas["Plain"]["properties"]["error"] == {"$ref": "#/components/schemas/Error-2"}
    assert schemas["Plain"]["properties"]["other"] == {"$ref": "#/components/schemas/Point-2"}
    schema = {"$ref": "#/components/schemas/Plain", "components": found["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(body)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(body | {"points": [{"x": 1, "next": {}}]})
    answer = found["paths"]["/"]["post"]["responses"]["200"]["content"]["application/json"]
    point = schemas[answer["schema"]["$ref"].rpartition("/")[2]]
    assert point["properties"]["x"] == {"type": ["number", "null"]}  # NaN


def test_every_example_is_what_its_schema_allows() -> None:
    def ask(
        x: Annotated[npt.NDArray[np.float32], Field("FP32", (-1, 2))],
        image: bytes, kind: Literal["a", "b"], when: dt.datetime, point: Point, k: int = 3,
    ) -> str:  # fmt: skip
        return kind

    signature = Signature.of(ask)
    found = document(signature.metadata("m"), signature, plain="/")
    shown = 0
    for schema in found["components"]["schemas"].values():
        for example in schema.get("examples", ()):
            whole = schema | {"components": found["components"]}
            jsonschema.Draft202012Validator(whole).validate(example)
            shown += 1
    assert shown == 4


def test_a_model_that_takes_no_more_than_its_fields_has_examples_without_what_is_computed() -> None:
    def ask(order: Order) -> Order:
        return order

    signature = Signature.of(ask)
    found = document(signature.metadata("m"), signature, plain="/")["components"]["schemas"]
    assert found["Plain"]["examples"] == [{"order": {"count": 1}}]
    (tensor,) = found["InferRequest"]["examples"][0]["inputs"]
    assert tensor["data"] == ['{"count":1}']


def test_what_nobody_can_guess_has_no_example() -> None:
    def ask(picky: Picky) -> str:
        return picky.code

    def table(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return columns

    for signature in (Signature.of(ask), Signature.of(table)):
        found = document(signature.metadata("m"), signature)["components"]["schemas"]
        assert not any("examples" in schema for schema in found.values())


def test_the_names_in_paths_are_quoted() -> None:
    found = document(SIGNATURE.metadata("a b{c}"), SIGNATURE, version="1?")
    assert "/v2/models/a%20b%7Bc%7D/versions/1%3F/infer" in found["paths"]


def test_every_schema_is_one_and_every_reference_leads_somewhere() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    text = json.dumps(DOCUMENT)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= DOCUMENT["components"]["schemas"].keys()


def test_what_we_write_is_what_the_document_says() -> None:
    x = Tensor.of("x", np.array([[1, np.nan, np.inf]], "f4"))
    request = InferRequest([x, Tensor.of("k", np.array([1]))], id="7", parameters={"a": 1})
    response = Binder(SIGNATURE).pack((np.ones(2), ["a"]))

    check("InferRequest", json.loads(write_request(request).text))
    check("InferResponse", json.loads(write_response(response).text))
    check("ModelMetadata", json.loads(json.dumps({
        "name": "m", "platform": "p", "versions": [],
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}], "outputs": [],
    })))  # fmt: skip


def test_nan_within_a_record_is_what_the_document_says() -> None:
    def function(x: list[list[float]]) -> tuple[list[Point], Point, list[list[float]]]:
        raise NotImplementedError

    signature = Signature.of(function)
    binder = Binder(signature)
    found = document(signature.metadata("m"), signature, plain="/m")
    content = found["paths"]["/m"]["post"]["responses"]["200"]["content"]["application/json"]
    result = Point(float("nan"), Point(1.5)), [[1.0], []]
    answer = json.loads(binder.pack_json(([result[0]], *result)))
    assert answer["output-1"] == {"x": None, "next": {"x": 1.5, "next": None}}
    jsonschema.validate(answer, found | content["schema"])
    ragged = json.loads(write_response(binder.pack(([], *result))).text) | {"model_name": "m"}
    jsonschema.validate(ragged, found | {"$ref": "#/components/schemas/InferResponse"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"inputs": []},
        {"inputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1]}]},
        {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1]}]},
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1], "data": [1]}]},
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [True]}]},
    ],
)
def test_what_we_refuse_the_document_refuses(wrong: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check("InferRequest", wrong)


def test_the_plain_body_has_a_schema_too() -> None:
    schema = plain_schema(Signature.of(greet))
    validator = jsonschema.Draft202012Validator(schema)

    assert schema["required"] == ["person", "words"]
    validator.validate({"person": {"name": "Ada"}, "words": ["x"]})
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"person": {}, "words": []})
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"person": {"name": "Ada"}, "words": [1]})


def test_a_model_without_a_function_has_a_document() -> None:
    found = document(SIGNATURE.metadata("m"))

    assert "/v2/models/m/infer" in found["paths"]
    assert InferResponse([]).outputs == []


def test_arrays_without_a_datatype_may_have_any() -> None:
    def echo(x: npt.NDArray[Any], rows: list[list[float]] | None = None) -> npt.NDArray[Any]:
        return x

    signature = Signature.of(echo)
    found = document(signature.metadata("m"), signature)
    tensor = {"name": "x", "datatype": "INT64", "shape": [1, 1], "data": [1]}
    for name, value in (
        ("InferRequest", {"inputs": [tensor]}),
        ("InferResponse", {"model_name": "m", "outputs": [tensor | {"name": "output-0"}]}),
        ("GenerateRequest", {"x": ["a"], "rows": [[1, 2], [3, 4]]}),
    ):
        schema = {"$ref": f"#/components/schemas/{name}", "components": found["components"]}
        jsonschema.Draft202012Validator(schema).validate(value)
