"""What is measured, and what must come out: the cases and the targets, as tables."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.harness.load import (
    Further,
    Idle,
    Inner,
    Load,
    OpenRate,
    Rpc,
    Start,
    Step,
    Streams,
    Tensors,
    Wrk,
)
from bench.harness.stats import ideal_closed_queue_ms
from bench.harness.targets import Figure, Target, at_least, at_most


@dataclass(frozen=True)
class Entry:
    """A contender in a case; the label tells two programs of one contender apart.

    `loads`: its own, where the case's mean nothing to it.
    """

    contender: str
    app: str
    label: str = ""
    loads: tuple[Load, ...] = ()

    @property
    def name(self) -> str:
        """How the entry is called in the results."""
        return self.label or self.contender


@dataclass(frozen=True)
class Case:
    """One comparison: who serves which program under which loads."""

    what: str
    loads: tuple[Load, ...]
    entries: tuple[Entry, ...]
    fresh: bool = False  # a new server for every load: what an earlier one leaves behind matters

    def every_load(self) -> tuple[Load, ...]:
        """The case's own, and those of single entries."""
        return self.loads + tuple(load for entry in self.entries for load in entry.loads)


def _all(app: str, *contenders: str) -> tuple[Entry, ...]:
    return tuple(Entry(contender, app) for contender in contenders)


MIB = 1 << 20
TENSOR_BYTES = 3 * 224 * 224 * 4  # 588 KiB: one picture as 32-bit floats
CLIENTS, REPLICAS, BLOCKED_MS = 32, 2, 10.0
STEP, SCALED = 16, 4
IDEAL_MS = ideal_closed_queue_ms(CLIENTS, REPLICAS, BLOCKED_MS)

_PEERS = ("litserve", "bentoml", "mlserver")

