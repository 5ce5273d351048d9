"""How code calls a deployment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from difflib import get_close_matches
from typing import Any, Final, Generic, TypeVar

import msgspec

from salver.calls.arguments import encode_call
from salver.calls.broadcast import DeploymentBroadcastResponse
from salver.calls.cluster import Cluster
from salver.calls.context import Child, current_call, pack_meta
from salver.calls.outgoing import HandleCall
from salver.calls.response import DeploymentResponse
from salver.calls.router import Router
from salver.calls.selection import Choosing, ReplicaSelection
from salver.calls.stream import DeploymentResponseGenerator, StreamCall
from salver.spec.fields import check_field
from salver.spec.ids import DeploymentId
from salver.spec.learnt import learnt
from salver.wire.messages import Meta

__all__ = ("DeploymentHandle", "HandleOptions")

T = TypeVar("T")
_INIT_OPTIONS: Final = ("_prefer_local_routing", "_run_router_in_separate_loop", "_source")
_SERIALIZATIONS: Final = ("cloudpickle", "pickle", "msgpack", "orjson")
_ARGUMENT: Final = "An argument of a call by {!r} cannot be sent to another process."


@learnt
class HandleOptions(msgspec.Struct, frozen=True):
    """How a handle calls.

    The last four are there for programs written for Ray Serve: they choose between places and
    transports, of which there is one here.
    """

    method_name: str = "__call__"
    stream: bool = False
    multiplexed_model_id: str = ""
    session_id: str = ""
    _prefer_local_routing: bool = False
    _by_reference: bool = True
    request_serialization: str = "pickle"
    response_serialization: str = "pickle"


class DeploymentHandle(Generic[T]):
    """Calls a deployment of a running app.

        response = handle.remote(1, x=2)      # the deployment's __call__ (or the function)
        response = handle.method.remote(1)    # one of its methods
        value = await response                # without an event loop: response.result()

    `remote` returns at once; while every replica is busy the call waits in this process. A handle
    can be pickled and copied, and used from any thread, any event loop and any process of this
    machine.
    """

    __slots__ = ("__weakref__", "_address", "_id", "_meta", "_methods", "_options", "_router")

    def __init__(
        self, deployment_id: DeploymentId, address: str, options: HandleOptions | None = None
    ) -> None:
        options = options or HandleOptions()
        self._id = deployment_id
        self._address = address
        self._options = options
        self._router: Router | None = None
        self._methods: dict[str, DeploymentHandle[T]] = {}
        model_id, session_id = options.multiplexed_model_id, options.session_id
        self._meta = b""
        if model_id or session_id:
            self._meta = pack_meta(Meta(model_id=model_id, session_id=session_id))

    # ---- calling

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call the deployment with these arguments; returns at once.

        Returns a DeploymentResponse, or a DeploymentResponseGenerator with `stream=True`. An
        argument that is a DeploymentResponse itself becomes its result, as soon as there is one.
        """
        router = self._router
        if router is None or router.cluster.closed:
            router = self._connect()
        try:
            payload, upstreams = encode_call(args, kwargs)
        except Exception as error:
            error.add_note(_ARGUMENT.format(self))
            raise
        options = self._options
        context = current_call.get()
        if context is None:
            meta = self._meta
            children = None
        else:
            children = context.children
            meta = context.meta
            if self._meta:
                meta = context.meta_with(options.multiplexed_model_id, options.session_id)
        call: DeploymentResponse | StreamCall
        made: DeploymentResponse | DeploymentResponseGenerator
        if options.stream:
            call = StreamCall(router, options.method_name, payload, meta, children)
            made = DeploymentResponseGenerator(call)
        else:
            made = call = DeploymentResponse(router, options.method_name, payload, meta, children)
        cluster = router.cluster
        if upstreams:
            call.submit_after(upstreams)
        elif cluster.at_home():
            router.submit(call)
        else:
            cluster.post(HandleCall.begin, call)
        return made

    def _connect(self) -> Router:
        router = self._router = Cluster.at(self._address).router(self._id)
        return router

    @asynccontextmanager
    async def choose_replica(
        self, *args: Any, _reserve: bool = True, **kwargs: Any
    ) -> AsyncIterator[ReplicaSelection]:
        """Choose a replica as for a call with these arguments, and keep a slot there.

            async with handle.choose_replica(prompt) as replica:
                response = handle.dispatch(replica, prompt)

        It waits while every replica is busy. A slot that is not used is free again at the end.
        """
        router = self._router_now()
        future: asyncio.Future[ReplicaSelection] = asyncio.get_running_loop().create_future()
        method = self._options.method_name
        choosing = Choosing(method, (args, kwargs), self._meta, future)
        router.cluster.run(router.submit, choosing)
        try:
            selection = await future
        except asyncio.CancelledError:
            router.cluster.run(choosing.cancel, None)
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().end()  # it came in the very moment
            raise
        selection.chosen_by = self
        if not _reserve:
            selection.end()
        try:
            yield selection
        finally:
            selection.end()

    def dispatch(self, selection: ReplicaSelection, *args: Any, **kwargs: Any) -> Any:
        """Call the replica that `choose_replica` found; otherwise as `remote`.

        A handle without options calls what the replica was chosen for. Raises
        ReplicaUnavailableError when it is gone; so does the response when it goes before the call
        has begun. While the call waits for responses among its arguments others may have its slot;
        it takes the next one there.
        """
        router = self._router_now()
        try:
            payload, upstreams = encode_call(args, kwargs)
        except Exception as error:
            error.add_note(_ARGUMENT.format(self))
            raise
        selection.take(self._id)
        how: DeploymentHandle[T] = self if self._options != HandleOptions() else selection.chosen_by
        meta, children = how._inherited()
        method = how._options.method_name
        call: DeploymentResponse | StreamCall
        made: DeploymentResponse | DeploymentResponseGenerator
        if how._options.stream:
            call = StreamCall(router, method, payload, meta, children)
            made = DeploymentResponseGenerator(call)
        else:
            made = call = DeploymentResponse(router, method, payload, meta, children)
        if upstreams:
            call.submit_after(upstreams, selection.send)
            router.cluster.run(ReplicaSelection.let_go, selection)
        else:
            router.cluster.run(selection.send, call)
        return made

    def broadcast(self, method_name: str, *args: Any, **kwargs: Any) -> DeploymentBroadcastResponse:
        """Call this method of every replica that runs now; `.results()` has what they answer."""
        if not isinstance(method_name, str):
            raise TypeError(
                f"handle.broadcast({method_name!r}): expected the name of a method, then its "
                'arguments: handle.broadcast("reset", 1).'
            )
        router = self._router_now()
        try:
            payload, upstreams = encode_call(args, kwargs)
        except Exception as error:
            error.add_note(_ARGUMENT.format(self))
            raise
        meta, children = self._inherited()
        made = DeploymentBroadcastResponse(router, method_name, payload, meta, upstreams)
        router.cluster.run(made.begin, children)
        return made

    def _router_now(self) -> Router:
        router = self._router
        return self._connect() if router is None or router.cluster.closed else router

    def _inherited(self) -> tuple[bytes, set[Child] | None]:
        """What a call takes over from the one that runs now: its meta, and where it is noted."""
        context = current_call.get()
        if context is None:
            return self._meta, None
        if self._meta:
            options = self._options
            meta = context.meta_with(options.multiplexed_model_id, options.session_id)
            return meta, context.children
        return context.meta, context.children

    # ---- variants

    def options(self, **options: Any) -> DeploymentHandle[T]:
        """The same handle with other options; it shares what it knows of replicas with this one.

        Args:
            method_name: the method to call (`handle.method` is short for it).
            stream: True for a method that is a generator: `remote` then gives its items.
            multiplexed_model_id: the model to use, for deployments that hold several.
            session_id: calls of one session prefer one replica.
        """
        for name, value in options.items():
            if name not in HandleOptions.__struct_fields__:
                raise TypeError(_unknown(options))
            check_field(HandleOptions, name, value)
        checked = msgspec.structs.replace(self._options, **options)
        _check_serialization(checked)
        handle: DeploymentHandle[T] = DeploymentHandle(self._id, self._address, checked)
        handle._router = self._router
        return handle

    def __getattr__(self, name: str) -> DeploymentHandle[T]:
        if name.startswith("__") and name.endswith("__") and name != "__call__":
            raise AttributeError(name)  # a protocol that handles have no part in
        handle = self._methods.get(name)
        if handle is None:
            handle = self._methods[name] = self.options(method_name=name)
        return handle

    # ---- what it is

    @property
    def deployment_id(self) -> DeploymentId:
        """The deployment that it calls."""
        return self._id

    @property
    def deployment_name(self) -> str:
        """The name of the deployment that it calls."""
        return self._id.name

    @property
    def app_name(self) -> str:
        """The app of the deployment that it calls."""
        return self._id.app

    @property
    def is_initialized(self) -> bool:
        """Whether it, or a method of it, has been used."""
        return self._used() is not None

    def running_replicas_populated(self) -> bool:
        """Whether this process knows of a replica."""
        router = self._used()
        return router is not None and bool(router.stats().replicas)

    def _used(self) -> Router | None:
        routers = (self._router, *(method._router for method in self._methods.values()))
        return next((router for router in routers if router is not None), None)

    def _init(self, **options: Any) -> None:
        """Connect now; the options choose between places and threads, of which there is one here.

        RuntimeError: it is in use already.
        """
        if self.is_initialized:
            raise RuntimeError(f"{self!r} is in use already. Call _init before its first call.")
        for name in options:
            if name not in _INIT_OPTIONS:
                raise TypeError(
                    f"handle._init() has no option {name!r}. There are: {', '.join(_INIT_OPTIONS)}."
                )
        self._connect()

    def shutdown(self) -> None:
        """Let go of the routers; the next call takes one again. Calls under way go on."""
        self._router = None
        self._methods.clear()

    async def shutdown_async(self) -> None:
        """The same as `shutdown`."""
        self.shutdown()

    def __repr__(self) -> str:
        method = self._options.method_name
        shown = "" if method == "__call__" else f", method_name={method!r}"
        return f"DeploymentHandle(deployment={str(self._id)!r}{shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        return DeploymentHandle, (self._id, self._address, self._options)


def _check_serialization(options: HandleOptions) -> None:
    for name in ("request_serialization", "response_serialization"):
        value = getattr(options, name)
        if value not in _SERIALIZATIONS:
            raise ValueError(
                f"{name}={value!r} is not valid: expected one of {', '.join(_SERIALIZATIONS)}. "
                "(All mean the same here: arguments and results are pickled.)"
            )


def _unknown(given: dict[str, Any]) -> str:
    known = HandleOptions.__struct_fields__
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            return f"handle.options() has no option {name!r}.{hint} There are: {', '.join(known)}."
    return f"handle.options() does not take {given!r}."
