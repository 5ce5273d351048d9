"""What a deployment's class makes: built, told of changes, asked for its health, ended."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from contextvars import Context
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from salver.errors import NoMethodError
from salver.replica.asgi import MARK, Lifespan, build_app
from salver.replica.code import load_arguments, load_code
from salver.replica.duty import Duty, begin_duty
from salver.replica.hooks import check_health, construct, destroy, reconfigure, takes_rank
from salver.replica.http import AsgiDoor, MethodDoor
from salver.replica.invoke import Method, method_names, method_of
from salver.spec.endpoint import options_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from salver.replica.calls import ServedCall
    from salver.replica.host import Host
    from salver.replica.oip.model import Models
    from salver.spec.endpoint import EndpointSpec
    from salver.spec.start import StartSpec

__all__ = ("UserObject",)

_logger: Final = logging.getLogger("salver")
_MISSING: Final = object()
Door = Callable[["ServedCall", Context], None]


class UserObject:
    """The object of one replica, or its function, and what calls find of it."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.target: Any = None
        self.methods: dict[str, Method] = {}  # those that were called
        self.door: Door | None = None  # what takes HTTP calls
        self.endpoints: Models | None = None
        self.state: dict[str, Any] | None = None  # of the ASGI app
        self._lifespan: Lifespan | None = None
        self._duty = Duty()

    async def build(self, spec: StartSpec) -> None:
        """Import, construct, configure; check its health once. Raises what users' code raises."""
        host, options = self._host, spec.deployment.options
        code = load_code(spec.deployment.code)
        source: Any = _MISSING
        if inspect.isclass(code):
            args, kwargs = load_arguments(spec.deployment.arguments, host.context.instance)
            self.target = await construct(code, host.context, args, kwargs)
            source = getattr(code, MARK, _MISSING)
        else:
            self.target = code
            host.context.servable_object = code
        await host.facts.begin(self.target, options.request_router_config)
        if source is not _MISSING:
            app = await build_app(source, self.target)
            self.door = AsgiDoor(host, app)
            self._lifespan = Lifespan(app)
            await self._lifespan.startup()
            self.state = self._lifespan.state
        elif (method := method_of(self.target, "__call__")) is not None:
            self.methods["__call__"] = method
            if options_of(method.call) is None:
                self.door = MethodDoor(host, method)
        if spec.deployment.endpoints:
            self._answer_endpoints(spec.deployment.endpoints)
        if options.user_config is not None:
            await self.reconfigure(options.user_config)
        await check_health(self.target, options.health_check_timeout_s)
        self._duty = await begin_duty(self.target, host.context)

    def _answer_endpoints(self, endpoints: Sequence[EndpointSpec]) -> None:
        part = import_module("salver.replica.oip.door")  # by name: it needs numpy; most have none
        self.endpoints = models = part.Models(self._host, self.target, endpoints)
        self.door = part.EndpointDoor(self._host, models, self.door)

    async def reconfigure(self, config: Any) -> None:
        """Give it this `user_config`."""
        await reconfigure(self.target, self._host.context, config)

    @property
    def takes_rank(self) -> bool:
        """Whether its `reconfigure` wants to hear of its rank."""
        return takes_rank(self.target)

    async def check_health(self, limit_s: float) -> bool:
        """Raise what the user's `check_health` raises; False: there is none."""
        self._duty.check()
        return await check_health(self.target, limit_s)

    async def drain(self, timeout_s: float) -> bool:
        """End what it does beside its calls; True: all of it is done."""
        return await self._duty.drain(timeout_s)

    async def destroy(self) -> None:
        """The app's lifespan ends, and `__del__` runs."""
        target, self.target = self.target, None
        self.door = None
        self.methods.clear()
        self._host.context.servable_object = None
        try:
            await self._duty.drain(1.0)  # where nobody has drained it before
            if self._lifespan is not None:
                await self._lifespan.shutdown()
            await destroy(target)
        except Exception:  # the user's shutdown code: it is over all the same
            _logger.exception("While replica %s was stopping:", self._host.replica_id)
        finally:
            await self._host.facts.close()

    def method(self, name: str) -> Method:
        """A method of the object; NoMethodError: it has none of that name."""
        method = self.methods.get(name) or method_of(self.target, name)
        if method is None:
            raise self.no_method(name)
        self.methods[name] = method
        return method

    def no_method(self, name: str) -> NoMethodError:
        """That there is none of this name."""
        return NoMethodError(
            f"Deployment {self._host.deployment} has no method {name!r}. "
            f"Available methods: {method_names(self.target)}."
        )
