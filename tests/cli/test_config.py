"""`salver run config.yaml`, `check`, `build`, `schema`, as they are used."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from salver.cli.apps import ConfigApps, read_file
from salver.spec.logging import EncodingType, LoggingConfig
from tests.conftest import Command, put
from tests.environment.shelf import Server, zipped
from tests.environment.wheels import make_wheel

SHOP = """
import os
import sys
from pydantic import BaseModel
import salver


class Args(BaseModel):
    word: str
    times: int = 1


@salver.deployment(num_replicas=1, max_ongoing_requests=7)
class Shop:
    def __init__(self, text="plain"):
        self.text = text

    def __call__(self, request):
        return {"text": self.text, "pid": os.getpid(), "level": os.environ.get("LEVEL"),
                "own": os.environ.get("OWN"), "cwd": os.getcwd()}

    def reconfigure(self, config):
        self.text = config["text"]


app = Shop.bind()


def build(args: Args):
    return Shop.bind(args.word * args.times)
"""
CONFIG = """\
http_options:
  port: 0
applications:
  - name: one
    route_prefix: /one
    import_path: shop:app
    runtime_env:
      env_vars: {LEVEL: app}
    deployments:
      - name: Shop
        ray_actor_options:
          runtime_env: {env_vars: {OWN: deployment}}
  - name: two
    route_prefix: /two
    import_path: shop:build
    args: {word: ab, times: 2}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


def test_the_apps_of_a_file_run_side_by_side(salver_command: Command, folder: Path) -> None:
    served = salver_command("run", "config.yaml", cwd=folder)
    urls = {url.rpartition("/")[2]: url for url in (served.url, served.url)}
    one, two = httpx.get(urls["one"], timeout=60).json(), httpx.get(urls["two"], timeout=60).json()
    assert (one["text"], one["level"], one["own"]) == ("plain", "app", "deployment")
    assert (two["text"], two["level"], two["own"]) == ("abab", None, None)
    assert served.stop() == 0


POLICY = """
import os
from pathlib import Path


class Regional:
    def __init__(self, fifo):
        Path(fifo).write_text(os.environ.get("REGION", "nowhere"))

    def __call__(self, ctx):
        return ctx.target_num_replicas, {}
"""
REGIONAL = """\
http_options: {port: 0}
controller_options:
  runtime_env:
    env_vars: {REGION: south}
applications:
  - import_path: shop:app
    deployments:
      - name: Shop
        autoscaling_config:
          max_replicas: 2
          policy: {policy_function: "regional:Regional", policy_kwargs: {fifo: FIFO}}
"""


def test_a_file_says_what_its_controller_is_given(salver_command: Command, folder: Path) -> None:
    (folder / "regional.py").write_text(POLICY)
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    config = REGIONAL.replace("FIFO", str(fifo))
    put(folder / "config.yaml", config)
    served = salver_command("run", "config.yaml", "--reload", cwd=folder)
    assert fifo.read_text() == "south"
    served.line(r"App default is ready")
    put(folder / "config.yaml", config.replace("south", "north"))
    served.line("controller_options has changed; it stays as it was until the next start.")
    assert served.stop() == 0


def test_reload_touches_only_what_has_changed(salver_command: Command, folder: Path) -> None:
    served = salver_command("run", "config.yaml", "--reload", cwd=folder)
    urls = {url.rpartition("/")[2]: url for url in (served.url, served.url)}
    before = {name: httpx.get(url, timeout=60).json() for name, url in urls.items()}
    config = CONFIG.replace("times: 2", "times: 3")
    put(folder / "config.yaml", config)
    served.line(r"App two is ready")
    after = {name: httpx.get(url, timeout=60).json() for name, url in urls.items()}
    assert after["two"]["text"] == "ababab"
    assert after["one"]["pid"] == before["one"]["pid"]
    light = config.replace("- name: Shop", "- name: Shop\n        user_config: {text: told}")
    put(folder / "config.yaml", light)
    served.line(r"App one is ready")
    told = httpx.get(urls["one"], timeout=60).json()
    assert (told["text"], told["pid"]) == ("told", before["one"]["pid"])
    put(folder / "config.yaml", "applications: 3\n")
    served.error("The old code keeps serving.")
    assert httpx.get(urls["two"], timeout=60).json()["pid"] == after["two"]["pid"]
    put(folder / "config.yaml", light.partition("  - name: two")[0])
    served.line(r" two DELETED")
    assert httpx.get(urls["one"], timeout=60).json()["pid"] == before["one"]["pid"]
    put(folder / "shop.py", SHOP.replace('"pid"', '"new": 1, "pid"'))
    served.line(r"App one is ready")
    assert httpx.get(urls["one"], timeout=60).json()["new"] == 1
    assert served.stop() == 0


