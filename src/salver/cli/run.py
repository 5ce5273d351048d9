"""`salver run`: the keeper first, as it takes longest; then the user's code; then both together."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import click
import msgspec
from msgspec import Meta

from salver.cli.like import like_option
from salver.cli.numbers import Number, Whole
from salver.engine.spawn import Spawned
from salver.errors import SalverError
from salver.launch import Capacity, Instance, default_http
from salver.spec.familiar import http_settings
from salver.spec.grpc import grpc_options, gRPCOptions
from salver.spec.http import HttpSettings
from salver.spec.logging import read_logging
from salver.spec.mistakes import mistake, spelled
from salver.spec.placement import check_named

__all__ = ("RunOptions", "args_argument", "look_first_in", "run")

# Loaded while the keeper starts: what builds apps and talks to the controller.
_SERVING: Final = "salver.cli.serving"
_SOURCES: Final = "salver.cli.sources"
_APPS: Final = "salver.cli.apps"
_FILES: Final = (".yaml", ".yml", ".json", ".toml")

EXAMPLES = """Run what TARGET names, on this machine, until Ctrl-C.

TARGET is `module:name` or a configuration file. The name is an app (`app = Hello.bind()`) or a
function that takes the ARGS (`key=value`, as a dict or a pydantic model) and returns one. A file
(.yaml, .yml, .json) says which apps run, under which names and options; it wins over their code.

\b
Examples:
    salver run hello:app
    salver run hello:app --port 8080 --reload
    salver run translate:build language=fr size=small
    salver run config.yaml
    salver run config.yaml --reload     (only the apps that changed start anew)
    salver run --like ray program:app   (its imports say `from ray import serve`)

\b
A file, which `salver build hello:app -o config.yaml` writes and `salver check config.yaml` checks:
    applications:
      - name: hello
        route_prefix: /
        import_path: hello:app
        deployments:
          - name: Hello
            num_replicas: 2
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


# `key=value`, for a function that builds an app.
args_argument = click.argument("args", nargs=-1, callback=_read_args)


def _read_resources(_ctx: click.Context, _param: click.Parameter, given: Any) -> dict[str, float]:
    try:
        resources = json.loads(given or "{}")
        named = msgspec.convert(resources, dict[str, Annotated[float, Meta(ge=0)]])
        check_named(named)
    except msgspec.ValidationError as error:
        found = mistake(error, resources, dict[str, Annotated[float, Meta(ge=0)]])
        wrong = f"{spelled('it', found.path)}={found.given!r}: {found.said}"
    except ValueError as error:
        wrong = str(error).rstrip(".")
    else:
        return named
    raise click.BadParameter(f"""{given!r} must be JSON such as '{{"tpu": 2}}': {wrong}.""")


def _read_host(_ctx: click.Context, _param: click.Parameter, given: str | None) -> str | None:
    if given == "":
        raise click.BadParameter("'' is no address: expected one such as 127.0.0.1 or 0.0.0.0.")
    return given


def _read_prefix(_ctx: click.Context, _param: click.Parameter, given: str) -> str | None:
    return None if given.lower() == "none" else given


@click.command(help=EXAMPLES)
@click.argument("target")
@args_argument
@click.option("--host", callback=_read_host, help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=Whole(0, 65535), help="0: any free one.  [default: 8000]")
@click.option("--grpc-port", type=Whole(0, 65535),
              help="Open the gRPC door at this port, also for the Open Inference Protocol alone; "
              "0: any free one.  [default: 9000]")  # fmt: skip
@click.option("--grpc-servicer-functions", multiple=True, metavar="IMPORT_PATH",
              help="A service of the gRPC door: hello_pb2_grpc.add_HelloServicer_to_server. "
              "May be repeated.")  # fmt: skip
@click.option("--name", default="default", show_default=True, help="Name of the app.")
@click.option("--route-prefix", default="/", show_default=True, callback=_read_prefix,
              help="Path under which it answers; 'none': no HTTP.")  # fmt: skip
