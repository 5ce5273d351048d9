"""The configuration file: what is valid is taken as said; every mistake is told, with its place."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from salver.errors import ConfigError
from salver.spec.file import ConfigFile, read_config

VALID = """\
proxy_location: EveryNode
http_options:
  host: 127.0.0.1
  port: 8080
  request_timeout_s: 5
  keep_alive_timeout_s: 90
grpc_options:
  port: 9000
  grpc_servicer_functions: []
applications:
  - name: shop
    route_prefix: /shop
    import_path: shop.main:app
    runtime_env:
      env_vars: {LEVEL: "3"}
      working_dir: code
      py_modules: [libs/one]
      pip: [numpy, ./local]
    args: {size: 3}
    deployments:
      - name: Shop
        num_replicas: 2
        max_ongoing_requests: 10
        user_config: {anything: [1, 2]}
        health_check_period_s: 3.5
        ray_actor_options:
          num_cpus: 0.5
          resources: {slots: 1}
          runtime_env: {env_vars: {A: b}}
      - name: Cart
        graceful_shutdown_timeout_s: 1
  - name: search
    route_prefix: /search
    import_path: search.app
controller_options:
  runtime_env:
    env_vars: {REGION: south}
"""
# Below these, keys are the user's own.
FREE = ("args", "user_config", "env_vars", "resources")


def read(text: str, folder: str = "/home") -> ConfigFile:
    return read_config("c.yaml", text.encode(), Path(folder))[0]


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_what_is_valid_is_taken_as_said() -> None:
    shop, search = read(VALID).applications
    assert (shop.name, shop.route_prefix, shop.args) == ("shop", "/shop", {"size": 3})
    assert shop.deployments[0]["num_replicas"] == 2
    assert shop.deployments[1] == {"name": "Cart", "graceful_shutdown_timeout_s": 1}
    assert search.import_path == "search:app"
    controller = read(VALID).controller_options
    assert controller is not None
    assert controller.variables == {"REGION": "south"}


def test_what_only_goes_together_may_be_said_together() -> None:
    tls = "keep_alive_timeout_s: 90\n  ssl_certfile: c.pem\n  ssl_keyfile: k.pem"
    http = read(VALID.replace("keep_alive_timeout_s: 90", tls)).http_options
    assert http is not None
    assert http["ssl_keyfile"] == "k.pem"
    alone = problems(VALID.replace("keep_alive_timeout_s: 90", "ssl_keyfile: k.pem"))
    assert alone[0].startswith("c.yaml:6:16: http_options.ssl_keyfile: ")


def test_local_paths_are_the_file_s() -> None:
    env = read(VALID).applications[0].runtime_env
    assert env == {
        "env_vars": {"LEVEL": "3"},
        "working_dir": "/home/code",
        "py_modules": ["/home/libs/one"],
        "pip": ["numpy", "/home/local"],
    }


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the schema's own keys are."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            if key not in FREE:
                yield from paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths(inner, (*path, index))


KEYS = list(paths(yaml.safe_load(VALID)))


@given(st.sampled_from(KEYS), st.text("abcxyz_", min_size=1, max_size=3), st.integers(0, 30))
def test_any_mutated_key_fails_with_its_path(
    path: tuple[str | int, ...], letters: str, at: int
) -> None:
    content = copy.deepcopy(yaml.safe_load(VALID))
    holder = content
    for step in path[:-1]:
        holder = holder[step]
    key = str(path[-1])
    mutated = f"{key[:at]}{letters}{key[at:]}"
    if mutated in holder or mutated in ("name", "version"):
        return
    holder[mutated] = holder.pop(key)
    told = problems(yaml.safe_dump(content))
    where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in (*path[:-1], mutated))
    assert any(f" {where.lstrip('.')}: " in line for line in told)


CONTROLLER = "controller_options.runtime_env"
APP, ENTRY = "applications[0]", "applications[0].deployments[0]"
PROCESS = f"{ENTRY}.ray_actor_options"


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        (
            "EveryNode",
            "EveryNod",
            "1:17: proxy_location",
            "expected one of 'Disabled', 'HeadO",
        ),
        (
            "port: 8080",
            "port: 80800",
            "4:9: http_options.port",
            "=80800 is not valid: expected int <=",
        ),
        ("request_timeout_s: 5", "request_timeout: 5", "5:3: http_options.request_timeout", "Did"),
        (
            "port: 9000",
            "port: x",
            "8:9: grpc_options.port",
            "expected int, got str.",
        ),
        ("/shop", "shop", f"12:19: {APP}.route_prefix", "expected '/' or a path such as"),
        ("name: shop", "name: a#b", f"11:11: {APP}.name", "name='a#b' is not valid"),
        ("shop.main:app", "shop", f"13:18: {APP}.import_path", "expected 'module:name'."),
        ("import_path: shop.main:app", "args: {}", f"11:5: {APP}", "import_path is missing."),
        (
            'LEVEL: "3"',
            "LEVEL: 3",
            f"15:17: {APP}.runtime_env.env_vars",
            "['LEVEL']=3 is not",
        ),
        ("LEVEL:", "A=B:", f"15:17: {APP}.runtime_env.env_vars", "a variable named 'A=B'"),
        ("{A: b}", '{"": b}', f"29:35: {PROCESS}.runtime_env.env_vars", "a variable named ''"),
        ("dir: code", "dir: s3://a", f"16:20: {APP}.runtime_env.working_dir", "fetches by https"),
        ("working_dir: code", "conda: x", f"16:14: {APP}.runtime_env.conda", "pip environments"),
        ("replicas: 2", "replicas: two", f"22:23: {ENTRY}.num_replicas", "expected"),
        ("replicas: 2", "replica: 2", f"22:9: {ENTRY}.num_replica", "Did you mean num_replicas?"),
        ("num_cpus:", "num_cpu:", f"27:11: {ENTRY}.ray_actor_options.num_cpu", "mean num_cpus?"),
        ("cpus: 0.5", "cpus: -1", f"27:21: {ENTRY}.ray_actor_options.num_cpus", "float >= 0"),
        (
            "num_replicas: 2",
            "logging_config: {encoding: JSON, log_level: X}",
            f"22:53: {ENTRY}.logging_config.log_level",
            "expected one of DEBUG",
        ),
        (
            "num_replicas: 2",
            "autoscaling_config: {min_replicas: 3, max_replicas: 2}",
            f"22:44: {ENTRY}.autoscaling_config.min_replicas",
            "max_replicas=2 is less than min_replicas=3",
        ),
        (
            "num_replicas: 2",
            "autoscaling_config: {max_replica: 3}",
            f"22:30: {ENTRY}.autoscaling_config.max_replica",
            "Did you mean max_replicas?",
        ),
        ("name: Cart", "name: Shop", f"30:15: {APP}.deployments[1].name", "entry in [0] already"),
        ("name: Cart", "max_ongoing_requests: 1", f"30:9: {APP}.deployments[1]", "name is missing"),
        ("name: search", "name: shop", "32:11: applications[1].name", "is applications[0]'s"),
        ("/search", "/shop", "33:19: applications[1].route_prefix", "Choose another."),
        ("args: {size: 3}", "args: 3", f"19:11: {APP}.args", "got 3, expected dict."),
        ("args: {size: 3}", "host: x", f"19:5: {APP}.host", "'host' is not a key here."),
        ("south", "3", f"37:24: {CONTROLLER}.env_vars.REGION", "got 3, expected str."),
        ("{REGION: south}", "[]", f"37:15: {CONTROLLER}.env_vars", "got [], expected dict"),
        ("REGION:", "R=N:", f"37:5: {CONTROLLER}", "a variable named 'R=N'"),
        ("env_vars: {REGION", "pip: {REGION", f"37:5: {CONTROLLER}.pip", "Known: env_vars."),
    ],
)
def test_a_mistake_is_told_with_its_place(old: str, new: str, where: str, what: str) -> None:
    assert old in VALID
    told = problems(VALID.replace(old, new, 1))
    assert any(line.startswith(f"c.yaml:{where}: ") and what in line for line in told), told


def test_mistakes_are_told_together_in_the_order_of_the_file() -> None:
    wrong = VALID.replace("port: 8080", "port: x").replace("num_replicas: 2", "num_replicas: 0")
    told = problems(wrong.replace("search.app", "search"))
    assert [line.split(" ")[1] for line in told] == [
        "http_options.port:",
        "applications[0].deployments[0].num_replicas:",
        "applications[1].import_path:",
    ]


@pytest.mark.parametrize(
    "text", ["applications: []", "- 1", "applications: 3", "applications:\n- 3"]
)
def test_what_is_no_configuration_at_all_is_an_error(text: str) -> None:
    assert problems(text)


def test_two_unnamed_apps_are_told_what_they_are_called() -> None:
    told = problems("applications: [{import_path: 'a:b'}, {import_path: 'c:d'}]")
    assert any("(unless it is said, name is 'default')" in line for line in told)