def test_a_user_config_that_no_replica_takes_is_mended_by_the_next_change(
    salver_command: Command, folder: Path
) -> None:
    put(folder / "config.yaml", CONFIG)
    served = salver_command("run", "config.yaml", "--reload", cwd=folder)
    url = {url.rpartition("/")[2]: url for url in (served.url, served.url)}["one"]
    wrong = CONFIG.replace("- name: Shop", "- name: Shop\n        user_config: {txt: told}")
    put(folder / "config.yaml", wrong)
    served.line(r"one UNHEALTHY Shop: KeyError: 'text'")
    put(folder / "config.yaml", wrong.replace("txt", "text"))
    served.line(r"App one is ready")
    assert httpx.get(url, timeout=60).json()["text"] == "told"
    assert served.stop() == 0


SPEAKER = """
import salver


@salver.deployment
class Speaker:
    @salver.endpoint
    def infer(self, x: int) -> int:
        return x


app = Speaker.bind()
"""
ONE_APP = """\
http_options:
  port: 0
applications:
  - name: old
    route_prefix: /x
    import_path: shop:app
"""


def test_reload_gives_an_app_another_name_and_survives_what_cannot_be(
    salver_command: Command, folder: Path
) -> None:
    (folder / "speaker.py").write_text(SPEAKER)
    (folder / "config.yaml").write_text(ONE_APP)
    served = salver_command("run", "config.yaml", "--reload", cwd=folder)
    url = served.url
    before = httpx.get(url, timeout=60).json()["pid"]
    renamed = ONE_APP.replace("name: old", "name: new")
    put(folder / "config.yaml", renamed)
    served.line(r" old DELETED")
    pid = httpx.get(url, timeout=60).json()["pid"]
    assert pid != before
    twice = "".join(
        f"  - {{name: {name}, route_prefix: /{name}, import_path: 'speaker:app'}}\n"
        for name in ("a", "b")
    )
    put(folder / "config.yaml", renamed + twice)
    served.error("Model 'Speaker' of deployment b#Speaker is taken by deployment a#Speaker")
    served.error("The old code keeps serving.")
    assert httpx.get(url, timeout=60).json()["pid"] == pid
    put(folder / "config.yaml", renamed + twice.partition("\n")[0] + "\n")
    served.line(r"App a is ready")
    assert httpx.get(url, timeout=60).json()["pid"] == pid
    assert served.stop() == 0


def test_the_command_line_wins_over_the_file(salver_command: Command, folder: Path) -> None:
    (folder / "config.yaml").write_text(CONFIG.replace("port: 0", "port: 1"))
    served = salver_command("run", "config.yaml", "--port", "0", cwd=folder)
    assert httpx.get(served.url, timeout=60).status_code == 200
    assert served.stop() == 0


WAITS = """
import asyncio
import salver

@salver.deployment
async def waits(request):
    if request.query_params:
        await asyncio.Event().wait()
    return f"{request.url.path} {request.scope['root_path']}"

app = waits.bind()
"""


