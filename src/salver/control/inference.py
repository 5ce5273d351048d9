"""What clients of the inference protocols ask of the whole instance, by whichever door."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from salver.control.background import Background
from salver.control.repository import Repository
from salver.core.ports import Store
from salver.oip.metadata import ModelStatistics, SharedMemoryRegion
from salver.oip.repository import LoadRequest
from salver.oip.state import (
    InferenceState,
    merged,
    registered,
    with_log,
    with_trace,
    without_regions,
)
from salver.spec.ids import DeploymentId
from salver.spec.status import Delta, ModelView

__all__ = ("Inference", "shared_versions")

_PATIENCE_S: Final = 2.0  # for a replica that is held up
_UNTOLD: Final = InferenceState()


class Source(Protocol):
    """The line to a replica."""

    @property
    def is_open(self) -> bool: ...

    async def call(self, method: str, body: Any = None) -> Any: ...


class Inference:
    """`ask(op, body)`: one entry for every door."""

    def __init__(self, repository: Repository, store: Store) -> None:
        self._repository = repository
        self._store = store
        self._sources: dict[str, Source] = {}
        before = store.settings()  # of a controller that died
        self._state = msgspec.msgpack.decode(before, type=InferenceState) if before else _UNTOLD
        self._background = Background()
        self._ops: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "statistics": self._statistics,
            "load": self._load,
            "unload": self._unload,
            "trace": self._trace,
            "log": self._log,
            "register": self._register,
            "unregister": self._unregister,
            "regions": lambda _: self._state.regions,
        }

    def heard(self, delta: Delta) -> None:
        """Which models there are now: replicas know of the versions that others have."""
        if delta.models is not None:
            versions = shared_versions(delta.models)
            state = msgspec.structs.replace(self._state, versions=versions)
            self._background.run(self._become(state))

    def joined(self, name: str, source: Source) -> None:
        """A replica is there: it learns what holds."""
        self._sources[name] = source
        if self._state != _UNTOLD:
            self._background.run(self._tell(source))

    def left(self, name: str, source: Source) -> None:
        """It is gone."""
        if self._sources.get(name) is source:
            del self._sources[name]

    async def ask(self, op: str, body: Mapping[str, Any]) -> Any:
        """Do it, and answer in builtin types."""
        result = self._ops[op](body)
        if asyncio.iscoroutine(result):
            result = await result
        return msgspec.to_builtins(result)

    async def _statistics(self, _: Mapping[str, Any]) -> list[ModelStatistics]:
        told = await asyncio.gather(*(self._counted(source) for source in self._open()))
        return merged(one for part in told for one in part)

    async def _counted(self, source: Source) -> list[ModelStatistics]:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                told = await source.call("model_statistics")
                return msgspec.convert(told, list[ModelStatistics])
        except Exception:  # noqa: BLE001 - boundary: it is held up, or has just died
            return []

    async def _load(self, body: Mapping[str, Any]) -> None:
        request = LoadRequest(body.get("config"), body.get("files", {}))
        await self._repository.load(body["name"], request)

    async def _unload(self, body: Mapping[str, Any]) -> None:
        await self._repository.unload(body["name"], dependents=body.get("dependents", False))

    async def _trace(self, body: Mapping[str, Any]) -> Any:
        model = body.get("model", "")
        await self._become(with_trace(self._state, body["changes"], model))
        return self._state.trace_of(model)

    async def _log(self, body: Mapping[str, Any]) -> Any:
        await self._become(with_log(self._state, body["changes"]))
        return self._state.log

    async def _register(self, body: Mapping[str, Any]) -> None:
        region = msgspec.convert(body["region"], SharedMemoryRegion)
        await self._become(registered(self._state, region))

    async def _unregister(self, body: Mapping[str, Any]) -> None:
        await self._become(without_regions(self._state, body.get("name", "")))

    async def _become(self, state: InferenceState) -> None:
        """Every replica knows it when this returns."""
        if state == self._state:
            return
        self._state = state
        self._store.put_settings(msgspec.msgpack.encode(state))
        await asyncio.gather(*(self._tell(source) for source in self._open()))

    async def _tell(self, source: Source) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await source.call("inference", msgspec.to_builtins(self._state))
        except Exception:  # noqa: BLE001, S110 - boundary: it is held up, or has just died
            pass

    def _open(self) -> list[Source]:
        return [source for source in self._sources.values() if source.is_open]


def shared_versions(models: Iterable[ModelView]) -> dict[str, tuple[str, ...]]:
    """Every version of each model that more than one deployment answers for."""
    owners: dict[str, dict[str, DeploymentId]] = {}
    for model in models:
        owners.setdefault(model.name, {})[model.version] = model.deployment
    return {
        name: tuple(sorted(version for version in found if version))
        for name, found in owners.items()
        if len(set(found.values())) > 1
    }
