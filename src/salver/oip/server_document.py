"""The OpenAPI document of the server: what holds for every model. Needs no numpy."""

from __future__ import annotations

import re
from typing import Any

__all__ = ("server_document",)

Schema = dict[str, Any]
_NAMES = re.compile(r"\{(\w+)\}")


def server_document() -> Schema:
    """The document as plain data."""
    error = {"description": "The protocol's error"} | _json({"$ref": "#/components/schemas/Error"})
    paths: dict[str, Schema] = {}
    for path, method, summary in _OPERATIONS:
        operation: Schema = {
            "summary": summary,
            "responses": {"200": {"description": "Success"} | _json({}), "default": error},
        }
        names = [found[1] for found in _NAMES.finditer(path)]
        if names:
            operation["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in names
            ]
        if method == "post":
            operation["requestBody"] = _json({"type": "object"})
        paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Salver",
            "version": "2",
            "description": "The Open Inference Protocol. Every model has a document of its own.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "properties": {"error": {"type": "string"}},
                    "required": ["error"],
                }
            }
        },
    }


def _json(schema: Schema) -> Schema:
    return {"content": {"application/json": {"schema": schema}}}


_MODEL = "/v2/models/{model}"
_REGION = "/v2/systemsharedmemory"
_ONE = "/region/{region}"
_OF_VERSIONS = (
    ("", "get", "Metadata of a model"),
    ("/ready", "get", "Readiness of a model"),
    ("/config", "get", "Configuration of a model"),
    ("/stats", "get", "Statistics of a model"),
    ("/docs", "get", "Documentation of a model"),
    ("/docs/dataplane.json", "get", "OpenAPI document of a model"),
    ("/infer", "post", "Inference"),
    ("/infer_stream", "post", "Inference, as a stream of events"),
    ("/generate", "post", "Generate"),
    ("/generate_stream", "post", "Generate, as a stream of events"),
)
_OPERATIONS = (
    ("/v2", "get", "Metadata of the server"),
    ("/v2/health/live", "get", "Liveness"),
    ("/v2/health/ready", "get", "Readiness"),
    ("/v2/models", "get", "Names of the models"),
    ("/v2/models/stats", "get", "Statistics of every model"),
    *((f"{_MODEL}{path}", method, summary) for path, method, summary in _OF_VERSIONS),
    *(
        (f"{_MODEL}/versions/{{version}}{path}", method, f"{summary}, by version")
        for path, method, summary in _OF_VERSIONS
    ),
    ("/v2/repository/index", "post", "State of every model"),
    ("/v2/repository/models/{model}/load", "post", "Load a model"),
    ("/v2/repository/models/{model}/unload", "post", "Unload a model"),
    ("/v2/trace/setting", "get", "Trace settings"),
    ("/v2/trace/setting", "post", "Change trace settings"),
    (f"{_MODEL}/trace/setting", "get", "Trace settings of a model"),
    (f"{_MODEL}/trace/setting", "post", "Change trace settings of a model"),
    ("/v2/logging", "get", "Log settings"),
    ("/v2/logging", "post", "Change log settings"),
    (f"{_REGION}/status", "get", "Every registered region of shared memory"),
    (f"{_REGION}{_ONE}/status", "get", "A registered region of shared memory"),
    (f"{_REGION}{_ONE}/register", "post", "Register a region of shared memory"),
    (f"{_REGION}{_ONE}/unregister", "post", "Forget a region of shared memory"),
    (f"{_REGION}/unregister", "post", "Forget every region of shared memory"),
    ("/v1/models", "get", "Names of the models (V1)"),
    ("/v1/models/{model}", "get", "Readiness of a model (V1)"),
    ("/v1/models/{model}:predict", "post", "Predict (V1)"),
    ("/v1/models/{model}:explain", "post", "Explain (V1)"),
)