def test_the_file_s_http_options_reach_the_door(salver_command: Command, tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text(WAITS)
    (tmp_path / "config.yaml").write_text(
        "http_options: {host: 127.0.0.2, port: 0, root_path: /behind, request_timeout_s: 1.5,"
        " keep_alive_timeout_s: 0.2}\napplications: [{import_path: 'waits:app'}]\n"
    )
    served = salver_command("run", "config.yaml", cwd=tmp_path)
    url = httpx.URL(served.url)
    assert url.host == "127.0.0.2"
    assert httpx.get(url.join("/behind/x"), timeout=60).text == "/behind/x /behind"
    assert httpx.get(url.join("/behind/x?wait"), timeout=60).status_code == 408
    assert url.port is not None
    with socket.create_connection((url.host, url.port), timeout=60) as idle:
        idle.sendall(b"GET /-/healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        said = b"".join(iter(lambda: idle.recv(65536), b""))  # until the door closes it
    assert said.startswith(b"HTTP/1.1 200")
    assert said.count(b"HTTP/1.1") == 1
    assert served.stop() == 0


@pytest.mark.parametrize(("word", "told"), [("1", True), ("", False)])
def test_variables_of_ray_serve_s_that_mean_nothing_are_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
    salver_command: Command,
    folder: Path,
    word: str,
    told: bool,
) -> None:
    if word:
        monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", word)
    monkeypatch.setenv("RAY_SERVE_DEFAULT_HTTP_HOST", "127.0.0.1")
    served = salver_command("run", "shop:app", "--port", "0", cwd=folder)
    assert served.url
    assert served.stop() == 0
    errors = served.errors()
    assert ("mean nothing here: RAY_SERVE_ENABLE_HA_PROXY (there is one way" in errors) is told
    assert "RAY_SERVE_DEFAULT_HTTP_HOST" not in errors


def test_an_app_that_fails_leaves_the_others(salver_command: Command, folder: Path) -> None:
    failing = CONFIG.replace("plain", "").replace(
        "      - name: Shop", "      - name: Shop\n        max_constructor_retry_count: 1\n"
        "        user_config: {wrong: 1}"
    )  # fmt: skip
    (folder / "config.yaml").write_text(failing)
    served = salver_command("run", "config.yaml", cwd=folder)
    assert httpx.get(served.url, timeout=60).json()["text"] == "abab"
    served.error("Error: app one could not be brought up.")
    assert served.stop() == 0


def test_without_doors_nothing_listens(salver_command: Command, folder: Path) -> None:
    (folder / "config.yaml").write_text(f"proxy_location: Disabled\n{CONFIG}")
    served = salver_command("run", "config.yaml", cwd=folder)
    served.line(r"App (one|two) runs. It has no route")
    assert served.stop() == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "config.yaml", "--name", "x"), "--name is for an app that is named by module"),
        (("run", "config.yaml", "--route-prefix", "/x"), "--route-prefix is for an app"),
        (("run", "config.yaml", "a=b"), "ARGS is for an app"),
        (("check", "config.yaml", "a=b"), "ARGS is for an app"),
    ],
)
def test_what_the_file_says_itself_is_not_said_beside_it(
    salver_command: Command, folder: Path, words: tuple[str, ...], message: str
) -> None:
    served = salver_command(*words, cwd=folder)
    assert served.process.wait() == 1
    assert message in served.errors()


WRONG = """\
applications:
  - name: one
    import_path: shop:nothing
  - name: two
    route_prefix: /two
    import_path: shop:build
    args: {wrod: x}
  - name: three
    route_prefix: /three
    import_path: shop:app
    deployments:
      - {name: Shopp, num_replicas: 2}
  - name: four
    route_prefix: /four
    import_path: shop:app
    runtime_env: {working_dir: nowhere}
  - name: five
    route_prefix: /five
    import_path: crash:app
http_options: {port: 0}
"""


@pytest.mark.parametrize("verb", ["check", "run"])
def test_every_app_that_is_wrong_is_told(salver_command: Command, folder: Path, verb: str) -> None:
    (folder / "wrong.yaml").write_text(WRONG)
    (folder / "crash.py").write_text("import os\nos._exit(7)\n")
    served = salver_command(verb, "wrong.yaml", cwd=folder)
    assert served.process.wait() == 1
    errors = served.errors()
    assert "Error: wrong.yaml has 5 problems:" in errors
    assert "wrong.yaml:3:18: applications[0].import_path: 'shop' has no 'nothing'." in errors
    assert "wrong.yaml:7:11: applications[1].args: 'shop:build' takes no argument 'wrod'." in errors
    assert (
        "wrong.yaml:12:16: applications[2].deployments[0].name: the app has no deployment 'Shopp'. "
        "It has: Shop."
    ) in errors
    assert "applications[3].runtime_env: working_dir='" in errors
    assert (
        "applications[4].import_path: the process that imports it ended with exit code 7" in errors
    )


