"""Code of an app's for processes that import no app."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from salver.origin import is_installed
from salver.portable import portable_router
from salver.spec.code import ImportedCode, PickledCode
from salver.spec.routing import RequestRouterConfig

BASE = """
import threading
from salver.serve.request_router import RequestRouter

class Base(RequestRouter):
    def said(self):
        return "from the base"

{more}
"""
RULE = """
from portable_base import Base

class Rule(Base):
    async def choose_replicas(self, candidate_replicas, pending_request=None):
        return [candidate_replicas]

"""
LOAD = """
import pickle, sys
rule = pickle.load(sys.stdin.buffer)
print(rule.__name__, rule.said(None))
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of a user's modules, which this process finds and no other does."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("portable_base", "portable_rule"):
        sys.modules.pop(name, None)


def rule(folder: Path, more: str = "") -> ModuleType:
    (folder / "portable_base.py").write_text(BASE.format(more=more))
    (folder / "portable_rule.py").write_text(RULE)
    importlib.invalidate_caches()
    return importlib.import_module("portable_rule")


def code_of(module: ModuleType) -> object:
    config = portable_router(RequestRouterConfig(request_router_class=module.Rule))
    assert config is not None
    return config.request_router_class


def test_a_rule_travels_with_what_it_uses_of_the_user_s_other_modules(modules: Path) -> None:
    code = code_of(rule(modules))
    assert isinstance(code, PickledCode)
    loaded = subprocess.run([sys.executable, "-c", LOAD], input=code.data, capture_output=True)
    assert loaded.stdout.decode() == "Rule from the base\n", loaded.stderr.decode()


def test_what_cannot_travel_is_left_to_be_imported(modules: Path) -> None:
    holds = "CONNECTION = threading.current_thread()\nBase.uses = lambda self: CONNECTION"
    code = code_of(rule(modules, holds))
    assert isinstance(code, PickledCode)
    assert pickle.loads(code.data).__mro__[1] is sys.modules["portable_base"].Base


def test_a_rule_of_an_installed_package_goes_by_its_name(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = modules / "site-packages"
    packages.mkdir()
    monkeypatch.syspath_prepend(packages)
    code = code_of(rule(packages))
    assert is_installed("portable_base")
    assert code == ImportedCode("portable_rule", "Rule")
