"""What a deployment asks of the machine."""

from __future__ import annotations

from typing import Any

import pytest

from salver.control.targets import resources_of
from salver.core.ports import Resources
from salver.spec.app import DeploymentSpec, ImportedCode
from salver.spec.ids import DeploymentId
from salver.spec.options import DeploymentOptions


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Resources()),
        ({"num_cpus": 2, "resources": {"tpu": 1.0}}, Resources(2, 0, 0, {"tpu": 1.0})),
        (
            {
                "num_cpus": 1,
                "placement_group_bundles": [{"CPU": 1, "GPU": 1}, {"CPU": 2, "GPU": 1, "x": 3}],
            },
            Resources(3, 2, 0, {"x": 3}),
        ),
        (
            {"num_gpus": 1, "accelerator_type": "H100"},
            Resources(0, 1, 0, {"accelerator_type:H100": 0.001}),
        ),
    ],
)
def test_a_replica_takes_its_own_or_all_of_its_bundles(
    options: dict[str, Any], expected: Resources
) -> None:
    spec = DeploymentSpec(
        DeploymentId("D"), ImportedCode("m", "C"), b"", DeploymentOptions(**options), "1"
    )
    assert resources_of(spec) == expected
