"""`salver build`: a configuration file that says what the code says, for people to change."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import yaml

from salver.cli.like import like_option, like_words
from salver.cli.target import load_spec
from salver.errors import SalverError, TargetError
from salver.portable import imported
from salver.spec.app import AppSpec
from salver.spec.autoscaling import AutoscalingConfig
from salver.spec.code import ImportedCode, PickledCode
from salver.spec.environment import RuntimeEnv
from salver.spec.http import HttpSettings
from salver.spec.options import DeploymentOptions, description
from salver.spec.routing import RequestRouterConfig
from salver.spec.structs import fields_of, meaning

__all__ = ("build", "config_text")

EXAMPLES = """Write a configuration file for the apps that TARGETS name as `module:name`.

It lists every deployment with the options that its code sets, and shows the most common others as
comments. What the file says wins over the code: delete a line and the code's value holds again.

\b
Examples:
    salver build hello:app -o config.yaml
    salver build shop:app search:build -o config.yaml
Then:
    salver check config.yaml
    salver run config.yaml
"""
HEAD: Final = """\
# What runs, and how: `salver {run}`. What is said here wins over the code.
# For completion in editors: `salver schema > salver.schema.json`, and as the first line here
#   # yaml-language-server: $schema=salver.schema.json
"""
_PROCESS: Final = ("num_cpus", "num_gpus", "memory", "resources")
_COMMON: Final = ("num_replicas", "max_ongoing_requests", "user_config")


@click.command(help=EXAMPLES)
@click.argument("targets", nargs=-1, required=True)
@click.option("-o", "--output-path", type=click.Path(dir_okay=False),
              help="File to write.  [default: print it]")  # fmt: skip
@click.option("-d", "--app-dir", default=".", show_default=True,
              type=click.Path(exists=True, file_okay=False),
              help="Where modules are looked for first.")  # fmt: skip
@like_option
def build(targets: tuple[str, ...], output_path: str | None, app_dir: str) -> None:
    """Import, and write down."""
    try:
        apps = _apps(targets, app_dir)
    except SalverError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    run = f"run{like_words()} {output_path or 'config.yaml'}"
    text = config_text(apps, run)
    if output_path is None:
        click.echo(text, nl=False)
        return
    try:
        Path(output_path).write_text(text, encoding="utf-8")
    except OSError as error:
        click.echo(f"Error: {output_path} cannot be written: {error.strerror}.", err=True)
        sys.exit(1)
    click.echo(f"Wrote {output_path}. Next: salver {run}")


def _apps(targets: tuple[str, ...], app_dir: str) -> list[tuple[str, AppSpec]]:
    twice = {target for target in targets if targets.count(target) > 1}
    if twice:
        raise TargetError(f"{min(twice)!r} is given twice. Name every app once.")
    names = _names(targets)
    return [
        (target, load_spec(target, {}, app_dir, name, f"/{name}" if names[1:] else "/"))
        for target, name in zip(targets, names, strict=True)
    ]


def _names(targets: tuple[str, ...]) -> list[str]:
    """`default` for one; of several each is called as its module, numbered where that repeats."""
    if len(targets) == 1:
        return ["default"]
    names: list[str] = []
    for target in targets:
        stem = target.partition(":")[0].rpartition(".")[2]
        same = sum(name.partition("-")[0] == stem for name in names)
        names.append(f"{stem}-{same + 1}" if same else stem)
    return names


def config_text(apps: list[tuple[str, AppSpec]], run: str) -> str:
    """The whole file, which that command of `salver` runs."""
    return "\n".join([HEAD.format(run=run), *_lines(apps)]) + "\n"


def _lines(apps: list[tuple[str, AppSpec]]) -> Iterator[str]:
    yield "http_options:"
    for name in ("host", "port"):
        yield from _option(2, name, getattr(HttpSettings(), name), _door(name))
    yield ""
    yield "applications:"
    for target, app in apps:
        yield f"  - name: {_inline(app.name)}"
        yield f"    route_prefix: {_inline(app.route_prefix)}"
        yield f"    import_path: {_inline(target)}"
        yield "    # args: {}  # of the function that builds the app"
        yield "    # runtime_env: {env_vars: {}, working_dir: ., pip: []}"
        yield "    deployments:"
        for spec in app.written:
            yield f"      - name: {_inline(spec.id.name)}"
            yield from _options(spec.options)


def _door(name: str) -> str:
    return meaning(fields_of(HttpSettings)[name].type)


def _options(options: DeploymentOptions) -> Iterator[str]:
    """What the code sets, then what is most often set besides, as comments."""
    said = said_by(options)
    for name, value in said.items():
        yield from _option(8, name, value, _meaning(name))
    for name, value in _differing(options).items():
        if _by_name(value) is None:
            yield f"        # {name}: as in the code; what it names cannot be imported from a file"
    for name in _COMMON:
        if name not in said:
            default = getattr(options, name)
            yield f"        # {name}: {_inline(default)}  # {_meaning(name)}"


def _meaning(name: str) -> str:
    return (
        "What a replica's process asks for." if name == "ray_actor_options" else description(name)
    )


def said_by(options: DeploymentOptions) -> dict[str, Any]:
    """The options that differ from the defaults, in the form of a file's entry."""
    named = {name: _by_name(value) for name, value in _differing(options).items()}
    said: dict[str, Any] = msgspec.to_builtins(
        {name: value for name, value in named.items() if value is not None}
    )
    process: dict[str, Any] = {name: said.pop(name) for name in _PROCESS if name in said}
    env = {name: said.pop(name) for name in RuntimeEnv.__struct_fields__ if name in said}
    if env:
        process["runtime_env"] = env
    return {**said, **({"ray_actor_options": process} if process else {})}


def _differing(options: DeploymentOptions) -> dict[str, Any]:
    default = DeploymentOptions()
    return {
        name: getattr(options, name)
        for name in options.__struct_fields__
        if getattr(options, name) != getattr(default, name)
    }


def _by_name(value: Any) -> Any:
    """The same with its policy or router by import path, as files have it. None: there is none."""
    if isinstance(value, RequestRouterConfig):
        path = _path_of(value.request_router_class)
        return path and msgspec.structs.replace(value, request_router_class=path)
    if isinstance(value, AutoscalingConfig):
        path = _path_of(value.policy.policy_function)
        policy = path and msgspec.structs.replace(value.policy, policy_function=path)
        return policy and msgspec.structs.replace(value, policy=policy)
    return value


def _path_of(code: Any) -> str | None:
    """Where the app's process finds what is sent to others by value."""
    if isinstance(code, ImportedCode):
        return f"{code.module}:{code.qualname}"
    if not isinstance(code, PickledCode):
        return str(code)
    found = pickle.loads(code.data)  # which this process has made, a moment ago
    path = f"{found.__module__}:{found.__qualname__}"
    try:
        imported(path, "it")
    except TargetError:
        return None
    return path


def _option(indent: int, name: str, value: Any, means: str) -> Iterator[str]:
    """`name: value  # what it means`; what is large stands below its name."""
    margin = " " * indent
    if isinstance(value, dict | list) and value:
        yield f"{margin}{name}:  # {means}"
        block = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
        yield from (f"{margin}  {line}" for line in block.splitlines())
    else:
        yield f"{margin}{name}: {_inline(value)}  # {means}"


def _inline(value: Any) -> str:
    """A value in one line, quoted where YAML would take it for something else."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()
