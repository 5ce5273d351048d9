"""Who takes part: for each contender its environment, its command, and what it is asked."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.harness.envs import Envs
from bench.harness.machine import ROOT
from bench.harness.servers import Launch, Request
from bench.pictures import PIXELS, RAW, SHAPE
from bench.rpc import rpc_port

CHUNKS = 100
RPC_SERVICE = "bench.apps.rpc_service.add_hello_to_server"
TENSOR = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
UPLOAD_PROBE = b"x" * 1000


def _image(binary: bool) -> tuple[bytes, int]:
    """A picture as FP32: the whole body, and how much of it is JSON."""
    tensor = {"name": "x", "shape": SHAPE, "datatype": "FP32"}
    blob = RAW if binary else b""
    tensor |= {"parameters": {"binary_data_size": len(blob)}} if binary else {"data": PIXELS}
    asked = {"parameters": {"binary_data_output": True}} if binary else {}
    text = json.dumps({"inputs": [tensor], **asked}).encode()
    return text + blob, len(text)


@dataclass(frozen=True)
class Site:
    """Where a server is started: its environments, and a folder of its own."""

    envs: Envs
    scratch: Path


@dataclass(frozen=True)
class Contender:
    """One server under test. `requests` holds the apps that it can serve."""

    title: str
    env: str
    launch: Callable[[str, int, Site], Launch]
    requests: Mapping[str, Request] = field(default_factory=dict)


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- what the right answers are ---------------------------------------------------------------


def _json_is(value: object) -> Callable[[bytes], bool]:
    return lambda body: bool(json.loads(body) == value)


def _is_tensor(body: bytes) -> bool:
    return bool(json.loads(body)["outputs"][0]["data"] == TENSOR["inputs"][0]["data"])


def _is_image(body: bytes) -> bool:
    found = json.loads(body)["outputs"][0]["data"]
    return len(found) == len(PIXELS) and abs(found[1000] - PIXELS[1000]) < 1e-6


def _is_binary_image(body: bytes) -> bool:
    return body.endswith(RAW)


def _is_loop(body: bytes) -> bool:
    figures = json.loads(body)
    return bool(figures["requests"] > 0 and figures["errors"] == 0)


def _has_pid(body: bytes) -> bool:
    return bool(json.loads(body)["pid"] > 0)


_HELLO = _json_is({"result": "Hello world!"})
_STREAM = Request(lambda body: body.count(b"data: token") == CHUNKS)
_UPLOAD = Request(
    _json_is({"length": len(UPLOAD_PROBE)}),
    method="POST",
    body=UPLOAD_PROBE,
    content_type="application/octet-stream",
)


_INFER = "/v2/models/m/infer"
_SMALL = Request(_is_tensor, _INFER, "POST", json.dumps(TENSOR).encode())
_IMAGE = Request(_is_image, _INFER, "POST", _image(binary=False)[0])
_BINARY, _JSON_SIZE = _image(binary=True)
_BINARY_IMAGE = Request(
    _is_binary_image, _INFER, "POST", _BINARY, "application/octet-stream",
    ("Inference-Header-Content-Length", str(_JSON_SIZE)),
)  # fmt: skip
_OIP = {"oip_small": _SMALL, "oip_image": _IMAGE, "oip_grpc": _SMALL}


def _at(path: str, request: Request) -> Request:
    return Request(request.right, path, request.method, request.body, request.content_type)


_PROGRAMS = {
    "hello": Request(_HELLO),
    "hello_limit": Request(_HELLO),
    "hello_sync": Request(_HELLO),
    "compose": Request(_json_is({"result": 101.5})),
    "handle": Request(_is_loop),
    "rpc": Request(_HELLO),
    "multiplex": Request(_is_loop),
    "sse": _STREAM,
    "upload": _UPLOAD,
    "upload_buffer": _UPLOAD,
    "blocked": Request(_HELLO),
    **dict.fromkeys(("scale", "scale_second", "scale_default"), Request(_has_pid)),
    "batch": Request(_HELLO),
    "batch_two": Request(_HELLO),
    "batch_loop": Request(_is_loop),
    "oip_plain": Request(_is_tensor, "/", "POST", json.dumps(TENSOR).encode()),
    "oip_binary": _BINARY_IMAGE,
    "oip_held": _SMALL,
    **_OIP,
}


def _is_digit(body: bytes) -> bool:
    found = json.loads(body)
    return bool(0 <= (found[0] if isinstance(found, list) else found)["digit"] <= 9)


_IMAGE = [(7 * i) % 256 for i in range(28 * 28)]  # as in apps/digits.py
_DIGIT = Request(_is_digit, method="POST", body=json.dumps({"pixels": _IMAGE}).encode())
_DIGITS = {"digits": _DIGIT, "digits_batch": _DIGIT}
_BENTO_BATCH = Request(_is_digit, "/read_batch", "POST", json.dumps({"images": [_IMAGE]}).encode())


# --- how they are started ---------------------------------------------------------------------


def _salver(app: str, port: int, site: Site) -> Launch:
    if app.startswith("digits"):
        python = site.envs.executable("salver-torch", "python")
        target = f"bench.apps.salver_digits:{app}"
        return Launch([python, "-m", "salver", "run", target, "--port", str(port)], port)
    python = site.envs.executable("salver", "python")
    if app == "replica":
        return Launch([python, "-m", "bench.apps.salver_replica", str(port)], port, talks=True)
    argv = [python, "-m", "salver", "run", _target(app), "--port", str(port)]
    if app == "rpc":
        argv += ["--grpc-port", str(rpc_port(port)), "--grpc-servicer-functions", RPC_SERVICE]
    if app == "oip_grpc":
        argv += ["--grpc-port", str(rpc_port(port))]
    return Launch(argv, port)


def _target(app: str) -> str:
    if app == "rpc":
        return "bench.apps.salver_rpc:app"
    module = "salver_oip" if app.startswith("oip") else "salver_app"
    return f"bench.apps.{module}:{app}"


def _grpc_aio(app: str, port: int, site: Site) -> Launch:
    python = site.envs.executable("base", "python")
    return Launch([python, "-m", "bench.apps.rpc_bare", str(port)], port)


def _uvicorn(module: str) -> Callable[[str, int, Site], Launch]:
    def launch(app: str, port: int, site: Site) -> Launch:
        argv = [site.envs.executable("base", "uvicorn"), f"bench.apps.{module}:app"]
        argv += ["--port", str(port), "--no-access-log", "--log-level", "warning"]
        argv += ["--workers", "2"] if app == "blocked" else []
        return Launch(argv, port)

    return launch


def _granian(app: str, port: int, site: Site) -> Launch:
    argv = [site.envs.executable("base", "granian"), "--interface", "rsgi"]
    argv += ["bench.apps.asgi_app:rsgi", "--port", str(port), "--workers", "1", "--no-access-log"]
    return Launch(argv, port)


def _ray(module: str, **switches: str) -> Callable[[str, int, Site], Launch]:
    def launch(app: str, port: int, site: Site) -> Launch:
        env = "ray-torch" if app.startswith("digits") else "ray"
        argv = [site.envs.executable(env, "python"), "-m", f"bench.apps.{module}"]
        argv += [app, str(port)] if module == "ray_app" else [str(port)]
        return Launch(argv, port, {"RAY_USAGE_STATS_ENABLED": "0", **switches})

    return launch


def _litserve(app: str, port: int, site: Site) -> Launch:
    env = "lit-torch" if app.startswith("digits") else "lit"
    argv = [site.envs.executable(env, "python"), "-m", "bench.apps.lit_app", app, str(port)]
    return Launch(argv, port)


def _bentoml(app: str, port: int, site: Site) -> Launch:
    env, target = "bento", "bench.apps.bento_app:Hello"
    if app.startswith("digits"):
        env, target = "bento-torch", "bench.apps.bento_digits:Digits"
    argv = [site.envs.executable(env, "bentoml"), "serve", target]
    argv += ["--host", "127.0.0.1", "--port", str(port)]
    quiet = {"BENTOML_DO_NOT_TRACK": "1", "BENTOML_HOME": str(site.scratch)}
    return Launch(argv, port, quiet)


def _mlserver(app: str, port: int, site: Site) -> Launch:
    folder = site.scratch / "model"
    folder.mkdir()
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": rpc_port(port),
        "metrics_port": free_port(),
        "parallel_workers": 0,  # its faster way; 1.7.1 does not start its workers on new uvloops
        "debug": False,
        "access_log": False,
        "environments_dir": str(site.scratch / "environments"),
    }
    model = {"name": "m", "implementation": "models.Echo"}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    code = (ROOT / "bench" / "apps" / "mls" / "models.py").read_text()
    (folder / "models.py").write_text(code)
    return Launch([site.envs.executable("mls", "mlserver"), "start", str(folder)], port)


_FLOOR = {
    "hello": Request(_HELLO),
    "sse": _at("/sse", _STREAM),
    "upload": _at("/upload", _UPLOAD),
    "blocked": Request(_HELLO, "/blocked"),
}
_HAPROXY = "Ray Serve, HAProxy + throughput"
_TUNED = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}

CONTENDERS: dict[str, Contender] = {
    "salver": Contender("Salver", "salver", _salver, _PROGRAMS | {"replica": Request(_HELLO)}),
    "uvicorn": Contender("uvicorn, bare ASGI", "base", _uvicorn("asgi_app"), _FLOOR),
    "fastapi": Contender(
        "FastAPI on uvicorn",
        "base",
        _uvicorn("fastapi_app"),
        {**_FLOOR, "hello_sync": Request(_HELLO, "/sync")},
    ),
    "grpc-aio": Contender("grpc.aio, bare server", "base", _grpc_aio, {"rpc": Request(_HELLO)}),
    "granian": Contender("Granian, RSGI", "base", _granian, {"hello": Request(_HELLO)}),
    "ray": Contender("Ray Serve, default", "ray", _ray("ray_app"), _PROGRAMS),
    "ray-haproxy": Contender(_HAPROXY, "ray", _ray("ray_app", **_TUNED), _PROGRAMS),
    "ray-actors": Contender(
        "Ray actor calls", "ray", _ray("ray_actors"), {"handle": Request(_is_loop)}
    ),
    "litserve": Contender(
        "LitServe",
        "lit",
        _litserve,
        dict.fromkeys(("hello", "batch", "batch_two"), Request(_HELLO, "/predict", "POST", b"{}")),
    ),
    "bentoml": Contender(
        "BentoML", "bento", _bentoml, {"hello": Request(_HELLO, "/hello", "POST", b"{}")}
    ),
    "salver-torch": Contender(
        "Salver", "salver-torch", _salver, {**_DIGITS, "digits_loop": Request(_is_loop)}
    ),
    "ray-torch": Contender(_HAPROXY, "ray-torch", _ray("ray_app", **_TUNED), _DIGITS),
    "litserve-torch": Contender(
        "LitServe",
        "lit-torch",
        _litserve,
        {app: _at("/predict", request) for app, request in _DIGITS.items()},
    ),
    "bentoml-torch": Contender(
        "BentoML",
        "bento-torch",
        _bentoml,
        {"digits": _at("/read", _DIGIT), "digits_batch": _BENTO_BATCH},
    ),
    "mlserver": Contender(
        "MLServer, V2 1x4",
        "mls",
        _mlserver,
        {"hello": _SMALL, **_OIP},
    ),
}
