"""Names of things: one type and one spelling each."""

from __future__ import annotations

from typing import Final

import msgspec

from salver.errors import SalverError

__all__ = ("DeploymentId", "ReplicaId", "check_name", "check_prefix", "name_fault")

_LONGEST: Final = 255  # characters: three names are greeted with, in a frame of 4 KiB


class DeploymentId(msgspec.Struct, frozen=True, order=True):
    """A deployment's name within its app."""

    name: str
    app_name: str = "default"

    @property
    def app(self) -> str:
        return self.app_name

    def companion(self, name: str, version: str) -> DeploymentId:
        """The deployment that is its deployment actor of this name, in this version of its code.

        No deployment of a user's has a slash in its name.
        """
        return DeploymentId(f"{self.name}/{name}/{version[:8]}", self.app)

    @property
    def owner(self) -> tuple[DeploymentId, str] | None:
        """Of a deployment actor, the deployment that it belongs to and its name there."""
        name, slash, rest = self.name.partition("/")
        return (DeploymentId(name, self.app), rest.partition("/")[0]) if slash else None

    def __str__(self) -> str:
        return f"{self.app}#{self.name}" if self.app else self.name


class ReplicaId(msgspec.Struct, frozen=True, order=True):
    """One running copy of a deployment."""

    unique_id: str
    deployment_id: DeploymentId

    @classmethod
    def parse(cls, text: str) -> ReplicaId:
        """Read `app#deployment#unique`."""
        app, name, unique = text.rsplit("#", 2)
        return cls(unique, DeploymentId(name, app))

    def to_full_id_str(self) -> str:
        """What `parse` reads."""
        return str(self)

    from_full_id_str = parse

    def __str__(self) -> str:
        return f"{self.deployment_id}#{self.unique_id}"


def name_fault(name: str, without: str) -> str:
    """What is expected of a name that logs, ids and greetings are to hold; empty: it is so.

    `without`: the characters that part it from others.
    """
    if 0 < len(name) <= _LONGEST and name.isprintable() and not any(m in name for m in without):
        return ""
    return f"expected 1 to {_LONGEST} printable characters, none of them {' or '.join(without)}."


def check_name(name: str) -> None:
    """Refuse what the names of the app's replicas could not be read back from."""
    fault = name_fault(name, "#") if isinstance(name, str) else "expected a str."
    if fault:
        raise SalverError(f"name={name!r} is not valid: {fault}")


def check_prefix(prefix: str) -> None:
    """Refuse what no path can match, what could match two ways, and what is the door's own."""
    if prefix == "/-" or prefix.startswith("/-/"):
        raise ValueError(
            f"route_prefix={prefix!r} is not valid: below '/-' are Salver's own pages, such as "
            "'/-/healthz'. Choose another."
        )
    wrong = (
        not prefix.startswith("/")
        or (prefix != "/" and prefix.endswith("/"))
        or any(mark in prefix for mark in "{}?#")
        or "//" in prefix
    )
    if wrong:
        raise ValueError(
            f"route_prefix={prefix!r} is not valid: expected '/' or a path such as '/models', with "
            "a slash before it, none behind it, and no braces."
        )
