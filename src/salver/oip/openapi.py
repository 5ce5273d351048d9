"""An OpenAPI document that is right for one model: its own tensors, its own arguments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from salver.oip.binding import Binder
from salver.oip.components import Components
from salver.oip.datatypes import DATATYPES
from salver.oip.examples import examples
from salver.oip.metadata import ModelMetadata, TensorMetadata
from salver.oip.signature import Argument, Signature
from salver.oip.slots import element_schema

__all__ = ("document", "plain_schema")

Schema = dict[str, Any]

_STRING: Final[Schema] = {"type": "string"}
_VALUES: Final = frozenset(("const", "default", "enum", "examples"))  # which are no schemas
_TABLE: Final[Schema] = {"type": ["object", "array"]}
_PARAMETERS: Final[Schema] = {"type": "object", "additionalProperties": True}


def document(
    metadata: ModelMetadata,
    signature: Signature | None = None,
    *,
    version: str = "",
    title: str = "",
    plain: str = "",
    explains: bool = False,
) -> Schema:
    """The document for a model, as plain data; `signature` adds what only a function has, `plain`
    is the path at which it takes plain JSON, `explains` says that V1's `:explain` is answered."""
    named = quote(metadata.name, safe="") + (f"/versions/{quote(version, safe='')}" * bool(version))
    schemas = _schemas(metadata)
    parts = Components(schemas)
    streams = signature is not None and signature.streams
    paths = _v2_paths(f"/v2/models/{named}", whole=not streams)
    if signature is not None:
        v1 = f"/v1/models/{named}"
        schemas |= _V1 if not streams or explains else {}
        schemas |= {"Plain": {}} if plain else {}
        body = parts.adopt(plain_schema(signature))
        schemas |= {"Plain": body} if plain else {}
        if not streams:
            paths[f"{v1}:predict"] = _post("Predict (V1)", "V1Request", "V1Response")
        if explains:
            paths[f"{v1}:explain"] = _post("Explain (V1)", "V1Request", "V1Explanations")
        if plain:
            paths[plain] = {"post": _plain_operation(parts, signature)}
        for name, example in examples(Binder(signature), metadata, body, schemas).items():
            if name in schemas:
                schemas[name] = schemas[name] | {"examples": [example]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title or metadata.name,
            "version": version or "1",
            "description": signature.description if signature is not None else "",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _v2_paths(base: str, *, whole: bool) -> dict[str, Schema]:
    """`whole`: the model gives one answer, and not as many as there are items in a stream."""
    paths = {
        base: {"get": _operation("Metadata of the model", None, "ModelMetadata")},
        f"{base}/ready": {"get": _ready_operation()},
    }
    if whole:
        paths[f"{base}/infer"] = _post("Inference", "InferRequest", "InferResponse")
    paths[f"{base}/infer_stream"] = _stream("Inference", "InferRequest", "InferResponse")
    if whole:
        paths[f"{base}/generate"] = _post("Generate", "GenerateRequest", "GenerateResponse")
    paths[f"{base}/generate_stream"] = _stream("Generate", "GenerateRequest", "GenerateResponse")
    return paths


def plain_schema(signature: Signature) -> Schema:
    """The JSON schema of the plain JSON body that a function takes."""
    properties = {a.tensor: _argument(a) for a in signature.carried}
    schema = _object(properties, [a.tensor for a in signature.carried if a.required])
    grouped = any(argument.group is not None for argument in signature.carried)
    return schema | {"additionalProperties": grouped}


def _argument(argument: Argument) -> Schema:
    schema = argument.slot.schema() if argument.slot is not None else _TABLE
    if argument.description:
        schema = schema | {"description": argument.description}
    return _nullable(schema) if argument.nullable else schema


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _result(signature: Signature) -> Schema:
    """What is answered in plain JSON, or an item of it."""
    outputs = signature.outputs
    named = signature.named
    if signature.group is not None:
        schema = _TABLE
    elif signature.direct or (not outputs and not named):
        schema = {} if signature.direct else {"type": "null"}
    else:
        schemas = {o.tensor: _answered(o.slot.schema()) for o in outputs}
        found = {o.tensor: _nullable(schemas[o.tensor]) if o.nullable else schemas[o.tensor]
                 for o in outputs}  # fmt: skip
        if not named:
            return next(iter(found.values()))
        schema = _object(found)
    return _nullable(schema) if signature.nullable else schema


def _answered(part: Any) -> Any:
    """The schema of what is answered: NaN is null there, also within records."""
    if isinstance(part, list):
        return [_answered(item) for item in part]
    if not isinstance(part, dict):
        return part
    changed = {key: value if key in _VALUES else _answered(value) for key, value in part.items()}
    return changed | {"type": ["number", "null"]} if part.get("type") == "number" else changed


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, Schema], required: Iterable[str] | None = None) -> Schema:
    names = list(properties) if required is None else list(required)
    schema: Schema = {"type": "object", "properties": properties}
    return schema | {"required": names} if names else schema


