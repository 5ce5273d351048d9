"""`--like ray`: programs whose imports name another system, in this command and all it starts."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

__all__ = ("like_option", "like_words")

_WORDS: Final = "salver.like"


def like_words() -> str:
    """` --like ray` where this command was told so, for the command that it says comes next."""
    words: str = click.get_current_context().meta.get(_WORDS, "")
    return words


def _install(ctx: click.Context, _param: click.Parameter, given: str | None) -> None:
    if given is not None:
        ctx.meta[_WORDS] = f" --like {given}"
        import_module(f"salver.like.{given}").install()


like_option = click.option(
    "--like",
    type=click.Choice(["ray"]),
    callback=_install,
    expose_value=False,
    help="Answer `import ray` and `from ray import serve` in the program.",
)
