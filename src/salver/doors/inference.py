"""What clients of the inference protocols ask of the server itself, whatever form they ask in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from salver.doors.models import Model, ModelTable
from salver.errors import SalverError
from salver.oip.errors import InvalidMessageError, UnsupportedError
from salver.oip.metadata import ModelIndexEntry, ServerMetadata, SharedMemoryRegion
from salver.oip.posix_memory import Memory
from salver.oip.repository import LoadRequest
from salver.oip.service_settings import (
    LOG_DEFAULTS,
    TRACE_DEFAULTS,
    changed_log,
    changed_trace,
)
from salver.spec.ids import DeploymentId
from salver.spec.status import DeploymentView, ModelView
from salver.version import VERSION

if TYPE_CHECKING:
    from salver.calls.router import Router

__all__ = ("EXTENSIONS", "Ask", "InferenceServer", "is_ready", "nobody_to_ask")

EXTENSIONS: Final = (
    "binary_tensor_data",
    "classification",
    "generate",
    "logging",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
    "trace",
)

Ask: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


async def nobody_to_ask(op: str, _: Mapping[str, Any]) -> Any:
    """For doors without a controller."""
    raise SalverError(f"There is no controller that could be asked for {op}.")


class InferenceServer:
    """Knows the models and their deployments; asks the controller for what all doors share."""

    def __init__(
        self,
        view_of: Callable[[DeploymentId], DeploymentView | None],
        ask: Ask = nobody_to_ask,
        closed: Callable[[], bool] = lambda: False,
        *,
        shares_memory: bool = False,
    ) -> None:
        self.models = ModelTable()
        self.shares_memory = shares_memory
        self._ask = ask
        self._view_of = view_of
        self._closed = closed

    def apply(
        self, views: Iterable[ModelView], router_of: Callable[[DeploymentId], Router]
    ) -> None:
        """From now on these are the models."""
        self.models = ModelTable(views, router_of)

    # ---- what is known here

    def metadata(self) -> ServerMetadata:
        """Who we are, and which extensions are there."""
        more = ("system_shared_memory",) if self.shares_memory else ()
        return ServerMetadata("salver", VERSION, [*EXTENSIONS, *more])

    def ready(self) -> bool:
        """Whether the door is open, and every model ready that nobody has unloaded."""
        wanted = (model for model in self.models if not model.view.withheld)
        return not self._closed() and all(map(self._is_ready, wanted))

    def model_ready(self, name: str, version: str = "") -> bool:
        """Whether a replica answers for the model now. ModelNotFoundError."""
        return self._is_ready(self.models.find(name, version))

    def index(self, only_ready: bool) -> list[ModelIndexEntry]:
        """Every model and its state."""
        entries = [self._entry(model) for model in self.models]
        return [entry for entry in entries if entry.state == "READY" or not only_ready]

    def _is_ready(self, model: Model) -> bool:
        return is_ready(model, self._view_of)

    def _entry(self, model: Model) -> ModelIndexEntry:
        view = model.view
        if self._is_ready(model):
            return ModelIndexEntry(view.name, view.version, "READY")
        if view.withheld:
            return ModelIndexEntry(view.name, view.version, "UNAVAILABLE", "unloaded")
        deployment = self._view_of(view.deployment)
        reason = deployment.gone if deployment is not None else ""
        return ModelIndexEntry(
            view.name, view.version, "UNAVAILABLE", reason or "no replica runs yet"
        )

    # ---- what the controller does

    async def load(self, name: str, request: LoadRequest) -> None:
        """Let the model answer, anew if it does already."""
        self.models.find(name)
        files = {file: bytes(data) for file, data in request.files.items()}
        await self._ask("load", {"name": name, "config": request.config, "files": files})

    async def unload(self, name: str, *, dependents: bool = False) -> None:
        """Let the model answer no more; with `dependents`, neither what only it was made of."""
        self.models.find(name)
        await self._ask("unload", {"name": name, "dependents": dependents})

    async def statistics(self, name: str = "", version: str = "") -> list[dict[str, Any]]:
        """Of one version, of one model, or of all."""
        if name:
            self.models.find(name, version)
        told = await self._ask("statistics", {})
        return [
            one for one in told if name in ("", one["name"]) and version in ("", one["version"])
        ]

    async def trace(self, model: str, changes: Mapping[str, Any]) -> Any:
        """The settings after these changes, of one model or of all."""
        if model:
            self.models.find(model)
        changed_trace(TRACE_DEFAULTS, changes, TRACE_DEFAULTS)  # what is wrong goes no further
        return await self._ask("trace", {"model": model, "changes": changes})

    async def log(self, changes: Mapping[str, Any]) -> Any:
        """The settings after these changes."""
        changed_log(LOG_DEFAULTS, changes)
        return await self._ask("log", {"changes": changes})

    async def regions(self, name: str = "") -> list[dict[str, Any]]:
        """The region of that name, or every one."""
        self._refuse_memory()
        told = await self._ask("regions", {})
        found = [one for one in told if name in ("", one["name"])]
        if name and not found:
            raise InvalidMessageError(f"region {name!r:.60} is not registered")
        return found

    async def register(self, region: SharedMemoryRegion) -> None:
        """From now on tensors may lie there, if it is there."""
        self._refuse_memory()
        Memory(region)
        await self._ask("register", {"region": msgspec.to_builtins(region)})

    async def unregister(self, name: str = "") -> None:
        """Forget that region, or every one."""
        self._refuse_memory()
        await self._ask("unregister", {"name": name})

    def _refuse_memory(self) -> None:
        if not self.shares_memory:
            raise UnsupportedError(
                "system shared memory is off; the operator turns it on by "
                "http_options={'system_shared_memory': True}"
            )

    def no_gpu(self) -> UnsupportedError:
        """What is said of GPUs' memory."""
        return UnsupportedError("CUDA shared memory is not offered here")


def is_ready(model: Model, view_of: Callable[[DeploymentId], DeploymentView | None]) -> bool:
    """Whether a replica answers for the model now."""
    view = view_of(model.view.deployment)
    if view is None or view.gone or model.view.withheld:
        return False
    return model.view.wakes or bool(view.replicas)