def _content(schema: Schema, kind: str = "application/json") -> Schema:
    return {"content": {kind: {"schema": schema}}}


def _operation(summary: str, takes: str | None, gives: str) -> Schema:
    operation: Schema = {
        "summary": summary,
        "responses": {"200": {"description": "Success"} | _content(_ref(gives))} | _FAILURES,
    }
    if takes is not None:
        operation["requestBody"] = {"required": True} | _content(_ref(takes))
    return operation


def _post(summary: str, takes: str, gives: str) -> Schema:
    return {"post": _operation(summary, takes, gives)}


def _stream(what: str, takes: str, each: str) -> Schema:
    operation = _operation(f"{what}, as a stream of events", takes, "Error")
    operation["responses"]["200"] = _events(f"the data of each is JSON as {each} has it")
    return {"post": operation}


def _events(what: str) -> Schema:
    return {"description": f"Events: {what}"} | _content({}, "text/event-stream")


def _plain_operation(parts: Components, signature: Signature) -> Schema:
    operation = _operation("The same, in plain JSON", "Plain", "Error")
    if signature.streams:
        operation["responses"]["200"] = _events("the data of each is an item, as JSON")
    else:
        answer = _content(parts.adopt(_result(signature)))
        operation["responses"]["200"] = {"description": "Success"} | answer
    return operation


def _ready_operation() -> Schema:
    ready = _object({"name": _STRING, "ready": {"type": "boolean"}})
    return {
        "summary": "Readiness of the model",
        "responses": {
            "200": {"description": "Ready"} | _content(ready),
            "404": _FAILURES["404"],
            "503": {"description": "Not ready"} | _content(ready),
            "default": _FAILURES["default"],
        },
    }


def _schemas(metadata: ModelMetadata) -> dict[str, Schema]:
    return {
        "Error": _object({"error": _STRING}),
        "Parameters": _PARAMETERS,
        "InferRequest": _request(metadata),
        "InferResponse": _response(metadata),
        "ModelMetadata": _metadata_schema(),
        "GenerateRequest": _generate_request(metadata),
        "GenerateResponse": _generate_response(metadata),
    }


def _request(metadata: ModelMetadata) -> Schema:
    inputs: Schema = {"type": "array", "items": {"anyOf": [_tensor(t) for t in metadata.inputs]}}
    if not metadata.inputs:
        inputs = {"type": "array"}
    elif not any(t.parameters.get("content_type") in ("pd", "dict") for t in metadata.inputs):
        inputs |= {
            "minItems": sum(not tensor.optional for tensor in metadata.inputs),
            "maxItems": len(metadata.inputs),
        }
    properties: dict[str, Schema] = {
        "id": _STRING,
        "parameters": _ref("Parameters"),
        "inputs": inputs,
        "outputs": {"type": "array", "items": _requested(metadata)},
    }
    return _object(properties, ["inputs"])


def _requested(metadata: ModelMetadata) -> Schema:
    known = metadata.outputs and not any(t.parameters.get("any_tensors") for t in metadata.outputs)
    name = {"enum": [t.name for t in metadata.outputs]} if known else _STRING
    return _object({"name": name, "parameters": _ref("Parameters")}, ["name"])


def _response(metadata: ModelMetadata) -> Schema:
    outputs: Schema = {"type": "array"}
    if metadata.outputs:
        outputs["items"] = {"anyOf": [_tensor(t) for t in metadata.outputs]}
    properties: dict[str, Schema] = {
        "model_name": _STRING,
        "model_version": _STRING,
        "id": _STRING,
        "parameters": _ref("Parameters"),
        "outputs": outputs,
    }
    return _object(properties, ["model_name", "outputs"])


