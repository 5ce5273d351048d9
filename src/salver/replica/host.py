"""A replica: builds the user's object and serves its callers, one loop, no processes of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from salver.spec.start import StartSpec

__all__ = ("Host", "HostStats")


class HostStats(msgspec.Struct, frozen=True):
    """What a replica is doing, at one moment."""

    replica_id: str
    ongoing: int
    connections: int
    draining: bool
    calls: int
    rejected: int
    errors: int


class Host:
    """Serves calls to one object. The same in a process of its own and in the caller's loop.

    Life: `listen` (returns the address callers dial), `start` (imports, constructs, reconfigures;
    raises what the user's code raised), `drain` (refuses what is new, waits for what is under
    way), `stop` (lifespan shutdown, `__del__`, closes every connection).
    """

    def __init__(
        self, replica_id: str, *, address: str, dialler: Any, secret: bytes, cluster: Any = None
    ) -> None:
        self.replica_id = replica_id
        self.address = address
        self._dialler = dialler
        self._secret = secret
        self._cluster = cluster

    async def listen(self) -> str:
        """Accept callers at `address`; they are refused (REJECT) until `start` has returned."""
        raise NotImplementedError

    async def start(self, spec: StartSpec) -> None:
        """Build the object. Listens first where `listen` was not called before."""
        raise NotImplementedError

    async def reconfigure(self, user_config: Any) -> None:
        """Give the living object new configuration."""
        raise NotImplementedError

    async def check_health(self) -> None:
        """Raise what the user's `check_health` raises."""
        raise NotImplementedError

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new calls; True when every call under way has ended within the time."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Cancel what is left, end the app's lifespan, run `__del__`, close the connections."""
        raise NotImplementedError

    def stats(self) -> HostStats:
        raise NotImplementedError