ELSEWHERE = """\
applications:
  - name: one
    import_path: shop:app
    autoscaling_policy:
      policy_function: shop:nothing
  - name: two
    route_prefix: /two
    import_path: shop:app
    deployments:
      - name: Shop
        request_router_config:
          request_router_class: shop:Router
  - name: three
    route_prefix: /three
    import_path: shop:app
    deployments:
      - name: Shop
        num_replicas: 2
        request_router_config: {request_router_class: "shop:Args"}
  - name: four
    route_prefix: /four
    import_path: shop:app
    deployments:
      - name: Shop
        autoscaling_config:
          max_replicas: 2
          policy:
            policy_function: nowhere:rule
  - name: five
    route_prefix: /five
    import_path: shop:app
    deployments:
      - name: Shop
        deployment_actors:
          - {name: counts, actor_class: "shop:Counts"}
  - name: six
    route_prefix: /six
    import_path: shop:app
    deployments:
      - name: Shop
        ray_actor_options:
          runtime_env: {working_dir: nowhere}
  - name: seven
    route_prefix: /seven
    import_path: shop:ruled
    deployments:
      - {name: Shop, num_replicas: 2}
"""


def test_a_path_that_leads_nowhere_is_told_at_its_own_place(
    salver_command: Command, folder: Path
) -> None:
    """Unless it is the code's: that is where the import path leads."""
    ruled = 'ruled = Shop.options(request_router_config={"request_router_class": "shop:R"}).bind()'
    (folder / "shop.py").write_text(f"{SHOP}\n\n{ruled}\n")
    (folder / "elsewhere.yaml").write_text(ELSEWHERE)
    served = salver_command("check", "elsewhere.yaml", cwd=folder)
    assert served.process.wait() == 1
    errors = served.errors()
    deployment = "deployments[0]"
    for told in (
        "5:24: applications[0].autoscaling_policy.policy_function: policy_function='shop:nothing' ",
        f"12:33: applications[1].{deployment}.request_router_config.request_router_class: request_",
        f"19:55: applications[2].{deployment}.request_router_config.request_router_class: request_",
        f"28:30: applications[3].{deployment}.autoscaling_config.policy.policy_function: policy_fu",
        f"35:11: applications[4].{deployment}.deployment_actors: actor_class='shop:Counts' cannot ",
        f"42:24: applications[5].{deployment}.ray_actor_options.runtime_env: working_dir='",
        "45:18: applications[6].import_path: request_router_class='shop:R' cannot be imported",
    ):
        assert f"elsewhere.yaml:{told}" in errors
    assert "has 7 problems" in errors


def test_check_says_what_would_run(salver_command: Command, folder: Path) -> None:
    served = salver_command("check", "config.yaml", cwd=folder)
    assert served.process.stdout is not None
    said = served.process.stdout.read()
    assert said.startswith("config.yaml is valid: 2 apps.\n  one  /one\n    Shop: 1 replica\n")
    assert served.process.wait() == 0


def test_check_gives_a_builder_its_arguments(salver_command: Command, folder: Path) -> None:
    served = salver_command("check", "shop:build", "word=ab", "times=2", cwd=folder)
    served.line(r"^shop:build is valid: 1 app\.$")
    assert served.process.wait() == 0
    served = salver_command("check", "shop:build", "wrod=ab", cwd=folder)
    assert "'shop:build' takes no argument 'wrod'. Did you mean word?" in served.errors()
    assert served.process.wait() == 1


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            "grpc_options: {grpc_servicer_functions: [nowhere.add, shop.app], port: 0}",
            [
                r"wrong.yaml:1:42: grpc_options.grpc_servicer_functions\[0\]: .* 'nowhere'",
                r"wrong.yaml:1:55: grpc_options.grpc_servicer_functions\[1\]: .* 'app' is ",
            ],
        ),
        (
            "grpc_options: {inference: true, ssl_certfile: a, ssl_keyfile: b, port: 0}",
            [r"wrong.yaml:1:15: grpc_options: ssl_certfile='.*a' .*No such file"],
        ),
        (
            "http_options: {ssl_certfile: a, ssl_keyfile: b, port: 0}",
            [r"wrong.yaml:1:15: http_options: ssl_certfile='.*a' .*No such file"],
        ),
    ],
)
def test_what_a_door_cannot_use_is_told_with_its_place(
    salver_command: Command, folder: Path, options: str, why: list[str], verb: str
) -> None:
    rest = "applications: [{name: one, import_path: 'shop:app'}]\n"
    if "http" not in options:
        rest += "http_options: {port: 0}\n"
    (folder / "wrong.yaml").write_text(f"{options}\n{rest}")
    told = salver_command(verb, "wrong.yaml", cwd=folder)
    assert told.process.wait() == 1
    said = told.errors()
    assert all(re.search(line, said) for line in why), said


