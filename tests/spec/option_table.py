"""The table of options in docs/deployments.md: `python -m tests.spec.option_table` writes it."""

from __future__ import annotations

import re

import msgspec

from salver.spec.options import DeploymentOptions, change_of, description
from salver.spec.structs import default
from tests.conftest import ROOT

DOCUMENT = ROOT / "docs" / "deployments.md"
PLACE = re.compile(r"(<!-- options -->\n).*?(<!-- end of options -->)", re.DOTALL)
CHANGES = {
    "nothing": "touches no replica",
    "reconfigure": "in place",
    "restart": "new replicas",
}


def table() -> str:
    lines = ["| option | default | what it means | a change of it |", "|---|---|---|---|"]
    for name in DeploymentOptions.__struct_fields__:
        value = default(DeploymentOptions, name)
        shown = "see above" if isinstance(value, msgspec.Struct) else f"`{value!r}`"
        meaning = description(name).replace("|", "\\|")
        lines.append(f"| `{name}` | {shown} | {meaning} | {CHANGES[change_of(name)]} |")
    return "\n".join(lines)


def main() -> None:
    text = DOCUMENT.read_text()
    DOCUMENT.write_text(PLACE.sub(lambda m: f"{m[1]}{table()}\n{m[2]}", text))


if __name__ == "__main__":
    main()
