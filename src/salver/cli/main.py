"""The command tree. A command's module is loaded when the command is called, not before."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final

import click

import salver

__all__ = ("main",)

# name -> (where it is, what it does)
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "build": ("salver.cli.build:build", "Write a configuration file for apps."),
    "check": ("salver.cli.check:check", "Find what is wrong with an app or a file, serve nothing."),
    "run": ("salver.cli.run:run", "Run an app, or a file of apps, here until Ctrl-C."),
    "simulate": ("salver.cli.simulate:simulate", "Play an autoscaling policy through, with plot."),
    "schema": ("salver.cli.schema:schema", "Print the JSON schema of configuration files."),
}

# Ray Serve's commands for a cluster that runs on: `salver run` serves for as long as it runs.
_OPERATED: Final = ("config", "controller-health", "deploy", "shutdown", "start", "status")

HELP = """Serve Python code behind an API, on this machine.

\b
Write hello.py:
    import salver
\b
    @salver.deployment
    class Hello:
        def __call__(self, request):
            return "Hello!"
\b
    app = Hello.bind()
\b
Then:
    salver run hello:app
    curl http://127.0.0.1:8000/
"""


class LazyGroup(click.Group):
    """A group that knows its commands by name and sentence, and loads the one that is called."""

    lazy: Mapping[str, tuple[str, str]] = COMMANDS

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return sorted(self.lazy)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return None
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in self.lazy or name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = [] if name in _OPERATED else get_close_matches(name, self.lazy, 1)
        hint = f"Did you mean 'salver {near[0]}'?" if near else _hint(name)
        raise click.UsageError(f"No command {name!r}. {hint}", ctx)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.lazy[name][1]) for name in sorted(self.lazy)])


def _hint(name: str) -> str:
    if name in _OPERATED:
        return (
            "Ray Serve's commands for a service that runs on are not there yet: "
            "'salver run config.yaml' serves until Ctrl-C."
        )
    return f"Did you mean 'salver run {name}'?" if ":" in name else "See 'salver --help'."


@click.group(cls=LazyGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(salver.__version__, prog_name="salver", message="%(prog)s %(version)s")
def main(**_: Any) -> None:
    """See HELP."""
