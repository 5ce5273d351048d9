"""The JSON schema says what the reader says, and the copy in docs/ is fresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from salver.cli.schema import schema_text
from salver.spec.json_schema import config_schema
from salver.spec.options import DeploymentOptions, description
from tests.spec.test_file import VALID

COPY = Path(__file__).resolve().parents[2] / "docs" / "config.schema.json"


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_a_valid_file_is_valid(validator: Any) -> None:
    validator.validate(yaml.safe_load(VALID))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("EveryNode", "Everywhere"),
        ("port: 8080", "port: 80800"),
        ("num_replicas: 2", "num_replicas: 0"),
        ("num_replicas: 2", "num_replica: 2"),
        ("num_cpus: 0.5", "num_cpu: 1"),
        ("name: Cart", "max_ongoing_requests: 3"),
        ("route_prefix: /shop", "route_prefx: /shop"),
        ("working_dir: code", "conda: code"),
        ("import_path: shop.main:app", "args: {}"),
    ],
)
def test_a_wrong_file_is_wrong(validator: Any, old: str, new: str) -> None:
    assert old in VALID
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(yaml.safe_load(VALID.replace(old, new, 1)))


def test_every_option_is_in_it_with_its_meaning() -> None:
    entry = config_schema()["$defs"]["DeploymentEntry"]["properties"]
    for field in msgspec.structs.fields(DeploymentOptions):
        text = str(entry[field.name])
        assert description(field.name)[:40] in text, field.name


def test_a_file_does_not_set_what_it_leaves_out() -> None:
    """Editors must not fill in defaults: an option that is not there leaves the code's value."""
    entry = config_schema()["$defs"]["DeploymentEntry"]["properties"]
    assert [name for name, schema in entry.items() if "default" in schema] == []


def test_the_copy_in_docs_is_fresh() -> None:
    stale = f"run `salver schema > {COPY.relative_to(COPY.parents[1])}`"
    assert COPY.read_text() == schema_text(), stale