def test_what_is_built_runs(salver_command: Command, folder: Path) -> None:
    built = salver_command("build", "shop:app", "-o", "new.yaml", cwd=folder)
    built.line(r"Wrote new\.yaml\. Next: salver run new\.yaml")
    assert built.process.wait() == 0
    text = (folder / "new.yaml").read_text()
    assert "        max_ongoing_requests: 7  # Requests that one replica works on" in text
    assert "        # num_replicas: 1  # Copies that run" in text
    served = salver_command("run", "new.yaml", "--port", "0", cwd=folder)
    assert httpx.get(served.url, timeout=60).json()["text"] == "plain"
    assert served.stop() == 0


RULED = """
import salver
from salver.serve.config import AutoscalingPolicy
from salver.serve.request_router import RequestRouter


class First(RequestRouter):
    async def choose_replicas(self, candidate_replicas, pending_request=None):
        return [candidate_replicas]


def three(ctx):
    return 3, {}


def here():
    return lambda ctx: (1, {})


@salver.deployment(request_router_config={"request_router_class": First})
class Ruled:
    def __init__(self, *others):
        pass

    def __call__(self, request):
        return "ruled"


def scaled(policy):
    return {"max_replicas": 4, "upscale_delay_s": 0, "policy": AutoscalingPolicy(policy)}


Named = Ruled.options(name="Named", autoscaling_config=scaled(three))
Nameless = Ruled.options(name="Nameless", autoscaling_config=scaled(here()))
app = Ruled.bind(Named.bind(), Nameless.bind())
"""


def test_what_is_built_names_code_by_its_path(salver_command: Command, folder: Path) -> None:
    (folder / "ruled.py").write_text(RULED)
    built = salver_command("build", "ruled:app", "-o", "new.yaml", cwd=folder)
    assert built.process.wait() == 0
    text = (folder / "new.yaml").read_text()
    assert "policy_function: ruled:three" in text
    assert text.count("request_router_class: ruled:First") == 3
    assert "# autoscaling_config: as in the code; what it names cannot be imported" in text
    assert "type: pickle" not in text
    served = salver_command("run", "new.yaml", "--port", "0", cwd=folder)
    served.line(r"default#Named SCALES from 1 to 3: its policy wants 3")
    assert served.stop() == 0


def test_build_names_several_apps_apart(salver_command: Command, folder: Path) -> None:
    (folder / "other.py").write_text("from shop import app\n")
    built = salver_command("build", "shop:app", "other:app", cwd=folder)
    assert built.process.stdout is not None
    (folder / "new.yaml").write_text(built.process.stdout.read())
    assert built.process.wait() == 0
    checked = salver_command("check", "new.yaml", cwd=folder)
    checked.line(r"^  shop  /shop$")
    checked.line(r"^  other  /other$")
    assert checked.process.wait() == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("shop:nothing",), "has no 'nothing'"),
        (("shop:app", "shop:app"), "is given twice"),
        (("shop:app", "-o", "nowhere/new.yaml"), "Error: nowhere/new.yaml cannot be written: No"),
    ],
)
def test_build_says_what_is_wrong(
    salver_command: Command, folder: Path, words: tuple[str, ...], message: str
) -> None:
    built = salver_command("build", *words, cwd=folder)
    assert built.process.wait() == 1
    assert message in built.errors()


def test_toml_is_refused(salver_command: Command, folder: Path) -> None:
    (folder / "config.toml").write_text("applications = []\n")
    served = salver_command("run", "config.toml", cwd=folder)
    assert served.process.wait() == 1
    assert "config.toml is TOML, which is not read here" in served.errors()


def test_schema_is_json(salver_command: Command) -> None:
    printed = salver_command("schema")
    assert printed.process.stdout is not None
    assert json.loads(printed.process.stdout.read())["title"] == "Salver configuration"
    assert printed.process.wait() == 0


PACKED = """
import salver
import salver_tiny


@salver.deployment
class Packed:
    def __call__(self, request):
        return [salver_tiny.VALUE]


@salver.deployment
class Other:
    def __call__(self, request):
        import salver_other
        return [salver_other.VALUE]


app = Packed.bind()
other = Other.bind()
"""


