"""What `salver run` runs, at first and after every change: an app by name, or a file of apps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from salver.cli.apps import ConfigApps, read_file
from salver.cli.foreground import in_foreground
from salver.cli.run import RunOptions
from salver.cli.target import load_spec
from salver.errors import ConfigError, Problem, TargetError
from salver.spec.app import AppSpec
from salver.spec.document import Document
from salver.spec.environment import read_runtime_env
from salver.spec.file import ConfigFile
from salver.spec.ids import check_name, check_prefix

__all__ = ("FileSource", "Source", "TargetSource", "Work", "refuse_misplaced")

_RELOAD: Final = "salver.cli.reload"


@dataclass(frozen=True)
class Work:
    """Apps to deploy, side by side, and apps to stop."""

    deploy: list[AppSpec]
    delete: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)  # for the user


class Source(Protocol):
    """Where the apps come from. Both ways to load them raise SalverError."""

    def load(self) -> Work:
        """At first; blocks."""

    def changes(self) -> AsyncIterator[list[str]]:
        """What has changed, for people to read, burst by burst."""

    async def again(self) -> Work:
        """After a change: what is to be done now."""

    def failed(self, app: str) -> None:
        """This app could not be brought up, or ended: the next change tries it again."""


class TargetSource:
    """One app, by `module:name`; built in this process."""

    def __init__(self, options: RunOptions) -> None:
        self._options = options

    def load(self) -> Work:
        options = self._options
        check_name(options.name)
        if options.route_prefix is not None:
            try:
                check_prefix(options.route_prefix)
            except ValueError as error:
                raise TargetError(str(error)) from None
        spec = load_spec(
            options.target, options.args, options.app_dir, options.name, options.route_prefix
        )
        return Work([spec])

    async def changes(self) -> AsyncIterator[list[str]]:
        async for changed in import_module(_RELOAD).changes(self._options.app_dir):
            yield changed

    async def again(self) -> Work:
        return await in_foreground(self.load)

    def failed(self, app: str) -> None:
        """Every change runs everything again."""


class FileSource:
    """The apps of a file: what is as it was stays untouched, what is gone is stopped."""

    def __init__(self, options: RunOptions, config: ConfigFile, document: Document) -> None:
        self._options = options
        self._file = str(Path(options.target).absolute())
        self._config = config
        self._document = document
        self._apps = ConfigApps(options.target, options.app_dir)
        self._deployed: dict[str, Any] = {}  # what there is of each app

    def load(self) -> Work:
        apps = self._apps.build(self._config, self._document)
        old, self._deployed = self._deployed, {app.name: _essence(app) for app in apps}
        return Work(
            [app for app in apps if old.get(app.name) != self._deployed[app.name]],
            [name for name in old if name not in self._deployed],
        )

    async def changes(self) -> AsyncIterator[list[str]]:
        watch = import_module(_RELOAD).changed_files
        async for changed in watch(self._directories(), self._file):
            self._apps.unseen([path for path in changed if path != self._file])
            yield sorted({Path(path).name for path in changed})

    def _directories(self) -> list[str]:
        """Where code is. What a reloaded file adds to them is watched from the next start on."""
        found = [self._options.app_dir]
        for entry in self._config.applications:
            env = read_runtime_env(entry.runtime_env)
            found += [*([env.working_dir] if env.working_dir else []), *env.py_modules]
        return [place for place in found if Path(place).is_dir()]

    async def again(self) -> Work:
        config, document = read_file(self._options.target)
        remarks = [
            f"{name} has changed; it stays as it was until the next start."
            for name in ("proxy_location", "http_options", "grpc_options", "controller_options")
            if getattr(config, name) != getattr(self._config, name)
        ]
        self._config, self._document = config, document
        try:
            work = await asyncio.to_thread(self.load)
        except asyncio.CancelledError:
            self._apps.stop()
            raise
        return Work(work.deploy, work.delete, remarks)

    def failed(self, app: str) -> None:
        self._deployed[app] = None


def _essence(app: AppSpec) -> Any:
    """An app without its pickles: they may differ where nothing has changed. The version tells."""
    bare = [msgspec.structs.replace(spec, arguments=b"", code=None) for spec in app.deployments]
    return msgspec.structs.replace(app, deployments=tuple(bare))


def refuse_misplaced(
    target: str, args: Mapping[str, str], name: str = "default", route_prefix: str | None = "/"
) -> None:
    """ConfigError: what goes with an app's name does not go with a file, which says it itself."""
    given = [
        ("ARGS", bool(args), "applications[].args"),
        ("--name", name != "default", "applications[].name"),
        ("--route-prefix", route_prefix != "/", "applications[].route_prefix"),
    ]
    problems = [
        Problem(path, f"{what} is for an app that is named by module: write it into the file.")
        for what, said, path in given
        if said
    ]
    if problems:
        raise ConfigError(target, problems)
