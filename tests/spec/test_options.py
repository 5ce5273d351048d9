"""Every option once: known, checked, explained."""

from __future__ import annotations

import re
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from salver.spec.autoscaling import AutoscalingConfig
from salver.spec.backpressure import BackpressureConfig
from salver.spec.given import _PRIVATE, OptionsDict, merged_options, read_options
from salver.spec.options import DeploymentOptions, change_of, description
from salver.spec.placement import GangPlacementStrategy, GangSchedulingConfig
from tests.spec import option_table

FIELDS = [field.name for field in msgspec.structs.fields(DeploymentOptions)]


def test_what_the_decorator_takes_is_what_the_fields_are() -> None:
    """The names for editors are the fields, and those that Ray Serve has besides."""
    assert set(FIELDS) <= set(get_type_hints(OptionsDict))


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_says_what_it_means(name: str) -> None:
    assert description(name).endswith(".")


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_says_what_its_change_asks_of_living_replicas(name: str) -> None:
    assert change_of(name) in ("nothing", "reconfigure", "restart")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_gpus": 1.5}, ValueError, r"^num_gpus=1.5 is not valid: expected a share of one GPU"),
        (
            {"ray_actor_options": {"num_cpus": 4, "resources": {"CPU": 0.1}}},
            ValueError,
            r"^resources\['CPU'\]=0.1 is not valid: num_cpus says that",
        ),
        ({"resources": {"memory": 1}}, ValueError, r"^resources\['memory'\].* Give memory instead"),
        ({"num_replicas": 0}, ValueError, r"^num_replicas=0 is not valid: expected int >= 1\."),
        (
            {"num_replicas": "2"},
            TypeError,
            r"^num_replicas='2' is not valid: expected int, got str",
        ),
        (
            {"max_ongoing_requests": None},
            ValueError,
            r"^max_ongoing_requests=None .* expected int, got None",
        ),
        ({"max_queued_requests": 0}, ValueError, r"^max_queued_requests=0 .* at least 1\."),
        ({"num_cpus": -1}, ValueError, r"^num_cpus=-1 is not valid: expected float >= 0"),
        ({"user_config": object()}, ValueError, r"^user_config=<object .* JSON"),
        (
            {"ray_actor_options": 3},
            TypeError,
            r"^ray_actor_options=3 is not valid: expected a dict",
        ),
        ({"ray_actor_options": {"num_cpu": 1}}, ValueError, r"Did you mean num_cpus\?$"),
        ({"num_cpus": 1, "ray_actor_options": {"num_cpus": 1}}, ValueError, "given twice"),
        ({"num_replica": 2}, TypeError, r"^'num_replica' is not an option.*mean num_replicas\?$"),
        ({"version": "1"}, ValueError, r"^version='1' is not valid"),
        (
            {"backpressure_config": {"status_code": 404}},
            ValueError,
            r"^backpressure_config=\{.*status_code=404 is not valid: expected 503 or 429",
        ),
        (
            {"backpressure_config": {"retry_after": 1}},
            ValueError,
            r"'retry_after' is not one of its keys\. Did you mean retry_after_s\? What",
        ),
        (
            {"backpressure_config": {"retry_after_s": float("inf")}},
            ValueError,
            r"retry_after_s=inf is not valid: expected a finite number",
        ),
        ({"backpressure_config": 3}, TypeError, r"^backpressure_config=3 .* expected dict"),
        (
            {"num_replicas": "automatic"},
            TypeError,
            r'^num_replicas=.*"auto" or an autoscaling_config',
        ),
        (
            {"placement_group_strategy": "X"},
            ValueError,
            r"expected one of 'PACK', 'SPREAD', 'STRICT_PACK', 'STRICT_SPREAD'\.",
        ),
        (
            {"autoscaling_config": {"aggregation_function": "median"}},
            ValueError,
            r"expected one of 'mean', 'max', 'min'\..* default, 'mean'\.$",
        ),
        ({"max_surge_percent": 101}, ValueError, r"^max_surge_percent=101 .*expected int <= 100"),
        ({"rolling_update_percentage": 0}, ValueError, r"^rolling_update_percentage=0 .* > 0"),
        ({"rolling_update_percentage": 2}, ValueError, r"^rolling_update_percentage=2 .* <= 1"),
        ({"max_concurrent_queries": 5}, TypeError, r"=5: no option .* max_ongoing_requests now\.$"),
        ({"route_prefix": "/a"}, TypeError, r"given to `run\(app, route_prefix=\.\.\.\)`\.$"),
        ({"env_vars": {"A=B": ""}}, ValueError, r"^env_vars has a variable named 'A=B': expected"),
        (
            {"env_vars": {"": "a"}},
            ValueError,
            r"^env_vars has a variable named '': expected a name",
        ),
        (
            {"ray_actor_options": {"runtime_env": {"env_vars": {"A": "\0"}}}},
            ValueError,
            r"^runtime_env: env_vars has a variable named 'A': expected .* no NUL in it or in",
        ),
        (
            {"ray_actor_options": {"runtime_env": {"conda": "x"}}},
            NotImplementedError,
            r"^runtime_env\['conda'\]='x' is not supported: Salver makes pip environments only",
        ),
    ],
)
def test_what_is_wrong_is_named(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_options(options)


def test_what_asks_for_nothing_is_let_pass() -> None:
    neutral = {"autoscaling_config": None, "version": None}
    assert read_options({**neutral, "num_replicas": 2}) == {"num_replicas": 2}
    assert read_options({"deployment_actors": None}) == {"deployment_actors": []}


def test_num_replicas_auto_fills_in_what_the_config_leaves_out() -> None:
    auto = read_options({"num_replicas": "auto"})["autoscaling_config"]
    assert auto == AutoscalingConfig(min_replicas=1, max_replicas=100, target_ongoing_requests=2)
    some = {"num_replicas": "auto", "autoscaling_config": {"max_replicas": 7, "min_replicas": 0}}
    assert read_options(some)["autoscaling_config"] == AutoscalingConfig(
        min_replicas=0, max_replicas=7
    )


@pytest.mark.parametrize("given", [AutoscalingConfig(max_replicas=3), {"max_replicas": 3}])
def test_a_config_may_be_an_object_or_a_dict(given: Any) -> None:
    for number in ({}, {"num_replicas": None}):
        read = read_options({"autoscaling_config": given, **number})
        assert read == {"autoscaling_config": AutoscalingConfig(max_replicas=3)}


def test_a_number_and_autoscaling_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="Manually setting num_replicas is not allowed when"):
        read_options({"num_replicas": 2, "autoscaling_config": {"max_replicas": 3}})
    auto = read_options({"num_replicas": "auto"})
    assert merged_options(auto, {"num_replicas": 2}) == {"num_replicas": 2}
    assert merged_options({"num_replicas": 2}, auto) == auto
    assert merged_options(auto, {"max_ongoing_requests": 2}) == {**auto, "max_ongoing_requests": 2}
    off = merged_options({"num_replicas": 2}, read_options({"autoscaling_config": None}))
    assert off == {"num_replicas": 2, "autoscaling_config": None}