def test_every_app_has_its_packages_and_its_folder(
    salver_command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One app's packages are the whole app's, one deployment's are its own."""
    monkeypatch.setenv("SALVER_CACHE_DIR", str(folder / "cache"))
    (folder / "code").mkdir()
    (folder / "code" / "packed.py").write_text(PACKED)
    tiny = make_wheel(folder, "salver_tiny", "VALUE = 41\n")
    other = make_wheel(folder, "salver_other", "VALUE = 42\n")
    (folder / "packed.yaml").write_text(
        "http_options: {port: 0}\n"
        "applications:\n"
        "- {name: a, route_prefix: /a, import_path: packed:app,\n"
        f"   runtime_env: {{working_dir: code, pip: [./{tiny.name}]}}}}\n"
        "- name: b\n"
        "  route_prefix: /b\n"
        "  import_path: packed:other\n"
        f"  runtime_env: {{working_dir: code, pip: [./{tiny.name}]}}\n"
        "  deployments:\n"
        "  - name: Other\n"
        f"    ray_actor_options: {{runtime_env: {{pip: [./{other.name}]}}}}\n"
    )
    served = salver_command("run", "packed.yaml", cwd=folder)
    urls = {url.rpartition("/")[2]: url for url in (served.url, served.url)}
    assert httpx.get(urls["a"], timeout=60).json() == [41]
    assert httpx.get(urls["b"], timeout=60).json() == [42]
    assert served.stop() == 0


def test_an_app_may_lie_in_a_zip_on_a_server(
    salver_command: Command, folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALVER_CACHE_DIR", str(folder / "cache"))
    shop = (folder / "shop.py").rename(folder / "away.py").read_text()
    address = server.put("code.zip", zipped({"code/shop.py": shop}))
    one = CONFIG.partition("  - name: two")[0]
    (folder / "config.yaml").write_text(
        one.replace("env_vars: {LEVEL: app}", f"working_dir: {address}")
    )
    served = salver_command("run", "config.yaml", cwd=folder)
    cwd = Path(httpx.get(served.url, timeout=60).json()["cwd"])
    assert (cwd.name, cwd.is_relative_to(folder / "cache" / "folders")) == ("code", True)
    assert served.stop() == 0
    (folder / "config.yaml").write_text(
        one.replace("env_vars: {LEVEL: app}", f"working_dir: {address}".replace("code", "nowhere"))
    )
    told = salver_command("check", "config.yaml", cwd=folder)
    assert told.process.wait() == 1
    assert "config.yaml:8:7: applications[0].runtime_env: working_dir='http://" in (
        said := told.errors()
    )
    assert "cannot be fetched: the server answers 404 Not Found." in said


SAID_OF_ALL = """\
http_options: {port: 0}
logging_config: {log_level: ERROR}
target_capacity: 50
applications:
- name: one
  import_path: shop:app
  logging_config: {log_level: DEBUG, encoding: JSON}
  autoscaling_policy: {policy_function: "rule:always_three", policy_kwargs: {number: 3}}
  deployments:
  - name: Shop
    autoscaling_config: {min_replicas: 1, max_replicas: 8, upscale_delay_s: 0}
"""
RULE = """
def always_three(contexts, number):
    return {key: number for key in contexts}, {}
"""


def test_what_is_said_of_all_reaches_all(folder: Path) -> None:
    """The levels of the logs, the app's own policy, the share of the replicas."""
    (folder / "rule.py").write_text(RULE)
    (folder / "all.yaml").write_text(SAID_OF_ALL)
    config, document = read_file(str(folder / "all.yaml"))
    assert config.logging_config == {"log_level": "ERROR"}
    (app,) = ConfigApps(str(folder / "all.yaml"), str(folder)).build(config, document)
    (shop,) = app.deployments
    assert shop.options.logging_config == LoggingConfig(
        log_level="DEBUG", encoding=EncodingType.JSON
    )
    assert app.target_capacity == 50
    assert app.autoscaling_policy is not None
    assert app.autoscaling_policy.policy_kwargs == {"number": 3}
    assert shop.options.autoscaling_config is not None
    assert shop.options.autoscaling_config.max_replicas == 8
