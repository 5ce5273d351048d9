"""Ray Serve's names, one by one, against ours: writes docs/ray-serve.md.

`tools/ray-serve.yaml` lists the reference's names, parameters and defaults, and for each the test
that proves it or the reason why it is not there. What is there is found out by importing it.

    python tools/ray_serve.py          write the page; fails where a test or a reason is missing
    python tools/ray_serve.py --fill   look for tests that use a name, and note them in the list
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NoReturn, get_type_hints

import msgspec
import yaml

from salver.calls.handle import HandleOptions
from salver.cli.main import COMMANDS
from salver.program import Deployment
from salver.spec.familiar import http_settings
from salver.spec.file import LATER, AppEntry, ConfigFile
from salver.spec.given import OptionsDict, read_options
from salver.spec.options import DeploymentOptions
from salver.spec.variables import HONOURED, UNUSED

ROOT: Final = Path(__file__).resolve().parents[1]
LIST: Final = ROOT / "tools" / "ray-serve.yaml"
PAGE: Final = ROOT / "docs" / "ray-serve.md"
HEAD: Final = """\
# Ray Serve's names

Every name and parameter of Ray Serve 2.60's programming interface and configuration, and whether
Salver has it. `ray.` in a name becomes `salver.`, or stays: see [like-ray.md](like-ray.md). What is
there is found out by importing it; beside it stands the test that is most about it. What is not
there is refused by name where a program asks for it. Written by `python tools/ray_serve.py`.

"""
ABSENT: Final = object()


@dataclass
class Row:
    """A name or a parameter: whether it is there, and what the list says of it."""

    shown: str
    there: bool
    said: dict[str, Any]  # its entry in the list
    words: tuple[str, ...]  # what a test that proves it has among its words
    ours: str = ""  # our default, where it is another


def rows(module: dict[str, Any]) -> Iterator[Row]:
    """Of one module of the list."""
    for entry in (*module["names"], *_unused(module["module"])):
        name = entry["name"]
        found = _resolve(module["module"], entry)
        words = tuple(part for part in name.replace("[]", "").split(".")[-2:] if part)
        there = _is_there(found) and not entry.get("refused", False)
        yield Row(name, there, entry, words)
        for parameter in entry.get("parameters", []):
            yield _parameter(name, found, parameter)


def _unused(module: str) -> list[dict[str, Any]]:
    """Variables that mean nothing here say why themselves."""
    if module != "environment variables":
        return []
    return [{"name": name, "reason": f"{why[0].upper()}{why[1:]}."} for name, why in UNUSED.items()]


def _resolve(module: str, entry: dict[str, Any]) -> Any:
    name = entry["name"]
    if module == "configuration file":
        return _in_file(name)
    if module == "environment variables":
        return True if name in HONOURED else ABSENT
    if module == "commands":
        return True if entry["name"].removeprefix("serve ") in COMMANDS else ABSENT
    if module.startswith("hooks"):
        return True if entry.get("test") else ABSENT
    try:
        found: Any = import_module(f"salver{module.removeprefix('ray')}")
        for part in name.split("."):
            found = getattr(found, part, _of_instances(found, part))
    except ImportError:  # there is none, or it says why not
        return ABSENT
    return found


def _of_instances(found: Any, name: str) -> Any:
    """What objects of a class have and the class itself has not."""
    if found is Deployment and _is_option(name):
        return True
    if inspect.isclass(found) and re.search(rf"self\.{name}(: .+)? = ", inspect.getsource(found)):
        return True
    return getattr(found, "__annotations__", {}).get(name, ABSENT)


def _in_file(name: str) -> Any:
    if name.startswith("http_options."):
        return _door_has(name.partition(".")[2]) or ABSENT
    if name.startswith("grpc_options."):
        return _has_grpc() or ABSENT
    struct = AppEntry if "[]." in name else ConfigFile
    field = name.rpartition(".")[2]
    return True if field in struct.__struct_fields__ and field not in LATER else ABSENT


def _is_there(found: Any) -> bool:
    if found is ABSENT or (getattr(found, "__name__", "") == "gRPCOptions" and not _has_grpc()):
        return False
    if getattr(found, "__module__", "") != "salver.spec.familiar":
        return True
    if isinstance(found, type):
        return "_Later" not in [base.__name__ for base in found.__mro__]
    return not inspect.isfunction(found) or get_type_hints(found).get("return") is not NoReturn


def _has_grpc() -> bool:
    return find_spec("salver.serve.grpc_util") is not None


def _parameter(name: str, found: Any, parameter: dict[str, Any]) -> Row:
    """Its name and default as the reference has them, against ours."""
    key = parameter["name"]
    shown = f"{name}({key})"
    words = (name.rpartition(".")[2], key)
    there, default = _ours(name, found, key)
    refused = parameter.get("refused", False) or (key == "grpc_options" and not _has_grpc())
    there = there and not refused
    wanted = _plain(parameter["default"]) if "default" in parameter else ABSENT
    differs = there and wanted is not ABSENT and default is not ABSENT and default != wanted
    return Row(shown, there, parameter, words, repr(default) if differs else "")


def _plain(text: str) -> Any:
    value = ast.literal_eval(text)
    return tuple(value) if isinstance(value, list) else value


def _ours(name: str, found: Any, key: str) -> tuple[bool, Any]:
    if not _is_there(found):
        return False, ABSENT
    if name in ("deployment", "Deployment.options"):
        return _is_option(key), _option_default(key)
    if isinstance(found, type) and issubclass(found, msgspec.Struct):
        fields = {field.name: field for field in msgspec.structs.fields(found)}
        there = key in fields and (name != "HTTPOptions" or _door_has(key))
        return there, _field_default(fields[key]) if there else ABSENT
    if name == "DeploymentHandle.options":
        return key in HandleOptions.__struct_fields__, ABSENT
    parameters = inspect.signature(found).parameters
    if key not in parameters:
        return False, ABSENT
    default = parameters[key].default
    return True, ABSENT if default is inspect.Parameter.empty else _comparable(default)


def _is_option(key: str) -> bool:
    if key not in get_type_hints(OptionsDict):
        return False
    try:
        read_options({key: object()})
    except NotImplementedError:
        return False
    except (TypeError, ValueError):
        return True
    return True


def _option_default(key: str) -> Any:
    fields = {field.name: field for field in msgspec.structs.fields(DeploymentOptions)}
    return _field_default(fields[key]) if key in fields else ABSENT


def _field_default(field: Any) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return _comparable(field.default)
    return ABSENT if field.required else _comparable(field.default_factory())


def _comparable(value: Any) -> Any:
    """What the list can say: not our own objects, which stand for a default of many parts."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list):
        return tuple(value)
    return value if isinstance(value, int | float | tuple | dict | type(None)) else ABSENT


