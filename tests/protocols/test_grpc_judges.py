"""KServe's gRPC client, and the code that is generated from the protocol's own file."""

from __future__ import annotations

import pytest

from tests.protocols.judges import ALIKE, KSERVE, SPECIFICATION, answers, installed


@pytest.mark.timeout(600)  # the first time it is installed
def test_the_grpc_client_of_kserve_is_answered(
    grpc_address: str, pytestconfig: pytest.Config
) -> None:
    packages = installed(pytestconfig, KSERVE)
    assert answers(packages, "kserve_grpc_client.py", grpc_address) == ALIKE


@pytest.mark.timeout(600)
def test_the_stub_of_the_specification_is_answered(
    grpc_address: str, pytestconfig: pytest.Config
) -> None:
    packages = installed(pytestconfig, SPECIFICATION)
    assert answers(packages, "specification_client.py", grpc_address) == [
        "live True",
        "ready True",
        "model True",
        "salver",
        "add_sub ['a', 'b'] ['sum', 'difference']",
        "typed [1.0, 2.0, 3.0]",
        "raw True",
        "StatusCode.NOT_FOUND",
    ]
