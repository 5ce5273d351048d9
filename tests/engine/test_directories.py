from __future__ import annotations

import tempfile

import pytest

from salver.engine.directories import runtimes


def test_runtime_directories_lie_in_the_temporary_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp/mine")
    assert runtimes() == "/var/tmp/mine"


def test_a_temporary_directory_too_deep_for_sockets_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp" + "/deep" * 20)
    assert runtimes() == "/tmp"
