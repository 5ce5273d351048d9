"""Looking up which deployment answers for a model."""

from __future__ import annotations

from typing import Any

import pytest

from salver.doors.inference import is_ready
from salver.doors.models import Model, ModelTable
from salver.oip.errors import ModelNotFoundError
from salver.spec.ids import DeploymentId
from salver.spec.status import DeploymentView, ModelView, ReplicaView

D = DeploymentId("D", "app")


@pytest.mark.parametrize(
    ("model", "view", "ready"),
    [
        ({}, None, False),
        ({}, {}, False),
        ({}, {"replicas": (ReplicaView("1", "memory:1"),)}, True),
        ({"withheld": True}, {"replicas": (ReplicaView("1", "memory:1"),)}, False),
        ({"wakes": True}, {}, True),
        ({"wakes": True}, {"gone": "it could not start"}, False),
    ],
)
def test_a_model_is_ready_when_a_call_will_be_answered(
    model: dict[str, bool], view: dict[str, Any] | None, ready: bool
) -> None:
    router: Any = None
    asked = Model(ModelView("m", "", D, "f", **model), router)
    seen = None if view is None else DeploymentView(D, 5, -1, **view)
    assert is_ready(asked, lambda _: seen) is ready


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
