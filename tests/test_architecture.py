"""The house's own rules, checked on the source: layers, sizes, names, state, cost of an import."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "salver"
MODULES = sorted(SOURCE.rglob("*.py"))

# A module imports from its own package and from lower lines. The public names (`salver`) are on 7.
LAYERS = {
    "cli": 9, "testing": 9, "__main__": 10,
    "like": 8, "client": 8,
    "api": 7, "build": 7, "companions": 7, "launch": 7, "origin": 7, "pickler": 7, "portable": 7,
    "program": 7,
    "session": 7,
    "serve": 7, "": 7,
    "doors": 5,
    "control": 4, "engine": 4, "tasks": 4,
    "replica": 3,
    "calls": 2,
    "core": 1, "wire": 1, "oip": 1, "environment": 1,
    "spec": 0, "telemetry": 0, "settings": 0,
    "errors": -1, "processes": -1, "version": -1,
}  # fmt: skip
# One line, several packages that may use each other.
TOGETHER = {
    "api", "build", "companions", "launch", "origin", "pickler", "portable", "program", "session",
    "serve", "",
}  # fmt: skip
FORBIDDEN_FILES = {"utils", "util", "common", "helpers", "helper", "misc", "base", "constants"}
KNOWN_FILES = {"serve/utils.py"}  # users of Ray Serve import it
FORBIDDEN_WORDS = {"worker", "actor", "proxy", "manager", "info", "helper", "utils"}
# Names that users of Ray Serve, or asyncio, know.
KNOWN_NAMES = {
    "ProxyLocation", "ProxyStatus", "ray_actor_options", "get_extra_info", "DeploymentActorConfig",
    "get_deployment_actor", "get_deployment_actor_context", "get_actor_id", "get_actor_name",
    "get_worker_id", "ServerReflectionInfo", "DeploymentActorContext", "actor_class",
    "actor_name", "actor_options", "deployment_actors",
    "on_replica_actor_died", "on_replica_actor_unavailable", "on_new_queue_len_info",
}  # fmt: skip
IMPURE = {
    "asyncio", "datetime", "logging", "os", "random", "secrets", "select", "socket", "subprocess",
    "threading", "time", "uuid",
}  # fmt: skip
# The argument of every entry point, replicas' too: named there as a type, never imported.
TYPES_ONLY = {"salver.engine.seat"}
# Modules that a string of a lower layer names.
NAMED_FROM_BELOW = {
    # The table of entry points: the keeper imports them before it forks, and calls none itself.
    "processes.py": {
        "salver.control.main", "salver.doors.grpc.main", "salver.doors.server",
        "salver.replica.main",
    },
    # `run(_local_testing_mode=True)` serves in the caller's process.
    "session.py": {"salver.testing.inline"},
    # Defaults, spelt as users write them in a configuration.
    "spec/autoscaling.py": {"salver.serve", "salver.serve.autoscaling_policy"},
    "spec/routing.py": {"salver.serve.request_router"},
}  # fmt: skip
COLLECTIONS = {
    "dict", "list", "set", "bytearray", "deque", "defaultdict", "Counter", "OrderedDict",
    "WeakSet", "WeakKeyDictionary", "WeakValueDictionary",
}  # fmt: skip
READS_ENVIRONMENT = {"settings.py", "engine/process.py"}
# Sizes have a budget and nobody is exempt: cut the room in two instead.
MAX_MODULE, MAX_CLASS, MAX_FUNCTION, MAX_PARAMETERS = 400, 300, 60, 8


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@pytest.fixture(params=MODULES, ids=name_of)
def module(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def package_of(dotted: str) -> str:
    """`salver.wire.frames` -> `wire`; `salver` and `salver.__init__` -> ``."""
    parts = dotted.split(".")
    if len(parts) == 1 or parts[1] == "__init__":
        return ""
    # A name taken from the package itself (`from salver import run`) is no module of ours.
    return parts[1] if (SOURCE / parts[1]).is_dir() or file_of(parts[1]).exists() else ""


def file_of(name: str) -> Path:
    return SOURCE / f"{name}.py"


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            dotted = node.module or ""
            if dotted == "salver":
                yield from ((node.lineno, f"salver.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, dotted


def typing_only(tree: ast.AST) -> set[int]:
    """The lines that only type checkers read."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for line in range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    }


