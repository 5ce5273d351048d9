"""A replica that was chosen, with a slot kept there, before there is a call for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from salver.calls.call import DONE, Call
from salver.calls.context import unpack_meta
from salver.errors import ReplicaUnavailableError
from salver.spec.ids import DeploymentId
from salver.wire.messages import Meta

if TYPE_CHECKING:
    from salver.calls.link import Link
    from salver.calls.outgoing import HandleCall
    from salver.calls.router import Router

__all__ = ("Choosing", "ReplicaSelection")


class ReplicaSelection:
    """What `handle.choose_replica` found; `handle.dispatch` sends a call there, once."""

    node_ip = "127.0.0.1"
    node_id = ""  # this machine
    port = None
    availability_zone = None
    chosen_by: Any  # the handle that asked for it

    def __init__(self, router: Router, link: Link, *, reserved: bool) -> None:
        self.replica_id = link.replica.id
        self.address = link.replica.address
        self.replica_metadata = router.metadata_of(link.replica.id)
        self._router = router
        self._link = link
        self._reserved = reserved
        self._dispatched = False

    def to_dict(self) -> dict[str, Any]:
        """Its fields."""
        names = ("replica_id", "node_ip", "port", "node_id", "availability_zone",
                 "replica_metadata", "address")  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        return f"ReplicaSelection(replica_id={self.replica_id!r}, address={self.address!r})"

    def take(self, deployment: DeploymentId) -> None:
        """It is used for a call to this deployment now."""
        if self._router.deployment != deployment:
            raise ValueError(
                f"{self!r} is of deployment {self._router.deployment}, and this handle calls "
                f"{deployment}. Dispatch with the handle that chose it."
            )
        if self._dispatched:
            raise RuntimeError(f"{self!r} was dispatched already. Choose a replica for every call.")
        self._dispatched = True
        if self._link.gone or self._link.leaving:
            raise ReplicaUnavailableError(self.replica_id)

    def send(self, call: HandleCall) -> None:
        """Give the call the slot that was kept. Home loop only."""
        link = self._link
        if self._reserved and link.open and call.state != DONE:
            self._reserved = False
            link.inflight -= 1
            link.start(call)
        else:
            self.let_go()
            link.lane.start(call)

    def let_go(self) -> None:
        """Keep the slot no longer. Home loop only."""
        reserved, self._reserved = self._reserved, False
        if reserved:
            self._link.release()

    def end(self) -> None:
        """The choice is over; a call that is under way takes the slot itself."""
        if not self._dispatched:
            self._router.cluster.run(lambda _: self.let_go(), None)


class Choosing(Call):
    """Takes its turn as a call does; where it would be sent, a slot is kept for one to come."""

    __slots__ = ("_arguments", "_asked", "_future", "_loop", "_method")

    def __init__(
        self,
        method: str,
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        meta: bytes,
        future: asyncio.Future[ReplicaSelection],
    ) -> None:
        super().__init__()
        self._method = method
        self._arguments = arguments
        self._asked = unpack_meta(meta)[0] if meta else Meta()
        self._future = future
        self._loop = future.get_loop()

    @property
    def request_id(self) -> str:
        return self._asked.request_id

    @property
    def method(self) -> str:
        return self._method

    @property
    def route(self) -> str:
        return self._asked.route

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return self._arguments

    @property
    def model_id(self) -> str:
        return self._asked.model_id

    @property
    def session_id(self) -> str:
        return self._asked.session_id

    def send(self, link: Link, call_id: int) -> None:
        """Keep the slot: nothing is written."""
        del link.pending[call_id]
        self.state = DONE
        assert self.router is not None  # noqa: S101 - it was submitted there
        self._tell(ReplicaSelection(self.router, link, reserved=True), None)

    def failed(self, error: BaseException) -> None:
        self.state = DONE
        self._tell(None, error)

    def cancel(self, _: object = None) -> None:
        """Nobody wants the choice any more. Home loop only."""
        if self.router is not None:
            self.router.cancel(self)
        self.state = DONE

    def _tell(self, selection: ReplicaSelection | None, error: BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._resolve, selection, error)
        except RuntimeError:  # its loop is closed
            if selection is not None:
                selection.let_go()

    def _resolve(self, selection: ReplicaSelection | None, error: BaseException | None) -> None:
        if self._future.done():
            if selection is not None:
                selection.end()
        elif error is not None:
            self._future.set_exception(error)
        else:
            assert selection is not None  # noqa: S101 - one of the two
            self._future.set_result(selection)
