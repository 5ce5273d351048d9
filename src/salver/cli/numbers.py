"""Numbers with bounds, called by their plain names in help and in errors."""

from __future__ import annotations

import math
from typing import Any

import click

__all__ = ("Number", "Whole")


class Whole(click.IntRange):
    """A whole number."""

    name = "integer"


class Number(click.FloatRange):
    """Any number."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A finite one: `nan` and `inf` are no amounts."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number
