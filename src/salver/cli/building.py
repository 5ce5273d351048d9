"""A process that imports one app of a configuration and hands back what it is made of.

Every app has one of its own: apps may have the same module names, other packages, other variables.
It is told what to build on its stdin and answers on a descriptor, so that users' code may print.
"""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from salver.build import ChangeError, Changes, build
from salver.cli.target import load
from salver.environment.prepare import prepare
from salver.errors import SalverError
from salver.portable import portable_policy
from salver.settings import Settings
from salver.spec.app import AppSpec
from salver.spec.environment import read_runtime_env
from salver.spec.file import AppEntry, read_policy
from salver.spec.learnt import learnt
from salver.spec.logging import read_logging

__all__ = ("Built", "Mistake", "Order", "main")


class Order(msgspec.Struct, frozen=True):
    """What to build."""

    entry: AppEntry
    app_dir: str
    salt: str = ""  # of the version: changes when code has changed that was not imported here
    target_capacity: float | None = None
    prelude: tuple[str, ...] = ()  # "module:function", called first


class Mistake(msgspec.Struct, frozen=True):
    """What is wrong, and where in the app's entry: the keys that lead there."""

    path: tuple[str | int, ...]
    message: str


@learnt
class Built(msgspec.Struct, frozen=True):
    """The app, or what is wrong with it; and the files that it was read from."""

    app: AppSpec | None = None
    mistakes: tuple[Mistake, ...] = ()
    files: tuple[str, ...] = ()


def main(answer_fd: int) -> None:
    """The order comes on stdin, the answer goes to the descriptor."""
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Order)
    before = set(sys.modules)
    try:
        app = _build(order)
        mistakes = _unknown_deployments(order.entry, app)
    except _Misplaced as error:
        app, mistakes = None, (Mistake(error.path, str(error)),)
    answer = Built(None if mistakes else app, mistakes, tuple(_files(before)))
    with open(answer_fd, "wb") as file:
        file.write(msgspec.msgpack.encode(answer))


class _Misplaced(Exception):
    """An error with its place in the entry."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        self.path = path
        super().__init__(message)


def _build(order: Order) -> AppSpec:
    entry = order.entry
    for call in order.prelude:
        module, _, function = call.partition(":")
        getattr(import_module(module), function)()
    directory = _enter(order)
    before = set(sys.modules)
    try:
        target = load(entry.import_path, entry.args, directory)
    except SalverError as error:
        raise _Misplaced(("args",) if entry.args else ("import_path",), str(error)) from None
    options = {
        str(o["name"]): {k: v for k, v in o.items() if k != "name"} for o in entry.deployments
    }
    environment = read_runtime_env(entry.runtime_env)
    changes = Changes(options, environment)
    version = _version(order, _files(before))
    try:
        app = build(target, entry.name, entry.route_prefix, changes, version=version)
        return _whole(app.with_logging(read_logging(entry.logging_config)), order)
    except ChangeError as error:
        index = list(options).index(error.deployment)
        raise _Misplaced(("deployments", index, *error.path), str(error)) from None
    except (SalverError, TypeError, ValueError) as error:
        raise _Misplaced(("import_path",), str(error)) from None


def _whole(app: AppSpec, order: Order) -> AppSpec:
    """What is said of all its deployments together."""
    said = order.entry.autoscaling_policy
    try:
        policy = portable_policy(read_policy(said)) if said else None
    except (SalverError, TypeError) as error:
        raise _Misplaced(("autoscaling_policy", "policy_function"), str(error)) from None
    return msgspec.structs.replace(
        app,
        autoscaling_policy=policy,
        target_capacity=order.target_capacity,
    )


def _enter(order: Order) -> str:
    """Be where the app's replicas will be; the folder of its code."""
    try:
        env = read_runtime_env(order.entry.runtime_env)
        prepared = prepare(env, Path(Settings.read().cache_dir))
    except SalverError as error:
        raise _Misplaced(("runtime_env",), str(error)) from None
    sys.path[:0] = prepared.sys_path
    if prepared.cwd:
        os.chdir(prepared.cwd)
    return prepared.cwd or order.app_dir


def _unknown_deployments(entry: AppEntry, app: AppSpec) -> tuple[Mistake, ...]:
    known = [spec.id.name for spec in app.written]
    return tuple(
        Mistake(
            ("deployments", index, "name"),
            f"the app has no deployment {options['name']!r}. It has: {', '.join(sorted(known))}.",
        )
        for index, options in enumerate(entry.deployments)
        if options["name"] not in known
    )


def _files(before: set[str]) -> list[str]:
    """The user's own files that were imported since: not the interpreter's, not the packages'."""
    paths = sysconfig.get_paths()
    foreign = (*(paths[p] for p in ("stdlib", "platstdlib", "purelib", "platlib")),
               str(Path(__file__).parents[1]))  # fmt: skip
    files = {
        Path(file).resolve()
        for name, module in list(sys.modules.items())
        if name not in before and isinstance(file := getattr(module, "__file__", None), str)
    }
    return sorted(
        str(file)
        for file in files
        if file.is_file()
        and "site-packages" not in file.parts
        and not any(file.is_relative_to(place) for place in foreign)
    )


def _version(order: Order, files: list[str]) -> str:
    """Changes with the code, its arguments and its environment, and with nothing else."""
    entry = order.entry
    said: list[Any] = [entry.import_path, entry.args, entry.runtime_env, order.salt]
    digest = hashlib.sha256(msgspec.json.encode(said, order="deterministic"))
    for file in files:
        digest.update(f"{file}\0".encode() + Path(file).read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    main(int(sys.argv[1]))
