"""`--like ray`: programs whose imports name another system, in this command and all it starts."""

from __future__ import annotations

from importlib import import_module

import click

__all__ = ("like_option",)


def _install(_ctx: click.Context, _param: click.Parameter, given: str | None) -> None:
    if given is not None:
        import_module(f"salver.like.{given}").install()


like_option = click.option(
    "--like",
    type=click.Choice(["ray"]),
    callback=_install,
    expose_value=False,
    help="Answer `import ray` and `from ray import serve` in the program.",
)
