"""Whatever is set wrong, and wherever: what was given, what was expected, in words of Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from salver import deployment
from salver.calls.handle import DeploymentHandle, HandleOptions
from salver.cli.main import main
from salver.errors import ConfigError, SalverError
from salver.serve import start
from salver.serve.config import DeploymentActorConfig, GangSchedulingConfig
from salver.spec.autoscaling import AutoscalingConfig, AutoscalingPolicy
from salver.spec.backpressure import BackpressureConfig
from salver.spec.batching import BatchOptions
from salver.spec.environment import RuntimeEnv, read_runtime_env
from salver.spec.familiar import HTTPOptions, http_settings
from salver.spec.file import read_config
from salver.spec.given import read_options
from salver.spec.grpc import grpc_options, gRPCOptions
from salver.spec.http import HttpSettings
from salver.spec.ids import DeploymentId
from salver.spec.logging import LoggingConfig, read_logging
from salver.spec.mistakes import mistake, spelled
from salver.spec.options import DeploymentOptions
from salver.spec.routing import RequestRouterConfig
from salver.spec.tasks import CeleryAdapterConfig, TaskProcessorConfig

WRONG: list[Any] = [
    None, True, -1, 0, 1.5, 10**12, float("inf"), "", "no such thing", [3], ["a", 3], [[]],
    {1: 2}, {"a": 1, "b": "c"}, {"a": -1.0}, {"pip": 3}, [{"name": 3}], [{"CPU": "x"}],
]  # fmt: skip
OPTIONS: dict[type, Callable[[str, Any], Any]] = {
    DeploymentOptions: lambda name, value: read_options({name: value}),
    HttpSettings: lambda name, value: http_settings({name: value}),
    HTTPOptions: lambda name, value: HTTPOptions(**{name: value}),
    gRPCOptions: lambda name, value: grpc_options({name: value}),
    LoggingConfig: lambda name, value: read_logging({name: value}),
    RuntimeEnv: lambda name, value: read_runtime_env({name: value}),
    AutoscalingPolicy: lambda name, value: AutoscalingPolicy(**{name: value}),
    HandleOptions: lambda name, value: handle().options(**{name: value}),
    BatchOptions: lambda name, value: BatchOptions(**{name: value}),
}
# Parts of `DeploymentOptions`: as objects, and as dicts of an option.
PARTS: dict[type, tuple[str, dict[str, Any]]] = {
    AutoscalingConfig: ("autoscaling_config", {}),
    RequestRouterConfig: ("request_router_config", {}),
    BackpressureConfig: ("backpressure_config", {}),
    GangSchedulingConfig: ("gang_scheduling_config", {"gang_size": 1}),
    DeploymentActorConfig: ("deployment_actors", {"name": "a", "actor_class": "m:C"}),
    LoggingConfig: ("logging_config", {}),
}
ALONE: dict[type, dict[str, Any]] = {
    CeleryAdapterConfig: {"broker_url": "a", "backend_url": "b"},
    TaskProcessorConfig: {"queue_name": "a", "adapter_config": None},
    **{kind: more for kind, (_, more) in PARTS.items()},
}
# Sections of a file, by the struct of their keys.
SECTIONS: dict[type, str] = {
    HttpSettings: "http_options", gRPCOptions: "grpc_options", LoggingConfig: "logging_config"
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:.* is an old name:DeprecationWarning")
# These take anything, or are said to be wrong where they are used.
FREE = {
    "user_config",
    "adapter_config",
    "batch_size_fn",
    "host",
    "root_url",
    "ssl_keyfile_password",
}
# What msgspec says, and Python where nobody has looked.
RAW = ("$.", "`$", "Expected `", "got `", "nvalid enum", "| null", "got null", "not iterable")
FORM = re.compile(r"expected|Did you mean|Known:|exclude each other|means nothing|needs|is given")


class Model:
    """Something to deploy."""


def handle() -> DeploymentHandle[Any]:
    return DeploymentHandle(DeploymentId("Model", "app"), "nowhere")


def names_of(kind: type) -> list[str]:
    return list(getattr(kind, "__struct_fields__", None) or kind.__dataclass_fields__)  # type: ignore[attr-defined]


def every(kinds: Any) -> list[Any]:
    return [
        pytest.param(kind, name, id=f"{kind.__name__}.{name}")
        for kind in kinds
        for name in names_of(kind)
    ]


def check_words(text: str, name: str) -> None:
    """What a user may read, of this field."""
    for raw in RAW:
        assert raw not in text, text
    assert name in text, text
    assert FORM.search(text), text


def check_all(name: str, read: Callable[[Any], Any]) -> None:
    refused = 0
    for value in [*WRONG, object()]:
        try:
            read(value)
        except NotImplementedError:
            refused += 1
        except (TypeError, ValueError, SalverError) as error:
            refused += 1
            check_words(str(error).replace(f"={value!r}", "=..."), name)
    assert refused or name in FREE


@pytest.mark.parametrize(("kind", "name"), every(OPTIONS))
def test_an_option_that_is_set_wrong_is_told_in_words_of_python(kind: type, name: str) -> None:
    check_all(name, lambda value: OPTIONS[kind](name, value))


@pytest.mark.parametrize(("kind", "name"), every(ALONE))
def test_so_is_a_field_of_a_configuration_object(kind: type, name: str) -> None:
    check_all(name, lambda value: kind(**{**ALONE[kind], name: value}))


@pytest.mark.parametrize(("kind", "name"), every(PARTS))
def test_so_is_a_key_of_a_dict_for_one(kind: type, name: str) -> None:
    option, more = PARTS[kind]

    def read(value: Any) -> Any:
        part = {**more, name: value}
        return read_options({option: [part] if option == "deployment_actors" else part})

    check_all(name, read)


@pytest.mark.parametrize("name", names_of(DeploymentOptions))
def test_so_it_is_by_the_decorator_and_by_options(name: str) -> None:
    check_all(name, lambda value: deployment(**{name: value})(Model))
    check_all(name, lambda value: deployment(Model).options(**{name: value}))


@pytest.mark.parametrize(("kind", "name"), every([HttpSettings, gRPCOptions]))
def test_so_it_is_by_start_before_anything_starts(kind: type, name: str) -> None:
    read, section = (
        (http_settings, "http_options") if kind is HttpSettings else (grpc_options, "grpc_options")
    )

    def begin(value: Any) -> None:
        given = {name: value}
        options: dict[str, Any] = {section: given}
        try:
            read(given)
        except (TypeError, ValueError) as error:
            with pytest.raises(type(error), match=re.escape(str(error))):
                start(**options)
            raise

    check_all(name, begin)


# ---- in a file


def file_with(where: str, given: Any) -> str:
    app: dict[str, Any] = {"name": "shop", "import_path": "shop:app"}
    content: dict[str, Any] = {"applications": [app]}
    if where == "deployments":
        app["deployments"] = [{"name": "Shop", **given}]
    elif where == "runtime_env":
        app["runtime_env"] = given
    else:
        content[where] = given
    return yaml.safe_dump(content, sort_keys=False)


def in_files() -> Iterator[Any]:
    for kind, where in SECTIONS.items():
        for name in names_of(kind):
            yield pytest.param(where, name, lambda v, n=name: {n: v}, id=f"{where}.{name}")
    for name in names_of(RuntimeEnv):
        yield pytest.param("runtime_env", name, lambda v, n=name: {n: v}, id=f"runtime_env.{name}")
    for name in names_of(DeploymentOptions):
        yield pytest.param("deployments", name, lambda v, n=name: {n: v}, id=f"deployments.{name}")
    for kind, (option, more) in PARTS.items():
        for name in names_of(kind):

            def part(value: Any, name: str = name, option: str = option, more: Any = more) -> Any:
                inner = {**more, name: value}
                return {option: [inner] if option == "deployment_actors" else inner}

            yield pytest.param("deployments", name, part, id=f"deployments.{option}.{name}")


@pytest.mark.parametrize(("where", "name", "around"), [*in_files()])
def test_in_a_file_it_is_told_with_its_place(
    where: str, name: str, around: Callable[[Any], Any]
) -> None:
    refused = 0
    for value in WRONG:
        text = file_with(where, around(value))
        try:
            read_config("c.yaml", text.encode(), Path("/home"))
        except ConfigError as error:
            refused += 1
            for line in str(error).splitlines()[1:]:
                assert re.match(r"\s+c\.yaml:\d+:\d+: ", line), line
                for raw in RAW:
                    assert raw not in line, line
    assert refused or name in FREE


@pytest.mark.parametrize(
    ("where", "given", "place"),
    [
        ("http_options", {"port": 70000}, "3"),
        ("http_options", {"prot": 1}, "3"),
    ],
)
def test_the_command_line_says_the_same(tmp_path: Path, where: str, given: Any, place: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(file_with(where, given))
    said = CliRunner().invoke(main, ["check", str(file)])
    assert said.exit_code == 1
    assert "port" in said.output
    assert "$" not in said.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--port", "70000"], "70000"),
        (["--resources", '{"a": 1, "b": "x"}'], "it['b']='x': expected float, got str"),
        (["--resources", '{"a": -1}'], "it['a']=-1: expected float >= 0"),
        (["--resources", "[]"], "it=[]: expected dict, got list"),
        (["--num-cpus", "-1"], "-1"),
    ],
)
def test_so_do_its_options(args: list[str], message: str) -> None:
    said = CliRunner().invoke(main, ["run", "shop:app", *args])
    assert said.exit_code == 2
    assert message in " ".join(said.output.replace("│", " ").split())
    assert "$" not in said.output
    assert "`" not in said.output


# ---- the rule


class Part(msgspec.Struct, forbid_unknown_fields=True):
    size: Annotated[int, Meta(ge=0)] = 0
    kind: Literal["a", "b"] = "a"
    shares: dict[str, float] = {}


@pytest.mark.parametrize(
    ("value", "kind", "path", "said"),
    [
        (-1, Annotated[int, Meta(ge=0)], "it", "expected int >= 0"),
        ({"size": "x"}, Part, "it['size']", "expected int, got str"),
        ([{"size": None}], list[Part], "it[0]['size']", "expected int, got None"),
        ({"kind": "c"}, Part, "it['kind']", "expected one of 'a', 'b'"),
        ({"x": {"kind": 3}}, dict[str, Part], "it['x']['kind']", "expected one of 'a', 'b'"),
        ({"siz": 1}, Part | None, "it", "'siz' is not one of its keys. Did you mean size?"),
        ({"shares": {"a": 1, "b": "x"}}, Part, "it['shares']['b']", "expected float, got str"),
        ({"shares": {1: 1}}, Part, "it['shares']", "expected str, got int as a key"),
        ([1], dict[str, int], "it", "expected dict, got list"),
        (3, list[int] | None, "it", "expected list | None, got int"),
    ],
)
def test_a_mistake_has_its_place_and_says_what_was_expected(
    value: Any, kind: Any, path: str, said: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(value, kind)
    found = mistake(caught.value, value, kind)
    assert (spelled("it", found.path), found.said) == (path, said)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["size", "kind", "shares", "x"]), anything))
def test_whatever_is_wrong_nothing_of_msgspec_s_is_said(value: Any) -> None:
    try:
        msgspec.convert([value], list[Part])
    except msgspec.ValidationError as error:
        found = mistake(error, [value], list[Part])
        assert found.path[0] == 0
        assert "$" not in found.said
        assert "`" not in found.said


@pytest.mark.parametrize("kind", [HTTPOptions, gRPCOptions, AutoscalingPolicy, *ALONE])
def test_a_field_that_does_not_exist_is_answered_with_the_nearest(kind: type) -> None:
    name = names_of(kind)[0]
    with pytest.raises(TypeError, match=rf"^'{name}s' is not a field of .*Did you mean {name}\?$"):
        kind(**{**ALONE.get(kind, {}), f"{name}s": 1})
