"""From what was bound to what is wanted."""

# A decorated class is a Deployment, which mypy does not follow.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import io
import logging
import pickle
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from salver import deployment, ingress
from salver.build import build
from salver.core.graph import CycleError, DuplicateNameError
from salver.errors import SalverError
from salver.program import Application
from salver.spec.app import AppSpec, DeploymentSpec, ImportedCode, PickledCode
from tests.conftest import ROOT


@deployment
class Leaf:
    def __init__(self, *args: Any) -> None: ...


@deployment
class Root:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...


@dataclass
class Box:
    content: Any


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    content: Any


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        return pid


def arguments(spec: DeploymentSpec) -> Any:
    return _Unpickler(io.BytesIO(spec.arguments)).load()


def names(app: AppSpec) -> list[str]:
    return [spec.id.name for spec in app.deployments]


LEAF = ("handle", "Leaf", "shop")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda app: app,
        lambda app: [app],
        lambda app: {"key": (app, 1)},
        Box,
        lambda app: Model(content=[app]),
        lambda app: Box({"deep": [Model(content=app)]}),
    ],
)
def test_an_app_anywhere_in_the_arguments_becomes_a_handle(wrap: Any) -> None:
    app = build(Root.bind(wrap(Leaf.bind()), other=wrap(3)), "shop", "/")
    assert names(app) == ["Leaf", "Root"]
    assert LEAF[1:] in [(s.id.name, s.id.app) for s in app.deployments]
    args, kwargs = arguments(app.ingress)
    assert args == (wrap(LEAF),)
    assert kwargs == {"other": wrap(3)}


def test_the_ingress_is_the_outermost_and_only_it() -> None:
    app = build(Root.bind(Leaf.bind()), "shop", "/x")
    assert [spec.ingress for spec in app.deployments] == [False, True]
    assert (app.name, app.route_prefix, app.ingress.id.name) == ("shop", "/x", "Root")


def test_one_app_in_two_places_is_one_deployment() -> None:
    leaf = Leaf.bind()
    app = build(Root.bind(Box(leaf), [leaf], Root.options(name="Mid").bind(leaf)), "shop", "/")
    assert names(app) == ["Leaf", "Mid", "Root"]


def test_two_binds_of_one_deployment_are_two_and_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "salver"):
        app = build(Root.bind(Leaf.bind(1), Leaf.bind(2)), "shop", "/")
    assert names(app) == ["Leaf", "Leaf_1", "Root"]
    assert "more than one deployment named Leaf; this one is called Leaf_1" in caplog.text


def test_one_name_given_to_two_is_refused() -> None:
    app = Root.bind(Leaf.options(name="same").bind(), Leaf.options(name="same").bind())
    with pytest.raises(DuplicateNameError, match=r"are both named 'same'"):
        build(app, "shop", "/")


def test_a_circle_is_refused() -> None:
    parts: list[Application] = []
    parts.append(Root.bind(Leaf.bind(parts)))
    with pytest.raises(CycleError, match=r"Root -> Leaf -> Root"):
        build(parts[0], "shop", "/")


def test_importable_code_goes_by_its_path() -> None:
    assert build(Leaf.bind(), "shop", "/").ingress.code == ImportedCode(__name__, "Leaf")


def test_code_that_cannot_be_imported_goes_by_value() -> None:
    offset = 5

    @deployment
    def local(request: int) -> int:
        return request + offset

    code = build(local.bind(), "shop", "/").ingress.code
    assert isinstance(code, PickledCode)
    assert pickle.loads(code.data)(2) == 7


def test_code_by_value_keeps_its_file() -> None:
    """Tracebacks name it, and show its lines where it can be read."""
    code = build(deployment(lambda: 1).bind(), "shop", "/").ingress.code
    assert isinstance(code, PickledCode)
    assert pickle.loads(code.data).__code__.co_filename == __file__


def test_a_name_that_leads_elsewhere_is_not_used() -> None:
    """A class that was replaced in its module is sent as it is, not as what took its place."""
    stranger = type("Leaf", (), {"__module__": __name__, "__qualname__": "Leaf"})
    assert isinstance(build(deployment(stranger).bind(), "a", "/").ingress.code, PickledCode)


def test_locks_are_made_anew() -> None:
    given = [threading.Lock(), threading.RLock(), threading.Event()]
    given[0].acquire()
    (received,), _ = arguments(build(Leaf.bind(given), "shop", "/").ingress)
    assert received[0].acquire(blocking=False)
    with received[1]:
        assert not received[2].is_set()


class Unwilling:
    def __getstate__(self) -> None:
        raise RuntimeError("not me.")


def test_what_cannot_be_sent_is_named() -> None:
    unwilling = r"^The arguments of deployment Leaf cannot be sent .*: RuntimeError: not me\. Make"
    with pytest.raises(SalverError, match=unwilling):
        build(Root.bind(Leaf.bind(Unwilling())), "shop", "/")
    with pytest.raises(SalverError, match=r"^The arguments of deployment Leaf cannot be sent"):
        build(Leaf.bind(number for number in [1]), "shop", "/")


@deployment
@ingress(lambda: None)
class Hidden:
    pass


def test_routes_that_no_request_would_reach_are_refused() -> None:
    with pytest.raises(SalverError, match=r"^Deployment Hidden has @ingress and is an argument"):
        build(Root.bind([Hidden.bind()]), "shop", "/")
    assert build(Hidden.bind(), "shop", "/").ingress.id.name == "Hidden"


def test_a_deployment_s_options_are_in_its_spec() -> None:
    spec = build(Leaf.options(num_replicas=4).bind(), "shop", None).ingress
    assert spec.options.num_replicas == 4


def test_each_run_has_versions_of_its_own() -> None:
    app = Leaf.bind()
    assert build(app, "a", "/").ingress.version != build(app, "a", "/").ingress.version


SCRIPT = """
import pickle, sys
from fastapi import FastAPI
import salver
from salver.build import build

api = FastAPI()

@salver.deployment
@salver.ingress(api)
class Door:
    @api.get("/{name}")
    def hello(self, name: str) -> str:
        return "hello " + name

@salver.deployment
class Wrapper:
    def names(self):
        return Door.name, app

app = Wrapper.bind()
built = [build(one, "default", "/").ingress for one in (Door.bind(), app)]
sys.stdout.buffer.write(pickle.dumps([d.code.data for d in built]))
"""


def test_a_script_s_classes_go_by_value_with_their_fastapi_app() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT / "src", capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    door, wrapper = (pickle.loads(data) for data in pickle.loads(run.stdout))
    assert [route.path for route in door.__salver_asgi__.routes][-1] == "/{name}"
    assert wrapper.names(None)[0] == "Door"
