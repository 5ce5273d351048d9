"""How processes log: what may be said, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from salver import deployment
from salver.spec.logging import EncodingType, LoggingConfig, read_logging


def test_each_form_is_understood() -> None:
    config = LoggingConfig(encoding="JSON", log_level="debug")  # type: ignore[arg-type]
    assert read_logging({"encoding": "JSON", "log_level": 10}) == config
    assert (config.encoding, config.log_level) == (EncodingType.JSON, "DEBUG")
    assert read_logging(config) is config
    assert read_logging(None) is None


def test_it_is_the_same_after_it_has_travelled() -> None:
    config = LoggingConfig(log_level="15", additional_log_standard_attrs=("name", "name"))
    assert config.additional_log_standard_attrs == ("name",)
    assert msgspec.convert(msgspec.to_builtins(config), LoggingConfig) == config


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("DEBUG", TypeError, r"^logging_config='DEBUG' is not valid: expected a dict"),
        (
            {"level": 1},
            TypeError,
            r"^'level' is not a key of logging_config. Did you",
        ),
        (
            {"log_level": "LOUD"},
            ValueError,
            r"^log_level='LOUD' is not valid: expected one",
        ),
        ({"log_level": True}, ValueError, r"^log_level=True is not valid"),
        (
            {"encoding": "XML"},
            ValueError,
            r"^encoding='XML' is not valid: expected 'TEXT'",
        ),
        ({"logs_dir": 1}, ValueError, r"^logs_dir=1 is not valid"),
        (
            {"enable_access_log": 1},
            TypeError,
            r"^enable_access_log=1 is not valid",
        ),
        (
            {"additional_log_standard_attrs": ["nam"]},
            ValueError,
            r"^'nam' is not an attribute of Python's log records. Did you mean name\?$",
        ),
        ({"additional_log_standard_attrs": "name"}, TypeError, r"expected a list of names"),
    ],
)
def test_what_is_wrong_is_named(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_logging(given)
    with pytest.raises(error, match=message):
        deployment(logging_config=given)


def test_set_logging_config_changes_the_deployment_in_place() -> None:
    made = deployment(lambda: 1)
    made.set_logging_config({"log_level": "DEBUG"})
    assert made.logging_config == LoggingConfig(log_level="DEBUG")
    assert made.options(num_replicas=2).logging_config == LoggingConfig(log_level="DEBUG")