CASES: dict[str, Case] = {
    "hello": Case(
        "a small JSON answer from `async def`; max_ongoing_requests 256",
        (Wrk(1), Wrk(32)),
        _all("hello", "salver", "uvicorn", "fastapi", "granian", "ray", "ray-haproxy", *_PEERS),
    ),
    "hello-limit": Case(
        "the same as the quickstart is typed: max_ongoing_requests is its default of 5",
        (Wrk(32),),
        (
            Entry("salver", "hello_limit"),
            Entry("salver", "hello", "salver-256"),
            Entry("ray", "hello_limit"),
        ),
    ),
    "hello-sync": Case(
        "the same from a plain `def`, in a thread pool (uvicorn: `async def`)",
        (Wrk(32),),
        (Entry("salver", "hello_sync"), Entry("uvicorn", "hello"), Entry("fastapi", "hello_sync")),
    ),
    "hello-rate": Case(
        "hello under a given rate, open loop: latency from the intended send time",
        (OpenRate(500, 64), OpenRate(2000, 64)),
        _all("hello", "salver", "uvicorn", "fastapi", "granian", "ray", "ray-haproxy"),
    ),
    "compose": Case(
        "an ingress deployment calls two others in parallel and a third with their results",
        (Wrk(1), Wrk(32)),
        _all("compose", "salver", "ray", "ray-haproxy"),
    ),
    "handle": Case(
        "calls of 64 bytes from one replica to another, no HTTP",
        (Inner(1), Inner(100)),
        _all("handle", "salver", "ray-actors", "ray"),
    ),
    "multiplex": Case(
        "calls to 1,000 models by Zipf's law, 4 replicas that keep 50 each, a load takes 20 ms",
        (Inner(1), Inner(16)),
        _all("multiplex", "salver", "ray"),
    ),
    "grpc-hello": Case(
        "a unary gRPC method from `async def`, small messages, a connection for each 8 clients",
        (Rpc(1), Rpc(32)),
        _all("rpc", "salver", "grpc-aio", "ray"),
    ),
    "sse": Case(
        "streams of 100 small server-sent events",
        (Wrk(32, chunks=100), Streams(1), Streams(32)),
        _all("sse", "salver", "uvicorn", "fastapi", "ray", "ray-haproxy"),
    ),
    "upload": Case(
        "POST of a body that the handler reads whole: `await request.body()`; salver-buffer by "
        "`await request.buffer()`, which numpy and torch read where it lies",
        (Wrk(4, body_bytes=8 * MIB), Wrk(4, body_bytes=TENSOR_BYTES)),
        (
            *_all("upload", "salver", "uvicorn", "fastapi"),
            Entry("salver", "upload_buffer", "salver-buffer"),
        ),
        fresh=True,  # glibc's malloc serves large blocks much faster after it has freed larger ones
    ),
    "blocked": Case(
        f"{REPLICAS} replicas whose handler blocks for {BLOCKED_MS:.0f} ms; "
        f"nothing can do better than {IDEAL_MS:.0f} ms",
        (Wrk(CLIENTS),),
        _all("blocked", "salver", "uvicorn"),
    ),
    "batch": Case(
        "batches of 32 that take 10 ms each, one at a time: 3,200/s are possible; loop: the same "
        "10 ms in a plain loop, nothing served",
        (Wrk(1), Wrk(256)),
        (
            *_all("batch", "salver", "ray", "ray-haproxy", "litserve"),
            Entry("salver", "batch_loop", "loop", (Inner(32),)),
        ),
    ),
    "batch-two": Case(
        "the same, two at a time: 6,400/s are possible",
        (Wrk(256),),
        _all("batch_two", "salver", "ray", "ray-haproxy", "litserve"),
    ),
    "digits": Case(
        "a network of MNIST's size, an image in JSON; -batch: in batches of up to 32; loop: the "
        "same network in a plain loop over batches of 32, nothing served",
        (Wrk(1), Wrk(32)),
        (
            *(
                Entry(f"{who}-torch", f"digits{how}", f"{who}{how.replace('_', '-')}")
                for who in ("salver", "litserve", "bentoml", "ray")
                for how in ("", "_batch")
            ),
            Entry("salver-torch", "digits_loop", "loop", (Inner(32),)),
        ),
    ),
    "oip-small": Case(
        "V2 inference of 1x4 FP32 in JSON, given back; salver-plain: the same JSON by hand",
        (Wrk(32),),
        (
            Entry("salver", "oip_small"),
            Entry("salver", "oip_plain", "salver-plain"),
            Entry("mlserver", "oip_small"),
        ),
    ),
    "oip-image": Case(
        "V2 inference of a 1x3x224x224 FP32 picture, given back: JSON, and binary tensors",
        (Wrk(4),),
        (
            Entry("salver", "oip_image"),
            Entry("salver", "oip_binary", "salver-binary"),
            Entry("mlserver", "oip_image"),
        ),
    ),
    "oip-grpc": Case(
        "the same picture over gRPC, raw contents both ways, a connection for each client",
        (Rpc(4, "picture"),),
        (Entry("salver", "oip_grpc"), Entry("mlserver", "oip_grpc")),
    ),
    "local-client": Case(
        "a tensor of 10 MB to a model and back, by Salver's own client on the same machine, beside "
        "one memcpy of it: by shared memory, and by HTTP",
        (Tensors("shared"), Tensors("http")),
        _all("oip_held", "salver"),
    ),
    "start": Case(
        "from the command to the first 200",
        (Start(),),
        _all("hello", "salver", "uvicorn", "ray"),
    ),
    "memory": Case(
        "memory of the idle process tree with one hello replica",
        (Idle(),),
        _all("hello", "salver", "uvicorn", "ray"),
    ),
    "replica": Case(
        "one more replica of a running deployment, asked for with `run`",
        (Further(),),
        _all("replica", "salver"),
    ),
    "scale": Case(
        f"{STEP} clients all of a sudden on one replica that may become {SCALED}: until the "
        "second, and until all of them have answered. The same autoscaling_config on both: 2 "
        "ongoing requests each, no delay, the load of the last 0.2 s, told every 0.1 s; -second: "
        "upscale_delay_s 1, all else as either has it by default (30 s of load, told every 10 s; "
        "Salver tells it within 1 s)",
        (Step(STEP, SCALED),),
        (
            *_all("scale", "salver", "ray"),
            Entry("salver", "scale_second", "salver-second"),
            Entry("ray", "scale_second", "ray-second"),
        ),
        fresh=True,  # it has to begin with one replica
    ),
    "scale-default": Case(
        "the same with the default of everything but the bounds: upscale_delay_s 30 on both",
        (Step(STEP, SCALED),),
        _all("scale_default", "salver", "ray"),
        fresh=True,
    ),
}


def _rate(case: str, load: str, entry: str = "salver") -> Figure:
    return Figure(case, entry, load, "rate")


def _p50(case: str, load: str, entry: str = "salver") -> Figure:
    return Figure(case, entry, load, "p50_ms")


def _faster(case: str, load: str, factor: float, than: str, entry: str = "salver") -> Target:
    return at_least(factor, _rate(case, load, entry), _rate(case, load, than))


