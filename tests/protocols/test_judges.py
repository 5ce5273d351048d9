"""A judge that is not there is no judge that is content."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.protocols.judges import installed

NOBODY = ("salver-has-no-such-judge==1",)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> object:
    """A cache in which nothing is installed, and no index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("NO_JUDGES", raising=False)
    monkeypatch.setattr(pytestconfig.cache, "mkdir", lambda name: _made(tmp_path / name))
    return pytestconfig


def _made(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def test_a_judge_that_cannot_be_installed_is_a_failure(config: pytest.Config) -> None:
    with pytest.raises(pytest.fail.Exception, match="cannot be installed"):
        installed(config, NOBODY)


def test_who_has_no_index_says_so(config: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_JUDGES", "1")
    with pytest.raises(pytest.skip.Exception, match="NO_JUDGES=1"):
        installed(config, NOBODY)
