"""What the controller's process is given: every form of it, and what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from salver.serve.config import ControllerOptions
from salver.spec.controller import ControllerEnv, read_controller_options

GIVEN: dict[str, Any] = {"runtime_env": {"env_vars": {"REGION": "south"}}}


@pytest.mark.parametrize(
    ("given", "variables"),
    [
        (GIVEN, {"REGION": "south"}),
        (ControllerOptions(**GIVEN), {"REGION": "south"}),
        (ControllerOptions(runtime_env=ControllerEnv(env_vars={"A": ""})), {"A": ""}),
        ({"runtime_env": {"env_vars": None}}, {}),
        ({"runtime_env": {}}, {}),
        ({"runtime_env": None}, {}),
        ({}, {}),
    ],
)
def test_each_form_is_understood(given: Any, variables: dict[str, str]) -> None:
    read = read_controller_options(given)
    assert read is not None
    assert read.variables == variables


def test_nothing_said_is_nothing() -> None:
    assert read_controller_options(None) is None


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (5, TypeError, r"^controller_options=5 is not valid: expected a dict such as"),
        ({"runtime_en": {}}, TypeError, r"'runtime_en' is not a key .* Did you mean runtime_env\?"),
        ({"runtime_env": 5}, TypeError, r"^controller_options\['runtime_env'\]=5 is not valid"),
        ({"runtime_env": {"pip": []}}, ValueError, r"'pip' is not one of its keys\. Known: env_v"),
        (
            {"runtime_env": {"env_vars": ["A"]}},
            TypeError,
            r"^controller_options\['runtime_env'\]\['env_vars'\]=\['A'\] is not valid: expected di",
        ),
        (
            {"runtime_env": {"env_vars": {"A": 1}}},
            TypeError,
            r"^controller_options\['runtime_env'\]\['env_vars'\]\['A'\]=1 is not valid: expec",
        ),
        ({"runtime_env": {"env_vars": {"A=B": ""}}}, ValueError, r"named 'A=B': expected a name w"),
        ({"runtime_env": {"env_vars": {"": "a"}}}, ValueError, r"named '': expected a name"),
        ({"runtime_env": {"env_vars": {"A": "\0"}}}, ValueError, r"named 'A': .*no NUL"),
    ],
)
def test_what_is_wrong_is_named(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_controller_options(given)


def test_options_are_checked_where_they_are_made() -> None:
    with pytest.raises(TypeError, match=r"^'env_vars' is not a field of ControllerOptions\. Known"):
        ControllerOptions(env_vars={})  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^runtime_env\['env_vars'\]\['A'\]=1 is not valid"):
        ControllerOptions(runtime_env={"env_vars": {"A": 1}})  # type: ignore[arg-type]


def test_options_are_written_down_as_they_are_given() -> None:
    assert ControllerOptions(**GIVEN).model_dump() == GIVEN
    assert ControllerOptions.model_validate(GIVEN) == ControllerOptions(**GIVEN)
