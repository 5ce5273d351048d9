"""A replica in a process of its own: the host, told what to do by the controller."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import uvloop

from salver.calls.cluster import Cluster
from salver.calls.context import current_call
from salver.calls.metrics import router_families
from salver.errors import SalverError
from salver.replica.figures import autoscaling_stats
from salver.replica.grpc.services import load_services
from salver.replica.host import Host, HostStats
from salver.replica.inference import learn, statistics
from salver.replica.metrics import families_of, scope_of
from salver.replica.told import told
from salver.spec.ids import ReplicaId
from salver.spec.logging import LoggingConfig
from salver.spec.start import Attachment, Change, Place, StartSpec
from salver.telemetry.logging import Speaker, configure
from salver.telemetry.registry import Family, registry
from salver.wire.malloc import keep_memory
from salver.wire.rpc import Rpc

if TYPE_CHECKING:
    from salver.engine.seat import Seat

__all__ = ("main",)

_logger = logging.getLogger("salver")
_REFUSALS: Final = 20  # links in a row that controllers have ended before they took us in


class _Drain(msgspec.Struct, frozen=True):
    timeout_s: float


class _Check(msgspec.Struct, frozen=True):
    timeout_s: float


def main(seat: Seat) -> None:
    """The entry point of a replica's process; returns when it was told to stop."""
    configure(seat.logging, _speaker(seat), current_call.get)
    uvloop.run(_Replica(seat).run())


def _speaker(seat: Seat) -> Speaker:
    replica = ReplicaId.parse(seat.id)
    deployment = replica.deployment_id
    return Speaker("replica", seat.id, deployment.app, deployment.name, replica.unique_id)


class _Replica:
    """Listens, attaches to whatever controller there is, and does as it says."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._state = "new"
        self._logging = seat.logging
        self._stopped = asyncio.Event()
        self._building: asyncio.Task[None] | None = None
        self._host: Host
        self._cluster: Cluster

    async def run(self) -> None:
        seat = self._seat
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        secret = seat.secret()
        self._cluster = cluster = Cluster(seat.instance, loop, secret=secret, role="replica")
        cluster.adopt(for_good=True)
        unique = ReplicaId.parse(seat.id).unique_id
        self._host = Host(
            seat.id,
            address=f"unix:{seat.instance}/r-{unique}.sock",
            dialler=cluster.dialler,
            secret=secret,
            cluster=cluster,
        )
        self._host.logging = seat.logging
        self._host.mount = seat.settings.get("root_path", "")
        self._host.secure = seat.settings.get("secure", False)
        # Code in threads of its own, which inherit nothing, counts for this replica all the same.
        registry.scope = scope_of(self._host.context)
        await self._host.listen()
        link = loop.create_task(self._stay_attached(cluster))
        await self._stopped.wait()
        link.cancel()
        await self._host.stop()
        cluster.close()

    async def _stay_attached(self, cluster: Cluster) -> None:
        """Keep a link to the controller, whichever it is.

        The keeper holds the listening socket, so while there is no controller, or one that is
        stopped or slow, a dial waits there as long as it takes, and needs no pause; where nobody
        listens the instance itself is no more. A controller that ends while it greets us is
        followed by another.
        """
        refused = 0
        while refused < _REFUSALS:
            closed = asyncio.Event()
            link = Rpc(self._methods(), on_close=lambda *_, gone=closed: gone.set())
            try:
                await cluster.dial_control(link)
                await link.call("attach", self._attachment())
                self._host.facts.tell = partial(link.notify, "facts")
                self._host.facts.repeat()
            except OSError as error:
                _logger.error("The controller cannot be reached any more: %s", error)
                break
            except SalverError as error:
                _logger.warning("The controller did not take this replica in: %s", error)
                refused += 1
                link.close()
                continue
            refused = 0
            await closed.wait()
        self._stopped.set()

    def _attachment(self) -> Attachment:
        host = self._host
        place = Place(host.context.rank.rank, host.context.world_size)
        return Attachment(self._seat.id, host.address, self._state, place, host.route or None)

    def _methods(self) -> dict[str, Callable[[Any], Awaitable[Any] | Any]]:
        return {
            "start": self._start,
            "reconfigure": self._reconfigure,
            "place": self._place,
            "check_health": self._check_health,
            "autoscaling_stats": self._autoscaling_stats,
            "drain": self._drain,
            "stats": self._stats,
            "metrics": self._metrics,
            "inference": lambda body: learn(self._host, body),
            "model_statistics": lambda _: statistics(self._host),
            "stop": self._stop,
        }

    async def _start(self, body: Any) -> None:
        """Construct, or wait for the construction that an earlier controller asked for.

        It goes on when the link ends in the middle of it: nothing is loaded twice.
        """
        spec = msgspec.convert(body, StartSpec)
        task = self._building
        if task is None or (task.done() and task.exception() is not None):
            task = self._building = asyncio.create_task(self._build(spec))
        await asyncio.shield(task)
        await self._place(spec.place)  # an earlier controller may have given another

    async def _build(self, spec: StartSpec) -> None:
        self._state = "starting"
        _enter(spec)
        self._log_as(spec.deployment.options.logging_config)
        with _in_words(), _streams_kept():
            if spec.deployment.ingress:
                self._host.grpc.rpcs = load_services(self._seat.settings.get("services", ()))
            await self._host.start(spec)
            if self._host.object.endpoints is not None:
                keep_memory()  # tensors in JSON are copied several times
            if self._seat.settings.get("infers"):
                self._host.grpc.serve_models()
        self._state = "running"

    async def _reconfigure(self, body: Any) -> None:
        change = msgspec.convert(body, Change)
        self._log_as(change.options.logging_config)
        with _in_words():
            await self._host.reconfigure(change)

    def _log_as(self, wanted: LoggingConfig | None) -> None:
        config = self._host.log_as(wanted)
        if config != self._logging:
            configure(config, _speaker(self._seat), current_call.get)
            self._logging = config

    async def _place(self, body: Any) -> None:
        with _in_words():
            await self._host.place(msgspec.convert(body, Place))

    async def _check_health(self, body: Any) -> bool:
        return await self._host.check_health(msgspec.convert(body, _Check).timeout_s)

    async def _autoscaling_stats(self, _: Any) -> Any:
        return await autoscaling_stats(self._host)

    async def _drain(self, body: Any) -> bool:
        self._state = "draining"
        return await self._host.drain(msgspec.convert(body, _Drain).timeout_s)

    def _stats(self, _: Any) -> HostStats:
        return self._host.stats()

    def _metrics(self, _: Any) -> list[Family]:
        return families_of(self._host) + router_families(self._cluster)

    def _stop(self, _: Any) -> None:
        self._stopped.set()


def _enter(spec: StartSpec) -> None:
    """Be where the program was started, and find the modules that it finds."""
    if spec.cwd:
        os.chdir(spec.cwd)
    sys.path[:0] = [entry for entry in spec.sys_path if entry not in sys.path]


@contextmanager
def _streams_kept() -> Iterator[None]:
    """Open again what the user's code closes of stdin, stdout and stderr.

    The next connection would have its number otherwise, and what is printed would go to that.
    """
    spare = os.dup(2)
    try:
        yield
    finally:
        for fd in (0, 1, 2):
            try:
                os.fstat(fd)
            except OSError:
                os.dup2(spare, fd)
        os.close(spare)


@contextmanager
def _in_words() -> Iterator[None]:
    """What the user's code raises in here is told as text, with its traceback."""
    try:
        yield
    except (SalverError, asyncio.CancelledError, SystemExit):
        raise
    except BaseException as error:
        raise SalverError(told(error)) from error
