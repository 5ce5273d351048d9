"""A wheel without a network or a build tool: a zip with the few files that make it one."""

from __future__ import annotations

import zipfile
from pathlib import Path

__all__ = ("make_wheel",)


def make_wheel(folder: Path, name: str, content: str, version: str = "1.0") -> Path:
    """A wheel of one module; its path."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", content)
        wheel.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")
    return path