def _tensor(tensor: TensorMetadata) -> Schema:
    """A tensor of this name; a frame's columns have names and datatypes of their own."""
    if tensor.parameters.get("content_type") in ("pd", "dict"):
        return _any_tensor(_STRING)
    if tensor.parameters.get("any_datatype"):
        return _any_tensor({"const": tensor.name})
    regular = _typed_tensor(tensor)
    if tensor.parameters.get("content_type") != "number" or len(tensor.shape) < 2:
        return regular
    rows = TensorMetadata(tensor.name, "BYTES", [-1])  # of JSON, as they are not equally long
    return {"anyOf": [regular, _typed_tensor(rows)]}


def _typed_tensor(tensor: TensorMetadata) -> Schema:
    properties: dict[str, Schema] = {
        "name": {"const": tensor.name},
        "datatype": {"const": tensor.datatype},
        "shape": _shape(tensor.shape),
        "parameters": _ref("Parameters"),
        "data": {
            "type": "array",
            "items": {"anyOf": [element_schema(tensor.datatype), {"type": "array"}]},
        },
    }
    return _object(properties, ["name", "datatype", "shape"])


def _any_tensor(name: Schema) -> Schema:
    properties: dict[str, Schema] = {
        "name": name,
        "datatype": {"enum": list(DATATYPES)},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "parameters": _ref("Parameters"),
        "data": {"type": "array"},
    }
    return _object(properties, ["name", "datatype", "shape"])


def _shape(shape: list[int]) -> Schema:
    sizes = [{"const": size} if size >= 0 else {"type": "integer", "minimum": 0} for size in shape]
    schema: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    if shape == [-1]:  # also said of arrays of any rank
        return schema
    return schema | {"prefixItems": sizes, "minItems": len(shape), "maxItems": len(shape)}


def _generate_request(metadata: ModelMetadata) -> Schema:
    properties: dict[str, Schema] = {"id": _STRING, "parameters": _ref("Parameters")}
    for tensor in metadata.inputs:
        item = element_schema(tensor.datatype)
        if tensor.parameters.get("content_type") == "json" or tensor.parameters.get("any_datatype"):
            item = {}
        rows = {"type": "array", "items": item if len(tensor.shape) < 2 else {}}
        properties[tensor.name] = {"anyOf": [item, rows]}
    return _object(properties, [t.name for t in metadata.inputs if not t.optional])


def _metadata_schema() -> Schema:
    tensor = _object(
        {
            "name": _STRING,
            "datatype": {"enum": list(DATATYPES)},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}},
            "parameters": _ref("Parameters"),
        },
        ["name", "datatype", "shape"],
    )
    tensors: Schema = {"type": "array", "items": tensor}
    versions: Schema = {"type": "array", "items": _STRING}
    return _object(
        {"name": _STRING, "versions": versions, "platform": _STRING, "inputs": tensors,
         "outputs": tensors},
        ["name", "platform", "inputs", "outputs"],
    )  # fmt: skip


def _generate_response(metadata: ModelMetadata) -> Schema:
    """Members of these names where the model gives them; an array of one element is that."""
    outputs: dict[str, Schema] = {tensor.name: {} for tensor in metadata.outputs}
    return _object({"model_name": _STRING, "model_version": _STRING, "id": _STRING} | outputs,
                   ["model_name"]) | {"additionalProperties": True}  # fmt: skip


_FAILURES: Final[dict[str, Schema]] = {
    status: {"description": why} | _content(_ref("Error"))
    for status, why in (
        ("400", "Invalid request"),
        ("404", "Unknown model or version"),
        ("500", "The model failed"),
        ("503", "Not ready or overloaded"),
        ("default", "Anything else that is wrong"),
    )
}
_V1: Final[dict[str, Schema]] = {
    "V1Request": {
        "oneOf": [
            _object({"instances": {"type": "array"}}),
            _object({"inputs": {"type": ["array", "object"]}}),
        ]
    },
    "V1Response": {"anyOf": [_object({"predictions": {}}), _object({"outputs": {}})]},
    "V1Explanations": _object({"explanations": {}}),
}
