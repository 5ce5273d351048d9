"""The OpenAPI document of the server: what holds for every model. Needs no numpy."""

from __future__ import annotations

from typing import Any

__all__ = ("server_document",)

Schema = dict[str, Any]


def server_document() -> Schema:
    """The document as plain data."""
    error = {"description": "The protocol's error"} | _json({"$ref": "#/components/schemas/Error"})
    paths: dict[str, Schema] = {}
    for path, method, summary in _OPERATIONS:
        operation: Schema = {
            "summary": summary,
            "responses": {"200": {"description": "Success"} | _json({}), "default": error},
        }
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
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


_OPERATIONS = (
    ("/v2", "get", "Metadata of the server"),
    ("/v2/health/live", "get", "Liveness"),
    ("/v2/health/ready", "get", "Readiness"),
    ("/v2/models", "get", "Names of the models"),
    ("/v2/repository/index", "post", "State of every model"),
    ("/v2/models/{model}", "get", "Metadata of a model"),
    ("/v2/models/{model}/ready", "get", "Readiness of a model"),
    ("/v2/models/{model}/config", "get", "Configuration of a model"),
    ("/v2/models/{model}/infer", "post", "Inference"),
    ("/v2/models/{model}/generate", "post", "Generate"),
    ("/v2/models/{model}/generate_stream", "post", "Generate, as a stream of events"),
    ("/v2/models/{model}/versions/{version}", "get", "Metadata of a version"),
    ("/v2/models/{model}/versions/{version}/infer", "post", "Inference by a version"),
)
