"""`salver schema`: the configuration file's JSON schema."""

from __future__ import annotations

import json

import click

from salver.spec.json_schema import config_schema

__all__ = ("schema", "schema_text")

EXAMPLES = """Print the JSON schema of configuration files: editors complete and check them by it.

\b
Example:
    salver schema > salver.schema.json
and, as the first line of config.yaml, for editors with a YAML language server:
    # yaml-language-server: $schema=salver.schema.json
"""


@click.command(help=EXAMPLES)
def schema() -> None:
    """Print it."""
    click.echo(schema_text(), nl=False)


def schema_text() -> str:
    """As it is printed, and as it is kept in docs/."""
    return json.dumps(config_schema(), indent=2) + "\n"
