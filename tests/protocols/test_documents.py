"""Our OpenAPI documents are true: Schemathesis calls what they say and checks what comes."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    schemathesis = import_module("schemathesis")
    # That as many elements are given as the shape holds is more than a JSON schema can say.
    accepted = import_module("schemathesis.specs.openapi.checks").positive_data_acceptance

# What `add_sub` itself raises over inputs that are each right, but of different lengths.
RAISED = "ValueError: operands could not be broadcast"

CALLS = settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


# How many paths the documents have: `count` yields, and so answers as a stream only.
PATHS = {"identity": 8, "add_sub": 8, "upper": 8, "count": 5, "typed": 8, "double": 8}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", PATHS)
def test_a_model_does_what_its_document_says(http: httpx.Client, server: str, model: str) -> None:
    document = http.get(f"/v2/models/{model}/docs/dataplane.json").json()
    schema = schemathesis.openapi.from_dict(document)
    called = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @CALLS
        @given(case=operation.as_strategy())
        def call(case: Any) -> None:
            response = case.call(base_url=server)
            if RAISED not in response.text:
                assert response.status_code != 500, response.text
                case.validate_response(response, excluded_checks=[accepted])

        call()
        called += 1
    assert called == PATHS[model]


@pytest.mark.parametrize("model", [*PATHS, "scores", "batched", "versioned", "person"])
def test_what_a_document_shows_is_answered(http: httpx.Client, model: str) -> None:
    document = http.get(f"/v2/models/{model}/docs/dataplane.json").json()
    posts = {path: found["post"] for path, found in document["paths"].items() if "post" in found}
    shown = 0
    for path, operation in posts.items():
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
        for example in schema["examples"]:
            response = http.post(path, json=example)
            assert response.status_code == 200, (path, example, response.text)
            shown += 1
    assert shown == len(posts) >= 3


@pytest.mark.filterwarnings("ignore")
def test_the_server_s_document_is_an_openapi_document(http: httpx.Client) -> None:
    schema = schemathesis.openapi.from_dict(http.get("/v2/docs/dataplane.json").json())
    assert len(list(schema.get_all_operations())) > 10
