"""What a process forgets before it imports changed code."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

import salver
from salver.cli.reload import forget


def _loaded(monkeypatch: pytest.MonkeyPatch, name: str, file: Path) -> None:
    module = ModuleType(name)
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, name, module)


def test_code_below_is_read_again_and_code_elsewhere_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _loaded(monkeypatch, "own", tmp_path / "app/own.py")
    _loaded(monkeypatch, "other", tmp_path / "elsewhere/other.py")
    forget(tmp_path / "app")
    assert "own" not in sys.modules
    assert "other" in sys.modules


def test_what_is_installed_stays_in_an_environment_that_lies_among_the_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packages = Path(sysconfig.get_path("purelib"))
    _loaded(monkeypatch, "installed", packages / "installed/__init__.py")
    forget(packages)
    assert "installed" in sys.modules


def test_salver_stays_where_it_runs_from_a_checkout() -> None:
    forget(Path(salver.__file__).parent / "cli")
    assert sys.modules["salver.cli.reload"].forget is forget
