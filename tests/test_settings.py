"""What the environment may decide, and how it is told that it cannot."""

from __future__ import annotations

import pytest

from salver.settings import Settings
from salver.spec.variables import HONOURED, told


def test_what_is_set_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_HTTP_HOST", "0.0.0.0")
    monkeypatch.setenv("SALVER_HTTP_PORT", "0")
    monkeypatch.setenv("SALVER_LOG_LEVEL", "debug")
    monkeypatch.setenv("RAY_SERVE_FORCE_LOCAL_TESTING_MODE", "1")
    settings = Settings.read()
    assert settings.local_testing
    assert (settings.http_host, settings.http_port, settings.log_level) == ("0.0.0.0", 0, "DEBUG")


def test_ray_serve_s_host_is_taken_where_ours_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_DEFAULT_HTTP_HOST", "::1")
    monkeypatch.setenv("RAY_SERVE_MADE_UP", "1")
    assert Settings.read().http_host == "::1"
    assert {"RAY_SERVE_DEFAULT_HTTP_HOST", "RAY_SERVE_MADE_UP"} <= {*Settings.read().ray_variables}
    monkeypatch.setenv("SALVER_HTTP_HOST", "0.0.0.0")
    assert Settings.read().http_host == "0.0.0.0"


def test_what_ray_serve_s_users_set_of_sessions_and_figures_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Settings.read().session_id_header == "x-session-id"
    assert Settings.read().autoscaling_stats_timeout_s == 10.0
    monkeypatch.setenv("RAY_SERVE_SESSION_ID_HEADER_KEY", "X-Chat-ID")
    monkeypatch.setenv("RAY_SERVE_RECORD_AUTOSCALING_STATS_TIMEOUT_S", "2.5")
    assert Settings.read().session_id_header == "X-Chat-ID"
    assert Settings.read().autoscaling_stats_timeout_s == 2.5


@pytest.mark.parametrize("text", ['{"X-Tenant": "me"}', '[["X-Tenant", "me"]]'])
def test_a_prometheus_server_has_its_address_and_headers_there(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("RAY_PROMETHEUS_HOST", "metrics:9090")
    monkeypatch.setenv("RAY_PROMETHEUS_HEADERS", text)
    settings = Settings.read()
    assert settings.prometheus_host == "metrics:9090"
    assert settings.prometheus_headers == (("X-Tenant", "me"),)


def test_variables_that_mean_nothing_are_told_with_the_reason() -> None:
    set_here = ("RAY_SERVE_USE_GRPC_BY_DEFAULT", "RAY_SERVE_MADE_UP", "RAY_SERVE_DEFAULT_HTTP_HOST")
    assert told(set_here) == (
        "RAY_SERVE_MADE_UP (not known here); RAY_SERVE_USE_GRPC_BY_DEFAULT (there is one way for "
        "all calls, and it is the fast one)"
    )
    assert told(HONOURED) == ""


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SALVER_HTTP_PORT", "x", r"^SALVER_HTTP_PORT='x' is not a port"),
        ("SALVER_LOG_LEVEL", "LOUD", r"^SALVER_LOG_LEVEL='LOUD' is not a level"),
        (
            "RAY_SERVE_SESSION_ID_HEADER_KEY",
            "x chat",
            r"^RAY_SERVE_SESSION_ID_HEADER_KEY='x chat' is not the name of a header",
        ),
        (
            "RAY_SERVE_RECORD_AUTOSCALING_STATS_TIMEOUT_S",
            "0",
            r"^RAY_SERVE_RECORD_AUTOSCALING_STATS_TIMEOUT_S='0' is not a time: expected seconds",
        ),
        (
            "RAY_PROMETHEUS_HEADERS",
            '["me"]',
            r"""^RAY_PROMETHEUS_HEADERS='\["me"\]' is not valid: expected JSON such as""",
        ),
    ],
)
def test_what_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        Settings.read()
