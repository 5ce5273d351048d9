"""KServe's Python client over REST."""

from __future__ import annotations

import pytest

from tests.protocols.judges import ALIKE, KSERVE, answers, installed


@pytest.mark.timeout(600)  # the first time it is installed
def test_the_client_of_kserve_is_answered(server: str, pytestconfig: pytest.Config) -> None:
    packages = installed(pytestconfig, KSERVE)
    assert answers(packages, "kserve_client.py", server) == [
        *ALIKE,
        "v1 {'predictions': [2.0, 4.0]}",
        "v1 ready True",
    ]