def named(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Modules of ours that a string names: `salver.x.y`, or `salver.x.y:attribute`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            dotted = node.value.partition(":")[0]
            if re.fullmatch(r"salver(\.\w+)+", dotted) and exists(dotted):
                yield node.lineno, dotted


def exists(dotted: str) -> bool:
    path = SOURCE.joinpath(*dotted.split(".")[1:])
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def ours(dotted: str) -> bool:
    return dotted == "salver" or dotted.startswith("salver.")


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_imports_point_down(module: Path) -> None:
    """A module imports only its own package and lower layers."""
    tree = ast.parse(module.read_text())
    typing = typing_only(tree)
    wrong = [
        f"line {line}: {dotted}"
        for line, dotted in imports(tree)
        if ours(dotted) and climbs(module, dotted)
        if not (dotted in TYPES_ONLY and line in typing)
    ]
    assert wrong == []


def test_imports_by_name_point_down(module: Path) -> None:
    """A string that names a module of ours is held to the layers as an import is."""
    upwards = {
        dotted: f"line {line}: {dotted}"
        for line, dotted in named(ast.parse(module.read_text()))
        if climbs(module, dotted)
    }
    known = NAMED_FROM_BELOW.get(name_of(module), set())
    assert [where for dotted, where in upwards.items() if dotted not in known] == []
    assert known <= upwards.keys()  # an exception that nobody needs any more goes


def climbs(module: Path, dotted: str) -> bool:
    """Whether what `module` imports lies neither with it nor below it."""
    own = package_of("salver." + ".".join(module.relative_to(SOURCE).with_suffix("").parts))
    other = package_of(dotted)
    return other != own and LAYERS[other] >= LAYERS[own] and not {own, other} <= TOGETHER


def test_no_late_imports_of_our_own(module: Path) -> None:
    """Nothing of ours is imported inside a function: order is by layers, not by luck."""
    late = [
        f"line {line}: {dotted}"
        for function in functions(ast.parse(module.read_text()))
        for line, dotted in imports(function)
        if ours(dotted)
    ]
    assert late == []


def test_sizes_stay_in_budget(module: Path) -> None:
    text = module.read_text()
    tree = ast.parse(text)
    too_large = []
    if len(text.splitlines()) > MAX_MODULE:
        too_large.append(f"module: {len(text.splitlines())} lines")
    too_large += [
        f"class {node.name}: {length(node)} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and length(node) > MAX_CLASS
    ]
    for function in functions(tree):
        if length(function) > MAX_FUNCTION:
            too_large.append(f"{function.name}: {length(function)} lines")
        if parameters(function) > MAX_PARAMETERS:
            too_large.append(f"{function.name}: {parameters(function)} parameters")
    assert too_large == []


def length(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = function.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def test_a_file_is_named_for_what_is_in_it(module: Path) -> None:
    assert module.stem not in FORBIDDEN_FILES or name_of(module) in KNOWN_FILES


def test_one_word_per_thing(module: Path) -> None:
    """No module, class or function of ours carries a word that the vocabulary leaves out."""
    names = [] if name_of(module) in KNOWN_FILES else [module.stem]
    names += [
        node.name
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    used = {name: words(name) & FORBIDDEN_WORDS for name in names if name not in KNOWN_NAMES}
    assert {name: found for name, found in used.items() if found} == {}


def words(name: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return {word.lower() for word in spaced.split("_")}


def test_state_hangs_on_objects(module: Path) -> None:
    """No `global` statement, and no collection of a module's that is there to be filled."""
    tree = ast.parse(module.read_text())
    assert [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Global)] == []
    kept = [
        f"line {value.lineno}: {name}"
        for name, value in collections_of(tree)
        if not re.fullmatch(r"__\w+__", name) and not is_constant(name, value)
    ]
    assert kept == []


def collections_of(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """What a module, not a function or class of it, gives a name and can change later."""
    for node in outside_of_definitions(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and is_collection(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((t.id, node.value) for t in targets if isinstance(t, ast.Name))


def outside_of_definitions(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node
            yield from outside_of_definitions(node)


def is_collection(value: ast.expr | None) -> TypeGuard[ast.expr]:
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).partition("[")[0].rpartition(".")[2] in COLLECTIONS
    literals = ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp | ast.SetComp
    return isinstance(value, literals)


def is_constant(name: str, value: ast.expr) -> bool:
    """In capitals, with what is in it written out; what begins empty is there to be filled."""
    empty = ast.unparse(value) in ("{}", "[]")
    return name == name.upper() and not empty and not isinstance(value, ast.Call)


@pytest.mark.parametrize("module", sorted((SOURCE / "core").glob("*.py")), ids=name_of)
def test_the_core_is_pure(module: Path) -> None:
    """Decisions know no clock, no chance, no socket and no log."""
    roots = {dotted.split(".")[0] for _, dotted in imports(ast.parse(module.read_text()))}
    assert roots & IMPURE == set()


def test_one_file_reads_the_environment() -> None:
    readers = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb"):
                readers.add(name_of(path))
    assert readers <= READS_ENVIRONMENT


def test_every_module_says_what_it_is_for(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text()))


def test_a_layer_has_only_what_is_there() -> None:
    there = {"", *(path.stem for path in SOURCE.iterdir())}
    assert there >= LAYERS.keys() >= TOGETHER
    assert NAMED_FROM_BELOW.keys() <= {name_of(path) for path in MODULES}


def test_who_develops_has_every_extra_so_no_test_is_skipped_for_want_of_a_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    wanted = {name for extra in extras for name in required(extras, extra)}
    assert required(extras, "dev") >= wanted
    asking = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if getattr(node, "attr", getattr(node, "id", "")) in ("importorskip", "find_spec")
    ]
    assert asking == []


def required(extras: dict[str, list[str]], extra: str) -> set[str]:
    """The packages that an extra names, itself or by the extras that it names."""
    names = set()
    for requirement in extras[extra]:
        if inner := re.match(r"salver\[(.+)\]", requirement):
            names |= {name for one in inner[1].split(",") for name in required(extras, one)}
        else:
            names |= set(re.findall(r"^[\w.-]+", requirement))
    return names


def loaded_by(code: str) -> set[str]:
    """The modules that are loaded after `code` ran in a fresh process."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT / "src"
    )
    return set(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.parametrize("program", ["import salver", "from salver import serve"])
def test_the_import_is_cheap(program: str) -> None:
    heavy = {"numpy", "grpc", "ray", "torch", "uvicorn", "starlette", "fastapi", "pydantic"}
    assert loaded_by(program) & heavy == set()


def test_the_decorators_are_cheap() -> None:
    """A module of deployments costs its import nothing heavy either."""
    program = "import salver; salver.deployment(lambda: 1); salver.ingress; salver.run"
    heavy = {"numpy", "grpc", "ray", "torch", "uvicorn", "starlette", "fastapi", "pydantic"}
    assert loaded_by(program) & heavy == set()


def test_the_processes_of_an_instance_load_nothing_heavy_by_themselves() -> None:
    """The keeper has all this in its memory: numpy comes with a replica that has endpoints."""
    program = "import salver.doors.server, salver.control.main, salver.replica.main"
    assert loaded_by(program) & {"numpy", "simdjson", "pydantic", "grpc", "torch"} == set()


def test_the_import_changes_nothing() -> None:
    """Neither the root logger nor our own, no signal handler, no thread."""
    code = (
        "import logging, signal, threading\n"
        "before = signal.getsignal(signal.SIGINT)\n"
        "import salver; salver.run\n"
        "assert not logging.getLogger().handlers and not logging.getLogger('salver').handlers\n"
        "assert signal.getsignal(signal.SIGINT) is before and threading.active_count() == 1\n"
    )
    loaded_by(code)


def test_help_loads_little() -> None:
    """`salver --help` answers at once: it loads click, and none of the commands' machinery."""
    code = "import sys; sys.argv = ['salver', '--help']\nfrom salver.cli.main import main\n"
    code += "try: main()\nexcept SystemExit: pass"
    heavy = {"asyncio", "uvloop", "msgspec", "cloudpickle", "rich", "watchfiles", "starlette"}
    assert loaded_by(code) & heavy == set()
