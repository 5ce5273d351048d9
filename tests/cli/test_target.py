"""From `module:name` to an app: every mistake has a message of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from salver.cli.target import load, load_spec
from salver.errors import TargetError
from salver.program import Application

SHOP = """
from __future__ import annotations
import dataclasses
import typing
import pydantic
import salver

@salver.deployment
class Shop:
    def __init__(self, *args): ...

class Args(pydantic.BaseModel):
    size: int
    name: str = "none"

app = Shop.bind()
number = 5

def with_dict(args):
    return Shop.bind(args)

def with_model(args: Args):
    return Shop.bind(args)

@dataclasses.dataclass
class Data:
    size: int
    deep: bool = False
    near: Args | None = None

def with_data(args: Data):
    return Shop.bind(args)

class Typed(typing.TypedDict, total=False):
    size: int

def with_typed(args: Typed):
    return Shop.bind(args)

def with_text(args: str):
    return Shop.bind(args)

def with_mapping(args: dict[str, str]):
    return Shop.bind(args)

def with_nothing():
    return Shop.bind()

def with_two(a, b):
    return Shop.bind()

def wrong_result(args):
    return 7

def failing(args):
    raise KeyError("the user's own mistake")

def circle():
    parts = []
    parts.append(Shop.bind(parts))
    return parts[0]

@salver.deployment
class Priced:
    @salver.endpoint
    def price(self, item: typing.Callable) -> int: ...

def twice():
    return Shop.bind(Shop.options(name="same").bind(), Shop.options(name="same").bind())

def unservable():
    return Shop.bind(Priced.bind())
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "target_shop.py").write_text(SHOP)
    (tmp_path / "target_broken.py").write_text("def f():\n    return 1 / 0\n\nf()\n")
    (tmp_path / "target_missing.py").write_text("import a_module_that_is_nowhere\n")
    (tmp_path / "target_leaving.py").write_text("import sys\nsys.exit(3)\n")
    before = list(sys.path)
    yield str(tmp_path)
    sys.path[:] = before
    for name in [name for name in sys.modules if name.startswith("target_")]:
        del sys.modules[name]


def test_an_app_is_found(shop: str) -> None:
    assert isinstance(load("target_shop:app", {}, shop), Application)


def test_a_builder_gets_its_arguments(shop: str) -> None:
    assert load("target_shop:with_dict", {"a": "b"}, shop).args == ({"a": "b"},)
    (args,) = load("target_shop:with_model", {"size": "3"}, shop).args
    assert (args.size, args.name) == (3, "none")
    (args,) = load("target_shop:with_data", {"size": "3", "deep": "true"}, shop).args
    assert (args.size, args.deep) == (3, True)
    assert load("target_shop:with_typed", {"size": "3"}, shop).args == ({"size": 3},)
    assert load("target_shop:with_mapping", {"a": "b"}, shop).args == ({"a": "b"},)
    assert isinstance(load("target_shop:with_nothing", {}, shop), Application)


@pytest.mark.parametrize(
    ("target", "args", "message"),
    [
        ("target_shop", {}, r"^'target_shop' does not name an app: .*'target_shop:app'\.$"),
        (".target_shop:app", {}, r"^'\.target_shop:app' does not name .*'target_shop:app'\.$"),
        ("dir/target_shop.py:app", {}, r"for example 'target_shop:app'\.$"),
        ("target_shop.app", {}, r"for example 'target_shop\.app:app' or 'target_shop:app'\.$"),
        (".", {}, r"^'\.' is a file or a folder: expected 'module:name', such as 'hello:app' \(or"),
        ("target_shp:app", {}, r"^No module named 'target_shp' in .* Did you mean 'target_shop'\?"),
        (
            "target_no.where:app",
            {},
            r"^No module named 'target_no.where' \(there is no 'target_no'",
        ),
        ("target_shop:ap", {}, r"^'target_shop' has no 'ap'\. Did you mean 'target_shop:app'\?$"),
        ("target_shop:zzz", {}, r"Did you mean 'target_shop:app'\?$"),
        ("target_shop:app.x", {}, r"^'target_shop:app' has no 'x'\.$"),
        (
            "target_shop:typin",
            {},
            r"^'target_shop' has no 'typin'\. Did you mean 'target_shop:app'\?$",
        ),
        ("target_shop:number.bit_lenth", {}, r"Did you mean 'target_shop:number\.bit_length'\?$"),
        ("target_shop:Shop", {}, r"is a deployment, not an app\. Add `app = Shop\.bind\(\)`"),
        ("target_shop:number", {}, r"^'target_shop:number' is an int: expected an app"),
        ("target_shop:app", {"a": "b"}, r"is an app, which takes no arguments; got a\."),
        ("target_shop:with_two", {}, r"takes 2 parameters"),
        ("target_shop:with_nothing", {"a": "b"}, r"takes 0 parameters"),
        ("target_shop:wrong_result", {}, r"returned 7: expected an app"),
        (
            "target_shop:with_model",
            {"size": "big"},
            r"are not valid: size: .* integer",
        ),
        (
            "target_shop:with_model",
            {"sise": "1"},
            r"no argument 'sise'. Did you mean size\?$",
        ),
        (
            "target_shop:with_data",
            {"size": "big"},
            r"args\['size'\]='big': expected int, got",
        ),
        ("target_shop:with_data", {"deep": "1"}, r"not valid: .*: size is missing\.$"),
        ("target_shop:with_typed", {"x": "1"}, r"takes no argument 'x'. It takes: size\.$"),
        ("target_shop:with_text", {"x": "1"}, r"asks for str: the parameter of a function"),
        ("target_shop:failing", {}, r"(?s)^Building .* failed:.*KeyError: .the user's own mistake"),
        ("target_broken:app", {}, r"(?s)^Importing 'target_broken' failed:.*ZeroDivisionError"),
        ("target_missing:app", {}, r"(?s)^Importing .*No module named 'a_module_that_is_nowhere'"),
        ("target_leaving:app", {}, r"(?s)^Importing 'target_leaving' failed:.*SystemExit: 3"),
    ],
)
def test_a_mistake_is_named(target: str, args: dict[str, str], message: str, shop: str) -> None:
    with pytest.raises(TargetError, match=message):
        load(target, args, shop)


def test_a_traceback_shows_the_user_s_code_only(shop: str) -> None:
    with pytest.raises(TargetError) as caught:
        load("target_broken:app", {}, shop)
    files = [line for line in str(caught.value).splitlines() if line.startswith("  File")]
    assert len(files) == 2
    assert all("target_broken.py" in line for line in files)


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        ("circle", r"^These deployments are bound in a circle: Shop -> Shop\."),
        ("twice", r"^Two deployments of this app are both named 'same'\."),
        ("unservable", r"^Priced\.price\(\): argument 'item' is annotated"),
    ],
)
def test_an_app_that_cannot_be_built_is_told_as_any_other_mistake(
    shop: str, builder: str, message: str
) -> None:
    with pytest.raises(TargetError, match=message):
        load_spec(f"target_shop:{builder}", {}, shop)
