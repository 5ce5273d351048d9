"""`salver check`: everything that can be found wrong without serving."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

import click

from salver.cli.apps import ConfigApps, check_doors, read_file
from salver.cli.like import like_option
from salver.cli.run import args_argument, look_first_in
from salver.cli.sources import refuse_misplaced
from salver.cli.target import load_spec
from salver.errors import SalverError
from salver.spec.app import AppSpec, DeploymentSpec
from salver.spec.familiar import http_settings
from salver.spec.grpc import grpc_options

__all__ = ("check",)

FILES: Final = (".yaml", ".yml", ".json", ".toml")

EXAMPLES = """Read and import what TARGET names, a file or `module:name`, and serve nothing.

The name is an app, or a function that takes the ARGS (`key=value`) and returns one.

Every key and value of a file is checked; then each app is imported in a process of its own, with
its environment, its arguments and its options. All that is wrong is told at once, with its place.
Then the doors' certificates are read and the gRPC door's services imported.

\b
Examples:
    salver check config.yaml
    salver check hello:app
    salver check translate:build language=fr size=small
Exit code: 0 when it can be served, 1 when not.
"""


@click.command(help=EXAMPLES)
@click.argument("target")
@args_argument
@click.option("-d", "--app-dir", default=".", show_default=True,
              type=click.Path(exists=True, file_okay=False),
              help="Where modules are looked for first.")  # fmt: skip
@like_option
def check(target: str, args: dict[str, str], app_dir: str) -> None:
    """Say what would run, or what is wrong."""
    try:
        apps = _apps(target, args, app_dir)
    except (SalverError, ValueError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    click.echo(f"{target} is valid: {_counted(len(apps), 'app')}.")
    for app in apps:
        click.echo(f"  {app.name}  {app.route_prefix or 'no route'}")
        for deployment in app.written:
            click.echo(f"    {_line(deployment)}")


def _apps(target: str, args: Mapping[str, str], app_dir: str) -> list[AppSpec]:
    if target.endswith(FILES):
        refuse_misplaced(target, args)
        config, document = read_file(target)
        apps = ConfigApps(target, app_dir).build(config, document)
        if config.proxy_location != "Disabled":
            look_first_in(app_dir)
            http, grpc = http_settings(config.http_options), grpc_options(config.grpc_options)
            check_doors(document, http, grpc)
        return apps
    return [load_spec(target, args, app_dir)]


def _line(deployment: DeploymentSpec) -> str:
    scales = deployment.options.autoscaling_config
    if scales is not None:
        return f"{deployment.id.name}: {scales.min_replicas} to {scales.max_replicas} replicas"
    return f"{deployment.id.name}: {_counted(deployment.options.num_replicas, 'replica')}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
