"""The options of autoscaling: read in every form, wrong ones named."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest

from salver.serve.config import AutoscalingConfig, AutoscalingPolicy
from salver.spec.autoscaling import read_autoscaling
from salver.spec.code import ImportedCode, PickledCode
from salver.spec.options import DeploymentOptions
from salver.spec.structs import meta


def rule(ctx: Any) -> tuple[int, dict[str, Any]]:
    return 1, {}


def test_the_defaults_are_those_that_users_know() -> None:
    config = AutoscalingConfig()
    assert (config.min_replicas, config.initial_replicas, config.max_replicas) == (1, None, 1)
    assert config.target_ongoing_requests == 2
    assert (config.look_back_period_s, config.metrics_interval_s) == (30, 10)
    assert (config.upscale_delay_s, config.downscale_delay_s) == (30, 600)
    assert config.downscale_to_zero_delay_s is None
    assert config.to_zero_delay_s == 600
    assert config.aggregation_function == "mean"
    assert config.policy.is_default


@pytest.mark.parametrize("name", [f.name for f in msgspec.structs.fields(AutoscalingConfig)])
def test_every_field_says_what_it_means(name: str) -> None:
    assert (meta(AutoscalingConfig, name).description or "").endswith(".")


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"min_replica": 1}, TypeError, r"'min_replica' is not a field.*mean min_replicas\?"),
        ({"min_replicas": -1}, ValueError, r"^min_replicas=-1 is not valid: expected int >= 0\."),
        ({"max_replicas": 0}, ValueError, r"^max_replicas=0 is not valid: expected int >= 1\."),
        ({"max_replicas": "3"}, TypeError, r"^max_replicas='3' is not valid: expected int, got"),
        ({"min_replicas": 3}, ValueError, r"^max_replicas=1 is less than min_replicas=3"),
        ({"initial_replicas": 3}, ValueError, r"^initial_replicas=3 is not valid: expected"),
        ({"target_ongoing_requests": 0}, ValueError, r"^target_ongoing_requests=0 is not valid"),
        ({"upscaling_factor": 0}, ValueError, r"^upscaling_factor=0 is not valid"),
        ({"upscale_delay_s": -1}, ValueError, r"^upscale_delay_s=-1 is not valid"),
        ({"aggregation_function": "sum"}, ValueError, r"^aggregation_function='sum' is not valid"),
        ({"policy": 3}, TypeError, r"^policy=3 is not valid: expected an AutoscalingPolicy"),
        (
            {"policy": {"policy_functio": "a:b"}},
            TypeError,
            r"'policy_functio' is not a field of policy. Did you mean policy_function\?",
        ),
        ({"policy": {"policy_function": "nowhere"}}, TypeError, r"^policy_function='nowhere' is"),
        (
            {"policy": {"policy_function": rule, "policy_kwargs": {"a": object()}}},
            ValueError,
            r"^policy_kwargs=.*JSON can hold",
        ),
    ],
)
def test_what_is_wrong_is_named_in_both_forms(
    fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        AutoscalingConfig(**fields)
    with pytest.raises(error, match=message):
        read_autoscaling(fields)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"smoothing_factor": 0.5}, {"upscaling_factor": 0.5, "downscaling_factor": 0.5}),
        ({"upscale_smoothing_factor": 0.5}, {"upscaling_factor": 0.5}),
        ({"downscale_smoothing_factor": 0.5}, {"downscaling_factor": 0.5}),
    ],
)
def test_old_names_mean_what_the_new_ones_do(old: dict[str, Any], new: dict[str, Any]) -> None:
    with pytest.warns(DeprecationWarning, match="is an old name: use"):
        config = AutoscalingConfig(**old)
    wanted = AutoscalingConfig(**new)
    assert (config.factor_up, config.factor_down) == (wanted.factor_up, wanted.factor_down)


def test_auto_keeps_what_the_user_has_set() -> None:
    for given in ({"max_replicas": 7}, AutoscalingConfig(max_replicas=7)):
        assert read_autoscaling(given, auto=True) == AutoscalingConfig(max_replicas=7)
    assert read_autoscaling(None, auto=True).max_replicas == 100


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, 1.0),
        ({"look_back_period_s": 2}, 0.4),
        ({"metrics_interval_s": 0.1}, 0.1),
        ({"look_back_period_s": 600}, 1.0),
    ],
)
def test_no_report_of_the_load_is_older_than_a_second(
    fields: dict[str, Any], seconds: float
) -> None:
    assert AutoscalingConfig(**fields).report_s == pytest.approx(seconds)


@pytest.mark.parametrize("code", [PickledCode(b"1"), ImportedCode("a", "b"), "a:b", "a.b"])
def test_it_travels_with_the_options(code: Any) -> None:
    policy = AutoscalingPolicy(code, {"a": [1]})
    options = DeploymentOptions(autoscaling_config=AutoscalingConfig(policy=policy))
    packed = msgspec.msgpack.encode(options)
    assert msgspec.msgpack.decode(packed, type=DeploymentOptions) == options


def test_it_can_be_pickled_with_the_function_itself() -> None:
    config = AutoscalingConfig(policy=AutoscalingPolicy(rule))
    assert pickle.loads(pickle.dumps(config)) == config
