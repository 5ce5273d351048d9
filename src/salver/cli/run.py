"""`salver run`: the keeper first, as it takes longest; then the user's code; then both together."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import click
import msgspec

from salver.errors import SalverError
from salver.launch import Capacity, Instance
from salver.settings import Settings
from salver.spec.http import HttpSettings

__all__ = ("RunOptions", "run")

# Loaded while the keeper starts: what builds an app and talks to the controller.
_SERVING: Final = "salver.cli.serving"

EXAMPLES = """Run the app that TARGET names, on this machine, until Ctrl-C.

TARGET is `module:name`; the name is an app (`app = Hello.bind()`) or a function that takes the
ARGS (`key=value`, as a dict or a pydantic model) and returns one.

\b
Examples:
    salver run hello:app
    salver run hello:app --port 8080 --reload
    salver run translate:build language=fr size=small
"""


@dataclass(frozen=True)
class RunOptions:
    """What to run, and how it is told."""

    target: str
    args: dict[str, str]
    name: str
    route_prefix: str | None
    app_dir: str
    reload: bool


def _read_args(_ctx: click.Context, _param: click.Parameter, given: Any) -> dict[str, str]:
    args = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} must be of the form '<key>=<val>'.")
        args[key] = value
    return args


def _read_resources(_ctx: click.Context, _param: click.Parameter, given: Any) -> dict[str, float]:
    try:
        return msgspec.convert(json.loads(given or "{}"), dict[str, float])
    except (ValueError, msgspec.ValidationError) as error:
        raise click.BadParameter(
            f"""{given!r} must be JSON such as '{{"tpu": 2}}': {error}."""
        ) from None


def _read_prefix(_ctx: click.Context, _param: click.Parameter, given: str) -> str | None:
    return None if given.lower() == "none" else given


@click.command(help=EXAMPLES)
@click.argument("target")
@click.argument("args", nargs=-1, callback=_read_args)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="0: any free one.  [default: 8000]")
@click.option("--name", default="default", show_default=True, help="Name of the app.")
@click.option("--route-prefix", default="/", show_default=True, callback=_read_prefix,
              help="Path under which it answers; 'none': no HTTP.")  # fmt: skip
@click.option("-d", "--app-dir", default=".", show_default=True,
              type=click.Path(exists=True, file_okay=False),
              help="Where the module is looked for first.")  # fmt: skip
@click.option("-r", "--reload", is_flag=True, help="Run the new code when a file changes.")
@click.option("--num-cpus", type=click.FloatRange(0), help="CPUs to share out.  [default: all]")
@click.option("--num-gpus", type=click.FloatRange(0), help="GPUs to share out.  [default: all]")
@click.option("--resources", callback=_read_resources, help="Named resources, as JSON.")
def run(**given: Any) -> None:
    """Start, serve, stop; one readable error and an exit code when something is wrong."""
    http = _http(given.pop("host"), given.pop("port"))
    capacity = Capacity(
        given.pop("num_cpus"), given.pop("num_gpus"), resources=given.pop("resources")
    )
    with ThreadPoolExecutor(1, "salver-start") as thread:
        starting = thread.submit(Instance.start, http, capacity)
        try:
            code = import_module(_SERVING).serve(starting, RunOptions(**given))
        except SalverError as error:
            click.echo(f"Error: {error}", err=True)
            code = 1
        except KeyboardInterrupt:
            code = 130
        finally:
            _end(starting)
    sys.exit(code)


def _http(host: str | None, port: int | None) -> HttpSettings:
    try:
        settings = Settings.read()
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return HttpSettings(
        host=settings.http_host if host is None else host,
        port=settings.http_port if port is None else port,
    )


def _end(starting: Any) -> None:
    """Whatever happened, nothing is left behind."""
    if starting.exception() is None:
        starting.result().kill()
