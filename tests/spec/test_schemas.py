"""A configuration file as objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from salver.cli.apps import read_file
from salver.serve import schema
from salver.serve.config import AutoscalingConfig, LoggingConfig
from salver.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    ProxyStatus,
    ServeApplicationSchema,
    ServeDeploySchema,
    gRPCOptionsSchema,
)


def whole() -> ServeDeploySchema:
    shop = DeploymentSchema(
        name="Shop", max_ongoing_requests=7, autoscaling_config=AutoscalingConfig(max_replicas=3)
    )
    return ServeDeploySchema(
        http_options=HTTPOptionsSchema(port=8001),
        grpc_options={"port": 9001},
        logging_config={"log_level": "DEBUG"},
        controller_options={"runtime_env": {"env_vars": {"REGION": "south"}}},
        applications=[
            ServeApplicationSchema(name="one", import_path="shop:app", deployments=[shop]),
            {"name": "two", "import_path": "shop.other", "route_prefix": "/two", "args": {"a": 1}},
        ],
    )


def test_parts_are_objects_with_the_file_s_defaults() -> None:
    file = whole()
    one, two = file.applications
    assert (one.name, one.route_prefix, one.deployment_names) == ("one", "/", ["Shop"])
    assert (two.args, two.deployments, two.external_scaler_enabled) == ({"a": 1}, [], False)
    assert (one.deployments[0].max_ongoing_requests, one.deployments[0].num_replicas) == (7, None)
    assert (file.http_options.port, file.http_options.host) == (8001, "127.0.0.1")
    assert (file.grpc_options.port, file.grpc_options.enable_reflection) == (9001, True)
    assert file.logging_config == LoggingConfig(log_level="DEBUG")
    assert file.controller_options.variables == {"REGION": "south"}
    assert file.target_capacity is None
    with pytest.raises(AttributeError, match="has no field 'aplications'"):
        file.aplications  # noqa: B018


def test_what_is_written_down_is_a_file_that_runs(tmp_path: Path) -> None:
    file = whole()
    written = file.model_dump(mode="json", exclude_unset=True)
    assert written["applications"][0]["deployments"] == [
        {"name": "Shop", "max_ongoing_requests": 7, "autoscaling_config": {"max_replicas": 3}}
    ]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(written))
    config, _ = read_file(str(tmp_path / "config.yaml"))
    assert [app.import_path for app in config.applications] == ["shop:app", "shop:other"]
    assert ServeDeploySchema.parse_obj(written) == file
    assert ServeDeploySchema.model_validate_json(file.json(exclude_unset=True)) == file
    changed = file.copy(update={"target_capacity": 50})
    assert (changed.target_capacity, changed.http_options) == (50, file.http_options)


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        (DeploymentSchema, {"name": "A", "num_replicas": 0}, "^DeploymentSchema is not valid: num"),
        (DeploymentSchema, {"num_replicas": 1}, "name is missing"),
        (DeploymentSchema, {"name": "A", "num_replica": 1}, "Did you mean num_replicas"),
        (DeploymentSchema, {"name": "A", "user_config": print}, "expected what JSON can hold"),
        (ServeApplicationSchema, {"import_path": "a"}, "expected 'module:name'"),
        (ServeApplicationSchema, {"name": "a"}, "import_path is missing"),
        (ServeDeploySchema, {"applications": []}, "at least one app"),
        (ServeDeploySchema, {"applications": [{"import_path": "a:b"}] * 2}, "the name 'default'"),
        (HTTPOptionsSchema, {"port": -1}, "http_options"),
        (gRPCOptionsSchema, {"port": "x"}, "grpc_options"),
    ],
)  # fmt: skip
def test_mistakes_are_told_where_it_is_made(kind: Any, given: Any, told: str) -> None:
    with pytest.raises((TypeError, ValueError), match=told):
        kind(**given)


def test_what_belongs_to_the_operated_service_is_refused_by_name() -> None:
    with pytest.raises(ImportError, match=r"^ServeInstanceDetails is not there in this version"):
        from salver.serve.schema import ServeInstanceDetails  # noqa: F401
    with pytest.raises(ImportError, match=r"^ScaleDeploymentRequest is not there.*REST interface"):
        from salver.serve.schema import ScaleDeploymentRequest  # noqa: F401
    assert not hasattr(schema, "NoSuchName")


def test_a_door_s_state_has_its_name() -> None:
    assert ProxyStatus("HEALTHY") is ProxyStatus.HEALTHY
    assert ProxyStatus.UNHEALTHY == "UNHEALTHY"
