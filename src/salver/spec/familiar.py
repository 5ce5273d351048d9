"""What an instance is started with, in the names that users of Ray Serve know."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NoReturn

import msgspec

from salver.spec.fields import check_field
from salver.spec.http import HttpSettings
from salver.spec.mistakes import unknown
from salver.spec.model import ConfigModel, KnownFields

__all__ = (
    "HTTPOptions",
    "ProxyLocation",
    "TracingConfig",
    "http_settings",
    "read_location",
    "without_door",
)


class ProxyLocation(StrEnum):
    """Where doors are: on one machine there is one place, or none."""

    Disabled = "Disabled"
    HeadOnly = "HeadOnly"
    EveryNode = "EveryNode"

    @classmethod
    def _missing_(cls, value: object) -> ProxyLocation | None:
        return cls.Disabled if value == "NoServer" else None  # its name in old programs


class _Fields(KnownFields):
    def refuse(cls, name: str) -> NoReturn:  # noqa: N805 - a class is its "self"
        if name in _REMOVED:
            raise ValueError(_removed(name))
        super().refuse(name)


class HTTPOptions(ConfigModel, kw_only=True, metaclass=_Fields):
    """The HTTP door, as Ray Serve spells it. Without a value the door's own default holds."""

    host: str | None = "127.0.0.1"
    port: int = 8000
    request_timeout_s: float | None = None
    keep_alive_timeout_s: float = 90.0
    location: ProxyLocation | None = None
    root_path: str = ""
    root_url: str = ""
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile_password: str | None = None
    ssl_ca_certs: str | None = None

    def __post_init__(self) -> None:
        """Without a host there is no door. What a door cannot be given is said at once."""
        location = ProxyLocation.Disabled if self.host is None else _read_location(self.location)
        msgspec.structs.force_setattr(self, "location", location)
        http_settings(self)


class _Later:
    """A part of the surface that is known and not there yet: it says so when it is used."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        _refuse(type(self).__name__)


class TracingConfig(_Later):
    """Where spans go."""


_REMOVED: Final = {
    "middlewares": "put them on the FastAPI app that is given to @ingress",
    "num_cpus": "the door is a process of Salver's own, which no replica's share is taken for",
}


def http_settings(given: object = None, *, default: HttpSettings | None = None) -> HttpSettings:
    """The door's settings from `http_options`: None, a dict, HTTPOptions or HttpSettings."""
    base = default or HttpSettings()
    if given is None:
        return base
    if isinstance(given, HttpSettings):
        return given
    if isinstance(given, HTTPOptions):
        given = given.model_dump(exclude_unset=True)
    if not isinstance(given, Mapping):
        raise TypeError(
            f"http_options={given!r} is not valid: expected a dict such as "
            '{"host": "0.0.0.0", "port": 8000}, or HTTPOptions.'
        )
    return _from_mapping(given, base)


def without_door(given: object) -> bool:
    """Whether `http_options` ask for none, as Ray Serve's users may: by location or by host."""
    if isinstance(given, HTTPOptions):
        given = {"host": given.host, "location": given.location}
    if not isinstance(given, Mapping):
        return False
    location = _read_location(given.get("location"))
    return location is ProxyLocation.Disabled or given.get("host", "") is None


def _removed(name: str) -> str:
    return f"http_options[{name!r}] is not there any more: {_REMOVED[name]}."


def _read_location(given: Any) -> ProxyLocation | None:
    return None if given is None else read_location(given, "http_options['location']")


def read_location(given: object, called: str = "proxy_location") -> ProxyLocation:
    """Where doors are to be. ValueError: nowhere that is known."""
    try:
        return ProxyLocation(given)  # type: ignore[arg-type]
    except ValueError:
        known = ", ".join(repr(str(location)) for location in ProxyLocation)
        raise ValueError(
            f"{called}={given!r} is not valid: expected one of {known}. Leave it out for an HTTP "
            "door on this machine."
        ) from None


def _from_mapping(given: Mapping[str, Any], base: HttpSettings) -> HttpSettings:
    known = set(HttpSettings.__struct_fields__)
    fields = {}
    for name, value in given.items():
        if name == "host" and value is None:
            continue  # no door: see `without_door`
        if name in known:
            fields[name] = value
        elif name == "location":
            _read_location(value)  # what is meant by it: see `without_door`
        elif name in _REMOVED:
            raise ValueError(_removed(name))
        else:
            raise TypeError(unknown(name, (*known, "location"), "an option of the HTTP door"))
    kept = {name: getattr(base, name) for name in known if name not in fields}
    checked = {
        name: check_field(HttpSettings, name, value, f"http_options[{name!r}]")
        for name, value in fields.items()
    }
    try:
        return HttpSettings(**kept, **checked)
    except ValueError as error:
        raise ValueError(f"http_options={dict(given)!r} is not valid: {error}.") from None


def _refuse(what: str) -> NoReturn:
    raise NotImplementedError(f"{what}: not there yet in this version of Salver. Leave it out.")
