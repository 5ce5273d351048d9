"""What the environment may decide, and how it is told that it cannot."""

from __future__ import annotations

import pytest

from salver.settings import Settings


def test_what_is_set_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_HTTP_HOST", "0.0.0.0")
    monkeypatch.setenv("SALVER_HTTP_PORT", "0")
    monkeypatch.setenv("SALVER_LOG_LEVEL", "debug")
    monkeypatch.setenv("RAY_SERVE_FORCE_LOCAL_TESTING_MODE", "1")
    settings = Settings.read()
    assert settings.local_testing
    assert (settings.http_host, settings.http_port, settings.log_level) == ("0.0.0.0", 0, "DEBUG")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SALVER_HTTP_PORT", "x", r"^SALVER_HTTP_PORT='x' is not a port"),
        ("SALVER_LOG_LEVEL", "LOUD", r"^SALVER_LOG_LEVEL='LOUD' is not a level"),
    ],
)
def test_what_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        Settings.read()
