"""What `request_router_config` takes: names, defaults, bounds."""

from __future__ import annotations

from typing import Any

import pytest

from salver.spec.routing import DEFAULT_ROUTER, RequestRouterConfig, read_routing

DEFAULTS: dict[str, Any] = {
    "request_router_class": DEFAULT_ROUTER,
    "request_router_kwargs": {},
    "request_routing_stats_period_s": 10.0,
    "request_routing_stats_timeout_s": 30.0,
    "initial_backoff_s": 0.025,
    "backoff_multiplier": 2.0,
    "max_backoff_s": 0.5,
}


def test_the_defaults_are_those_that_users_know() -> None:
    config = RequestRouterConfig()
    assert {name: getattr(config, name) for name in config.__struct_fields__} == DEFAULTS


def test_a_dict_says_the_same() -> None:
    fields: dict[str, Any] = {
        name: value * 2 for name, value in DEFAULTS.items() if isinstance(value, float)
    }
    assert read_routing(fields) == RequestRouterConfig(**fields) != RequestRouterConfig()


@pytest.mark.parametrize("name", [n for n, value in DEFAULTS.items() if isinstance(value, float)])
@pytest.mark.parametrize("wrong", [0, -1])
def test_times_and_factors_are_above_zero(name: str, wrong: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={wrong} is not valid: expected float > 0"):
        read_routing({name: wrong})


@pytest.mark.parametrize("package", ["ray.serve", "salver.serve"])
def test_routers_of_ray_serve_are_ours_of_the_same_name(package: str) -> None:
    chosen = RequestRouterConfig(
        request_router_class=f"{package}.experimental.round_robin_router:RoundRobinRouter"
    )
    ours = "salver.serve.experimental.round_robin_router:RoundRobinRouter"
    assert chosen.request_router_class == ours
