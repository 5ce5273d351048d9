"""The JSON schema of a configuration file, for editors: made from the fields, never written."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec.structs import FieldInfo

from salver.spec.environment import RuntimeEnv
from salver.spec.familiar import HTTPOptions
from salver.spec.file import DEPLOYMENT_KEYS, AppEntry, ConfigFile
from salver.spec.grpc import gRPCOptions
from salver.spec.http import HttpSettings
from salver.spec.logging import LoggingConfig
from salver.spec.options import DeploymentOptions
from salver.spec.structs import fields_of

__all__ = ("config_schema",)

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
# What a field may be in a file besides what it is in the end.
_ALSO: Final[dict[str, list[Any]]] = {"num_replicas": ["auto", None]}


def config_schema() -> dict[str, Any]:
    """What an editor needs to complete and to check a file."""
    parts = [AppEntry, RuntimeEnv, HttpSettings, gRPCOptions, LoggingConfig, DeploymentOptions]
    (file, *_), definitions = msgspec.json.schema_components(
        [ConfigFile, *parts], ref_template="#/$defs/{name}"
    )
    definitions["LoggingConfig"]["properties"]["log_level"]["type"] = ["string", "integer"]
    definitions["HTTPOptions"] = _http(definitions.pop("HttpSettings"))
    process, entry = _deployment(definitions.pop("DeploymentOptions"))
    definitions |= {"ProcessOptions": process, "DeploymentEntry": entry}
    top, app = definitions["ConfigFile"]["properties"], definitions["AppEntry"]["properties"]
    _point(top, "http_options", "HTTPOptions")
    _point(top, "grpc_options", "gRPCOptions")
    _point(top, "logging_config", "LoggingConfig")
    _point(app, "logging_config", "LoggingConfig")
    _point(app, "autoscaling_policy", "AutoscalingPolicy")
    _point(app, "runtime_env", "RuntimeEnv")
    app["deployments"]["items"] = {"$ref": "#/$defs/DeploymentEntry"}
    return {"$schema": _DIALECT, "title": "Salver configuration", **file, "$defs": definitions}


def _point(properties: dict[str, Any], name: str, definition: str) -> None:
    properties[name] = {
        "description": properties[name]["description"],
        "anyOf": [{"$ref": f"#/$defs/{definition}"}, {"type": "null"}],
    }


def _http(door: dict[str, Any]) -> dict[str, Any]:
    """The door's settings, and the names that Ray Serve has besides."""
    _, found = msgspec.json.schema_components([HTTPOptions])
    theirs = found["HTTPOptions"]["properties"]
    door["properties"] = {**theirs, **door["properties"]}
    return {**door, "title": "HTTPOptions"}


def _deployment(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a deployment; those of its process may also stand in `ray_actor_options`."""
    fields = fields_of(DeploymentOptions)
    properties = {
        name: _field(options["properties"][name], fields[name], name)
        for name in DEPLOYMENT_KEYS
        if name in fields
    }
    process = {name: properties[name] for name in ("num_cpus", "num_gpus", "memory", "resources")}
    process["runtime_env"] = {"$ref": "#/$defs/RuntimeEnv"}
    return (
        {"title": "ProcessOptions", "type": "object", "properties": process,
         "additionalProperties": False},
        {"title": "DeploymentEntry", "type": "object", "required": ["name"],
         "properties": {
             "name": {"type": "string", "description": "Which of the app's deployments."},
             **properties,
             "ray_actor_options": {
                 "$ref": "#/$defs/ProcessOptions",
                 "description": "What one replica's process asks for; it says all of it.",
             },
         },
         "additionalProperties": False},
    )  # fmt: skip


def _field(schema: dict[str, Any], field: FieldInfo, name: str) -> dict[str, Any]:
    """Without its default: in a file an option that is not there is not set."""
    schema = {key: value for key, value in schema.items() if key != "default"}
    default = field.default if field.default is not msgspec.NODEFAULT else None
    if default not in (None, msgspec.UNSET) and not isinstance(default, msgspec.Struct):
        schema["description"] = f"{schema.get('description', '')} Default: {default!r}.".strip()
    if name in _ALSO:
        description = schema.pop("description", "")
        schema = {"description": description, "anyOf": [schema, {"enum": _ALSO[name]}]}
    return schema