@click.option("-d", "--app-dir", default=".", show_default=True,
              type=click.Path(exists=True, file_okay=False),
              help="Where the module is looked for first.")  # fmt: skip
@click.option(
    "-r",
    "--reload",
    is_flag=True,
    help="Run the new code, and what the file says, when they change.",
)
@like_option
@click.option("--num-cpus", type=Number(0), help="CPUs to share out.  [default: all]")
@click.option("--num-gpus", type=Number(0), help="GPUs to share out.  [default: all]")
@click.option("--resources", callback=_read_resources, help="Named resources, as JSON.")
@click.pass_obj
def run(spawned: Spawned | None, /, **given: Any) -> None:
    """Start, serve, stop; one readable error and an exit code when something is wrong."""
    address = {name: given.pop(name) for name in ("host", "port")}
    address = {name: value for name, value in address.items() if value is not None}
    grpc = _grpc_given(given.pop("grpc_port"), given.pop("grpc_servicer_functions"))
    look_first_in(given["app_dir"])
    capacity = Capacity(
        given.pop("num_cpus"), given.pop("num_gpus"), resources=given.pop("resources")
    )
    options = RunOptions(**given)
    try:
        start, source = _start(options, address, grpc, capacity)
    except SalverError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    sys.exit(_serve(partial(start, spawned=spawned), source, reload=options.reload))


Start = Callable[..., Instance]


def _start(
    options: RunOptions, address: dict[str, Any], grpc: dict[str, Any], capacity: Capacity
) -> tuple[Start, Callable[[], Any]]:
    """How to start the instance, and, for when that is on its way, where the apps come from."""
    if not options.target.endswith(_FILES):
        http = _http(address, {})
        start = partial(Instance.start, http, capacity, grpc=_grpc(grpc, {}, http.host))
        return start, lambda: import_module(_SOURCES).TargetSource(options)
    apps = import_module(_APPS)
    config, document = apps.read_file(options.target)
    sources = import_module(_SOURCES)
    sources.refuse_misplaced(options.target, options.args, options.name, options.route_prefix)
    doors = config.proxy_location != "Disabled"
    http = _http(address, config.http_options or {})
    logging = read_logging(config.logging_config)
    services = _grpc(grpc, config.grpc_options or {}, http.host)
    if doors and "grpc_servicer_functions" not in grpc:  # those would be in no place of the file
        apps.check_doors(document, http, services)
    controller = config.controller_options
    start = partial(Instance.start, http, capacity, logging, services, controller, doors=doors)
    return start, lambda: sources.FileSource(options, config, document)


def _serve(start: Start, source: Callable[[], Any], *, reload: bool) -> int:
    instance = None
    try:
        instance = start()
        code: int = import_module(_SERVING).serve(instance, source(), reload=reload)
    except SalverError as error:
        click.echo(f"Error: {error}", err=True)
        code = 1
    finally:
        if instance is not None:  # whatever happened, nothing is left behind
            instance.kill()
    return code


def _http(given: dict[str, Any], said: dict[str, Any]) -> HttpSettings:
    """The command line wins over the file, the file over the environment."""
    try:
        default = default_http()
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return http_settings({**said, **given}, default=default)


def _grpc_given(port: int | None, functions: tuple[str, ...]) -> dict[str, Any]:
    given = {"port": port, "grpc_servicer_functions": list(functions)}
    return {name: value for name, value in given.items() if value is not None and value != []}


def _grpc(given: dict[str, Any], said: dict[str, Any], host: str) -> gRPCOptions:
    """The command line wins over the file; the host is that of the HTTP door, if not said."""
    infers = {"inference": True} if "port" in given else {}  # whoever asks for a door gets one
    options = grpc_options({"host": host, **infers, **said, **given})
    if "port" in given and not options.wanted:
        raise click.UsageError(
            "--grpc-port: nothing would be served there: the file names no services, and says "
            "`inference: false`."
        )
    return options


def look_first_in(app_dir: str) -> None:
    """Have modules of this directory found before all others."""
    directory = str(Path(app_dir).absolute())
    if directory not in sys.path:
        sys.path.insert(0, directory)
