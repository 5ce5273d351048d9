"""Configuration objects have the methods of pydantic models, as Ray Serve's have."""

from __future__ import annotations

import re
from typing import Any

import pytest

from salver.serve.config import (
    AutoscalingConfig,
    AutoscalingPolicy,
    BackpressureConfig,
    DeploymentActorConfig,
    DeploymentID,
    GangSchedulingConfig,
    HTTPOptions,
    LoggingConfig,
    RequestRouterConfig,
    gRPCOptions,
)
from salver.serve.request_router import ReplicaID
from salver.serve.schema import CeleryAdapterConfig, TaskProcessorConfig

MODELS = [
    AutoscalingConfig(max_replicas=5, policy=AutoscalingPolicy("rules:mine", {"step": 2})),
    RequestRouterConfig(request_router_class="rules:Router", request_router_kwargs={"a": 1}),
    BackpressureConfig(429, 2.5),
    HTTPOptions(port=1, root_path="/api"),
    gRPCOptions(port=2, grpc_servicer_functions=["a_pb2_grpc.add_A_to_server"]),
    LoggingConfig(encoding="JSON", log_level=10),  # type: ignore[arg-type]
    GangSchedulingConfig(gang_size=2),
    DeploymentActorConfig("counts", "shop:Counts", init_args=(1,)),
    CeleryAdapterConfig(broker_url="memory://", backend_url="cache+memory://"),
    TaskProcessorConfig(queue_name="q", adapter_config={"broker_url": "memory://"}),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_what_is_written_down_is_read_again(model: Any) -> None:
    kind = type(model)
    assert kind.parse_obj(model.dict()) == model
    assert kind.model_validate(model.model_dump(exclude_unset=True)) == model
    assert kind.parse_obj(model) is model
    assert model.copy() == model.model_copy(deep=True) == model
    assert kind.parse_raw(model.json()).dict().keys() == model.dict().keys()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_keyword_that_does_not_exist_is_answered_with_the_nearest(model: Any) -> None:
    kind = type(model)
    field = kind.__struct_fields__[0]
    said = f"'{field}s' is not a field of {kind.__name__}. Did you mean {field}?"
    with pytest.raises(TypeError, match=f"^{re.escape(said)}$"):
        kind(**{f"{field}s": 1})


def test_dumps_hold_plain_data_and_what_is_asked_for() -> None:
    config = MODELS[0]
    policy = {"policy_function": "rules:mine", "policy_kwargs": {"step": 2}}
    assert config.dict(exclude_unset=True) == {"max_replicas": 5, "policy": policy}
    assert config.dict()["policy"] == policy
    assert config.dict(include={"max_replicas", "policy"}, exclude={"policy"}) == {
        "max_replicas": 5
    }
    assert "initial_replicas" not in config.dict(exclude_none=True)
    assert config.model_dump(mode="json")["aggregation_function"] == "mean"
    assert config.model_dump_json(exclude_defaults=True).startswith('{"max_replicas": 5, "policy"')
    assert AutoscalingConfig.model_validate_json(config.json()) == config


def test_a_copy_s_changes_are_checked() -> None:
    config = AutoscalingConfig(max_replicas=5)
    assert config.copy(update={"min_replicas": 2}) == AutoscalingConfig(
        min_replicas=2, max_replicas=5
    )
    assert config.min_replicas == 1
    with pytest.raises(ValueError, match="max_replicas=5 is less than min_replicas=6"):
        config.model_copy(update={"min_replicas": 6})
    with pytest.raises(TypeError, match="Did you mean max_replicas"):
        config.copy(update={"max_replica": 6})
    with pytest.raises(TypeError, match="AutoscalingConfig is made from a dict of its fields"):
        AutoscalingConfig.parse_obj(3)


def test_ids_are_made_by_the_names_of_their_parts() -> None:
    deployment = DeploymentID(name="Shop", app_name="app")
    assert (deployment.name, deployment.app_name) == ("Shop", "app")
    assert DeploymentID(name="Shop") == DeploymentID("Shop", "default")
    replica = ReplicaID(unique_id="abc", deployment_id=deployment)
    assert replica.to_full_id_str() == "app#Shop#abc"
    assert ReplicaID.from_full_id_str("app#Shop#abc") == replica