def test_the_options_of_a_process_are_fields_too() -> None:
    given = {"num_cpus": 2, "num_gpus": 0.5, "runtime_env": {"env_vars": {"A": "b"}}}
    fields = read_options({"ray_actor_options": given})
    assert DeploymentOptions(**fields) == DeploymentOptions(
        num_cpus=2.0, num_gpus=0.5, env_vars={"A": "b"}
    )


@pytest.mark.parametrize(
    "given",
    [{"status_code": 429, "retry_after_s": 2}, BackpressureConfig(429, 2.0)],
    ids=["dict", "object"],
)
def test_how_a_full_queue_answers(given: Any) -> None:
    fields = read_options({"backpressure_config": given})
    assert fields == {"backpressure_config": BackpressureConfig(429, 2.0)}
    assert read_options({"backpressure_config": None}) == {
        "backpressure_config": BackpressureConfig()
    }


@given(st.text(min_size=1))
def test_a_name_that_is_no_option_is_refused(name: str) -> None:
    # What stands in our source is tried, too: `_internal`, say, is a name that is known.
    assume(name not in get_type_hints(OptionsDict) and name not in _PRIVATE)
    with pytest.raises(TypeError, match=re.escape(repr(name))):
        read_options({name: 1})


def test_the_table_of_options_in_the_docs_is_fresh() -> None:
    """`python -m tests.spec.option_table` writes it."""
    assert option_table.table() in option_table.DOCUMENT.read_text()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"placement_group_strategy": "PACK"}, ValueError, "needs placement_group_bundles"),
        (
            {"placement_group_bundles": [{"CPU": 1}], "placement_group_strategy": "STACK"},
            ValueError,
            r"^placement_group_strategy='STACK' is not valid",
        ),
        (
            {"placement_group_bundle_label_selector": [{"a": "b"}]},
            ValueError,
            "needs placement_group_bundles",
        ),
        (
            {
                "placement_group_bundles": [{"CPU": 1}] * 3,
                "placement_group_bundle_label_selector": [{"a": "b"}] * 2,
            },
            ValueError,
            r"has 2 entries for 3 bundles: expected one for all, or one for each",
        ),
        (
            {"placement_group_bundles": [{"CPU": 1}, {"CPU": 9}], "num_cpus": 2},
            ValueError,
            r"asks for CPU=2, and its own bundle.* has 1\.",
        ),
        (
            {"placement_group_bundles": [{"CPU": 1}], "max_replicas_per_node": 2},
            ValueError,
            "exclude each other",
        ),
        ({"max_replicas_per_node": 101}, ValueError, r"^max_replicas_per_node=101 .* <= 100"),
        ({"max_replicas_per_node": "2"}, TypeError, r"^max_replicas_per_node='2' .* got str"),
        ({"gang_scheduling_config": {}}, ValueError, "gang_size"),
        (
            {"gang_scheduling_config": {"gang_size": 0}},
            ValueError,
            r"\['gang_size'\]=0 is not valid: expected int >= 1",
        ),
        (
            {"gang_scheduling_config": {"gang_size": 2}, "num_replicas": 3},
            ValueError,
            r"^num_replicas=3 is not a multiple of gang_size=2",
        ),
        (
            {"gang_scheduling_config": {"gang_size": 1}, "max_replicas_per_node": 2},
            ValueError,
            r"^max_replicas_per_node and gang_scheduling_config exclude each other",
        ),
        (
            {
                "gang_scheduling_config": {"gang_size": 2},
                "placement_group_strategy": "PACK",
                "placement_group_bundles": [{"CPU": 1}],
                "num_replicas": 2,
            },
            ValueError,
            r"^placement_group_strategy and gang_scheduling_config exclude each other",
        ),
        (
            {
                "gang_scheduling_config": {"gang_size": 2},
                "autoscaling_config": {"min_replicas": 1, "max_replicas": 4},
            },
            ValueError,
            r"^min_replicas=1 is not a multiple of gang_size=2",
        ),
        (
            {"gang_scheduling_config": {"gang_size": 2, "gang_placement_strategy": "NEAR"}},
            ValueError,
            "NEAR",
        ),
        (
            {
                "gang_scheduling_config": {
                    "gang_size": 2,
                    "runtime_failure_policy": "RESTART_REPLICA",
                }
            },
            NotImplementedError,
            "a member alone cannot rejoin its gang",
        ),
    ],
)
def test_what_contradicts_itself_about_placement_is_refused(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        DeploymentOptions(**read_options(given))


def test_what_is_said_for_a_cluster_is_let_pass_on_one_machine() -> None:
    given = {
        "placement_group_bundles": [{"CPU": 1}, {"GPU": 1}],
        "placement_group_strategy": "STRICT_PACK",
        "placement_group_bundle_label_selector": [{"zone": "a"}],
        "ray_actor_options": {"label_selector": {"zone": "a"}, "fallback_strategy": [{}]},
        "gang_scheduling_config": GangSchedulingConfig(gang_size=1),
    }
    gang = given.pop("gang_scheduling_config")
    options = DeploymentOptions(**read_options(given))
    assert options.placement_group_bundles == [{"CPU": 1.0}, {"GPU": 1.0}]
    assert options.placement_group_strategy == "STRICT_PACK"
    assert options.placement_group_bundle_label_selector == [{"zone": "a"}]
    assert read_options({"graceful_shutdown_wait_loop_s": 3}) == {
        "graceful_shutdown_wait_loop_s": 3.0
    }
    assert read_options({"gang_scheduling_config": gang}) == {"gang_scheduling_config": gang}
    packed = {"gang_size": 2, "gang_placement_strategy": "SPREAD"}
    read = read_options({"gang_scheduling_config": packed})["gang_scheduling_config"]
    assert read.gang_placement_strategy is GangPlacementStrategy.SPREAD
    assert read_options({"max_replicas_per_node": 3}) == {"max_replicas_per_node": 3}
