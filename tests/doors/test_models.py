"""Looking up which deployment answers for a model."""

from __future__ import annotations

from typing import Any

import pytest

from salver.doors.models import ModelTable
from salver.oip.errors import ModelNotFoundError
from salver.spec.ids import DeploymentId
from salver.spec.status import ModelView

D = DeploymentId("D", "app")


def table(*models: tuple[str, str]) -> ModelTable:
    router: Any = object()
    return ModelTable(
        (ModelView(name, version, D, "m") for name, version in models), lambda _: router
    )


def test_a_model_is_found_by_name_and_version() -> None:
    models = table(("m", "1"), ("m", "10"), ("n", ""))
    assert models.find("m").view.version == "10"
    assert models.find("m", "1").view.version == "1"
    assert models.find("n").view.name == "n"
    assert models.versions("m") == ["1", "10"]
    assert models.versions("n") == []
    assert len(list(models)) == 3


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(ModelNotFoundError, match=r"^Model 'x' is not known\.$"):
        table().find("x")
    with pytest.raises(ModelNotFoundError, match=r"^Model 'm' has no version '2'\.$"):
        table(("m", "1")).find("m", "2")
    assert not table()