_START = Figure("start", "salver", "start", "start_s")
_MEMORY = Figure("memory", "salver", "idle", "pss_mib")
_SCALED = Figure("scale", "salver", "step16", "capacity_ms")
_FIRST = Figure("sse", "salver", "clients1", "first_p50_ms")

TARGETS: tuple[Target, ...] = (
    _faster("hello", "c32", 1.0, "uvicorn"),
    _faster("hello", "c32", 4.0, "fastapi"),
    _faster("hello", "c32", 80.0, "ray"),
    _faster("hello", "c32", 8.0, "ray-haproxy"),
    _faster("hello-limit", "c32", 0.5, "salver-256"),
    _faster("hello-sync", "c32", 0.7, "uvicorn"),
    at_most(1.6, _p50("hello", "c1"), _p50("hello", "c1", "uvicorn")),
    at_most(1 / 15, _p50("hello", "c1"), _p50("hello", "c1", "ray")),
    _faster("compose", "c32", 80.0, "ray"),
    _faster("compose", "c32", 30.0, "ray-haproxy"),
    at_least(120_000, _rate("handle", "k100")),
    _faster("handle", "k100", 35.0, "ray-actors"),
    at_most(1 / 10, _p50("handle", "k1"), _p50("handle", "k1", "ray-actors")),
    at_least(0.95, Figure("multiplex", "salver", "k16", "hits_of_ideal")),
    _faster("grpc-hello", "rpc32", 0.9, "grpc-aio"),
    _faster("grpc-hello", "rpc32", 8.0, "ray"),
    _faster("sse", "c32", 3.0, "uvicorn"),
    at_most(1.6, _FIRST, Figure("sse", "uvicorn", "clients1", "first_p50_ms")),
    _faster("upload", "c4-8192KiB", 1.5, "uvicorn"),
    _faster("upload", "c4-588KiB", 4.0, "uvicorn", entry="salver-buffer"),
    _faster("oip-small", "c32", 8.0, "mlserver"),
    at_most(
        1.5,
        Figure("oip-small", "salver", "c32", "cpu_us"),
        Figure("oip-small", "salver-plain", "c32", "cpu_us"),
    ),
    _faster("oip-image", "c4", 2.5, "mlserver"),
    at_least(
        30.0,
        _rate("oip-image", "c4", "salver-binary"),
        _rate("oip-image", "c4", "mlserver"),
    ),
    _faster("oip-grpc", "rpc4", 8.0, "mlserver"),
    at_most(1.5, Figure("local-client", "salver", "shared", "copies")),
    at_most(1.3 * IDEAL_MS, Figure("blocked", "salver", "c32", "p99_ms")),
    at_least(0.97 * 3200, _rate("batch", "c256")),
    at_least(0.97, _rate("batch", "c256"), _rate("batch", "k32", "loop")),
    _faster("batch", "c256", 2.0, "ray-haproxy"),
    _faster("batch", "c256", 1.5, "litserve"),
    at_least(0.95 * 6400, _rate("batch-two", "c256")),
    _faster("batch-two", "c256", 2.0, "ray-haproxy"),
    _faster("batch-two", "c256", 1.5, "litserve"),
    at_least(0.9, _rate("digits", "c32", "salver-batch"), _rate("digits", "k32", "loop")),
    at_most(1.1, _p50("digits", "c1", "salver-batch"), _p50("digits", "c1")),
    *(
        _faster("digits", load, 1.0, f"{peer}{how}", entry=f"salver{how}")
        for peer in ("litserve", "bentoml", "ray")
        for load, how in (("c1", ""), ("c32", ""), ("c1", "-batch"), ("c32", "-batch"))
    ),
    at_most(0.5, _START),
    at_most(1 / 10, _START, Figure("start", "ray", "start", "start_s")),
    at_most(110.0, _MEMORY),
    at_most(1 / 6, _MEMORY, Figure("memory", "ray", "idle", "pss_mib")),
    at_most(50.0, Figure("replica", "salver", "further", "ready_ms")),
    at_most(12.0, Figure("replica", "salver", "further", "added_mib")),
    at_most(300.0, _SCALED),
    at_most(1 / 10, _SCALED, replace(_SCALED, entry="ray")),
    at_most(
        1.0,
        replace(_SCALED, entry="salver-second"),
        replace(_SCALED, entry="ray-second"),
    ),
    at_most(
        1.0,
        replace(_SCALED, case="scale-default"),
        replace(_SCALED, case="scale-default", entry="ray"),
    ),
)