def _door_has(key: str) -> bool:
    try:
        http_settings({key: "/a"})
    except NotImplementedError:
        return False
    except (TypeError, ValueError):
        return True
    return True


# ---- the page


def page(modules: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """The text, and what is missing: a test, a reason, a word about another default."""
    missing: list[str] = []
    counted = {True: 0, False: 0}
    parts = []
    for module in modules:
        lines = [f"## {module['module']}", "", "| name | | shown by, or why not |", "|---|---|---|"]
        for row in rows(module):
            counted[row.there] += 1
            lines.append(
                f"| `{row.shown}` | {'yes' if row.there else 'no'} | {_why(row, missing)} |"
            )
        parts.append("\n".join(lines))
    total = f"{counted[True]} of {sum(counted.values())} are there.\n\n"
    return HEAD + total + "\n\n".join(parts) + "\n", missing


def _why(row: Row, missing: list[str]) -> str:
    said = row.said
    if not row.there:
        if not said.get("reason"):
            missing.append(f"{row.shown}: no reason")
        return str(said.get("reason", ""))
    test = said.get("test", "")
    if not _exists(test):
        missing.append(f"{row.shown}: no test {test}")
    if row.ours and not said.get("differs"):
        missing.append(f"{row.shown}: the default is {row.ours}, and nothing is said of it")
    text = f"`{test.removeprefix('tests/')}`"
    return f"{text} {said['differs']}" if said.get("differs") else text


def _exists(test: str) -> bool:
    file, _, name = test.partition("::")
    path = ROOT / file
    return bool(name) and path.is_file() and f"def {name}(" in path.read_text()


# ---- finding tests


def words_of_tests() -> dict[str, dict[str, set[str]]]:
    """File -> test -> the words in it, and in what it uses of its file."""
    found: dict[str, dict[str, set[str]]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        words = {
            node.name: _words(node)
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        }
        tests: dict[str, set[str]] = {}
        for name, own in words.items():
            if name.startswith("test_"):
                tests[name] = own.union(*(words[other] for other in own & words.keys()))
        found[str(path.relative_to(ROOT))] = tests
    return found


def _words(tree: ast.AST) -> set[str]:
    words: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg:
            words.add(node.arg)
        elif isinstance(node, ast.Attribute):
            words.add(node.attr)
        elif isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.arg):
            words.add(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.update(node.value.replace("=", " ").replace(":", " ").split())
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            words.add(node.name)
    return words


def fill(modules: list[dict[str, Any]]) -> None:
    """Note a test for what has none: the one that is most about it."""
    tests = words_of_tests()
    spread: dict[str, int] = defaultdict(int)  # in how many tests a word is
    for file in tests.values():
        for words in file.values():
            for word in words:
                spread[word] += 1
    for module in modules:
        for row in rows(module):
            if row.there and not _exists(row.said.get("test", "")):
                row.said["test"] = _best(row, tests) or ""
    LIST.write_text(yaml.safe_dump(modules, sort_keys=False, width=100, allow_unicode=True))


def _best(row: Row, tests: dict[str, dict[str, set[str]]]) -> str:
    key = row.words[-1]
    ranked = [
        (key in name, len(set(row.words) & words), name.count(row.words[0].lower()), -len(words),
         f"{file}::{name}")
        for file, found in tests.items()
        for name, words in found.items()
        if key in words
    ]  # fmt: skip
    return max(ranked)[-1] if ranked else ""


def main() -> int:
    modules = yaml.safe_load(LIST.read_text())
    if "--fill" in sys.argv:
        fill(modules)
    text, missing = page(modules)
    PAGE.write_text(text)
    for line in missing:
        print(line, file=sys.stderr)  # noqa: T201
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
