"""An OpenAPI document that is right for one model: its own tensors, its own arguments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from salver.oip.datatypes import DATATYPES
from salver.oip.metadata import ModelMetadata, TensorMetadata
from salver.oip.signature import Argument, Signature

__all__ = ("document", "plain_schema")

Schema = dict[str, Any]

_STRING: Final[Schema] = {"type": "string"}
_PARAMETERS: Final[Schema] = {"type": "object", "additionalProperties": True}
_ITEMS: Final[dict[str, Schema]] = {
    "bool": {"type": "boolean"},
    "float": {"anyOf": [{"type": ["number", "null"]}, {"enum": ["NaN", "Infinity", "-Infinity"]}]},
    "bytes": _STRING,
}


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
    base = f"/v2/models/{metadata.name}" + (f"/versions/{version}" if version else "")
    schemas: dict[str, Schema] = {
        "Error": _object({"error": _STRING}),
        "Parameters": _PARAMETERS,
        "InferRequest": _request(metadata),
        "InferResponse": _response(metadata),
        "ModelMetadata": _metadata_schema(),
        "GenerateRequest": _generate_request(metadata),
        "GenerateResponse": {"type": "object", "additionalProperties": True},
    }
    paths = {
        base: {"get": _operation("Metadata of the model", None, "ModelMetadata")},
        f"{base}/ready": {"get": _ready_operation()},
        f"{base}/infer": {"post": _operation("Inference", "InferRequest", "InferResponse")},
        f"{base}/infer_stream": {"post": _stream_operation("Inference", "InferRequest")},
        f"{base}/generate": {"post": _operation("Generate", "GenerateRequest", "GenerateResponse")},
        f"{base}/generate_stream": {"post": _stream_operation("Generate", "GenerateRequest")},
    }
    if signature is not None:
        schemas |= {"V1Request": _v1_request(), "V1Response": _v1_response()}
        paths[f"/v1/models/{metadata.name}:predict"] = {
            "post": _operation("Predict (V1)", "V1Request", "V1Response")
        }
        if explains:
            schemas["V1Explanations"] = _object({"explanations": {}})
            paths[f"/v1/models/{metadata.name}:explain"] = {
                "post": _operation("Explain (V1)", "V1Request", "V1Explanations")
            }
        if plain:
            schemas["Plain"] = plain_schema(signature)
            paths[plain] = {"post": _plain_operation(signature)}
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


def plain_schema(signature: Signature) -> Schema:
    """The JSON schema of the plain JSON body that a function takes."""
    properties = {a.tensor: _argument(a) for a in signature.carried}
    schema = _object(properties, [a.tensor for a in signature.carried if a.required])
    grouped = any(argument.group is not None for argument in signature.carried)
    return schema | {"additionalProperties": grouped}


def _argument(argument: Argument) -> Schema:
    schema = argument.slot.schema() if argument.slot is not None else {"type": ["object", "array"]}
    if argument.description:
        schema = schema | {"description": argument.description}
    return {"anyOf": [schema, {"type": "null"}]} if argument.nullable else schema


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
        "responses": {
            "200": {"description": "Success"} | _content(_ref(gives)),
            "400": {"description": "Invalid request"} | _content(_ref("Error")),
            "404": {"description": "Unknown model or version"} | _content(_ref("Error")),
            "500": {"description": "The model failed"} | _content(_ref("Error")),
            "503": {"description": "Not ready or overloaded"} | _content(_ref("Error")),
        },
    }
    if takes is not None:
        operation["requestBody"] = {"required": True} | _content(_ref(takes))
    return operation


def _stream_operation(what: str, takes: str) -> Schema:
    operation = _operation(f"{what}, as a stream of events", takes, "Error")
    success = {"description": "Events"} | _content({}, "text/event-stream")
    operation["responses"]["200"] = success
    return operation


def _plain_operation(signature: Signature) -> Schema:
    operation = _operation("The same, in plain JSON", "Plain", "GenerateResponse")
    answer = _content({}, "text/event-stream") if signature.streams else _content({})
    operation["responses"]["200"] = {"description": "Success"} | answer
    return operation


def _ready_operation() -> Schema:
    ready = _object({"name": _STRING, "ready": {"type": "boolean"}})
    return {
        "summary": "Readiness of the model",
        "responses": {
            "200": {"description": "Ready"} | _content(ready),
            "404": {"description": "Unknown model or version"} | _content(_ref("Error")),
            "503": {"description": "Not ready"} | _content(ready),
        },
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
    properties: dict[str, Schema] = {
        "name": {"const": tensor.name},
        "datatype": {"const": tensor.datatype},
        "shape": _shape(tensor.shape),
        "parameters": _ref("Parameters"),
        "data": {"type": "array", "items": {"anyOf": [_item(tensor.datatype), {"type": "array"}]}},
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


def _item(datatype: str) -> Schema:
    kind = DATATYPES[datatype]
    if kind.kind in _ITEMS:
        return _ITEMS[kind.kind]
    low, high = kind.bounds
    return {"type": "integer", "minimum": low, "maximum": high}


def _generate_request(metadata: ModelMetadata) -> Schema:
    properties: dict[str, Schema] = {"id": _STRING, "parameters": _ref("Parameters")}
    for tensor in metadata.inputs:
        item = _item(tensor.datatype)
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


def _v1_request() -> Schema:
    rows = _object({"instances": {"type": "array"}})
    columns = _object({"inputs": {"type": ["array", "object"]}})
    return {"oneOf": [rows, columns]}


def _v1_response() -> Schema:
    return {"anyOf": [_object({"predictions": {}}), _object({"outputs": {}})]}
