"""Numbers with bounds, called by their plain names in help and in errors."""

from __future__ import annotations

import click

__all__ = ("Number", "Whole")


class Whole(click.IntRange):
    """A whole number."""

    name = "integer"


class Number(click.FloatRange):
    """Any number."""

    name = "number"
