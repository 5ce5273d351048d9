"""The parts of a configuration file as objects, by the names that Ray Serve has for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from salver.errors import ConfigError
from salver.spec.controller import ControllerOptions
from salver.spec.familiar import http_settings
from salver.spec.file import DEPLOYMENT_KEYS, AppEntry, ConfigFile, read_config
from salver.spec.grpc import grpc_options, gRPCOptions
from salver.spec.http import HttpSettings
from salver.spec.logging import LoggingConfig
from salver.spec.mistakes import unknown
from salver.spec.model import Fields, LikeModel
from salver.spec.structs import default, fields_of

__all__ = (
    "DeploymentSchema",
    "HTTPOptionsSchema",
    "ServeApplicationSchema",
    "ServeDeploySchema",
    "gRPCOptionsSchema",
)


class FileSchema(LikeModel):
    """Made from the file's keys as keywords, which are checked as the file's are.

    ValueError, TypeError: what is wrong, and where. What is not given has the file's default.
    """

    _known: ClassVar[Mapping[str, Any]]  # keys and their defaults
    _parts: ClassVar[Mapping[str, type[LikeModel]]] = {}  # keys whose values are models, or lists

    def __init__(self, **given: Any) -> None:
        for name in given:
            if name not in self._known:
                raise TypeError(unknown(name, self._known, f"a field of {type(self).__name__}"))
        self._given = {name: self._part(name, value) for name, value in given.items()}
        self._check(json.loads(json.dumps(self._given, default=_as_given)))

    def _part(self, name: str, value: Any) -> Any:
        kind = self._parts.get(name)
        if kind is None or not isinstance(value, list | Mapping):
            return value
        several = isinstance(value, list)
        return [kind.parse_obj(one) for one in value] if several else kind.parse_obj(value)

    def _check(self, given: Fields) -> None:
        """What a file of these keys would be told."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._known:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}.")
        return self._given[name] if name in self._given else copy(self._known[name])

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._dumped() == other._dumped()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._given.items())
        return f"{type(self).__name__}({shown})"

    def _dumped(self) -> Fields:
        return self.model_dump(exclude_unset=True)

    def _set(self) -> Fields:
        return self._given

    def _all(self) -> Fields:
        return {**self._known, **self._given}


def _as_given(value: Any) -> Fields:
    if isinstance(value, LikeModel):
        return value.model_dump(exclude_unset=True)
    raise TypeError(
        f"{value!r} is not valid in a configuration file: expected what JSON can hold. Code is "
        "named by its import path, such as 'module:name'."
    )


def _defaults(struct: type[msgspec.Struct]) -> Fields:
    """What fields are when they are left out; None, too, for those that must not be."""
    return {
        name: None if field.required else default(struct, name)
        for name, field in fields_of(struct).items()
    }


def _check_file(name: str, given: Fields, within: str = "") -> None:
    """ValueError: what is wrong of a file, told by the paths below `within`."""
    try:
        read_config(name, json.dumps(given).encode(), Path.cwd())
    except ConfigError as error:
        told = [
            f"{problem.path.removeprefix(within).lstrip('.')}: {problem.message}".lstrip(": ")
            for problem in error.problems
        ]
        raise ValueError(f"{name} is not valid: {' '.join(told)}") from None


class HTTPOptionsSchema(FileSchema):
    """`http_options` of a file."""

    _known: ClassVar = _defaults(HttpSettings)

    def _check(self, given: Fields) -> None:
        http_settings(given)


class gRPCOptionsSchema(FileSchema):  # noqa: N801 - Ray Serve's name
    """`grpc_options` of a file."""

    _known: ClassVar = _defaults(gRPCOptions)

    def _check(self, given: Fields) -> None:
        grpc_options(given)


class DeploymentSchema(FileSchema):
    """One of an app's `deployments`: what differs from its code. What is not given is None."""

    _known: ClassVar = dict.fromkeys(("name", *DEPLOYMENT_KEYS))

    def _check(self, given: Fields) -> None:
        app = {"import_path": "module:app", "deployments": [given]}
        within = "applications[0].deployments[0]"
        _check_file(type(self).__name__, {"applications": [app]}, within)

    def _all(self) -> Fields:
        return self._given


class ServeApplicationSchema(FileSchema):
    """One of a file's `applications`."""

    _known: ClassVar = _defaults(AppEntry)
    _parts: ClassVar = {"deployments": DeploymentSchema, "logging_config": LoggingConfig}

    def _check(self, given: Fields) -> None:
        _check_file(type(self).__name__, {"applications": [given]}, "applications[0]")

    @property
    def deployment_names(self) -> list[str]:
        """Of those that the file says something of."""
        return [deployment.name for deployment in self.deployments]


class ServeDeploySchema(FileSchema):
    """A whole file: `yaml.safe_dump(schema.model_dump(mode="json", exclude_unset=True))`."""

    _known: ClassVar = _defaults(ConfigFile)
    _parts: ClassVar = {
        "applications": ServeApplicationSchema,
        "http_options": HTTPOptionsSchema,
        "grpc_options": gRPCOptionsSchema,
        "logging_config": LoggingConfig,
        "controller_options": ControllerOptions,
    }

    def _check(self, given: Fields) -> None:
        _check_file(type(self).__name__, given)
