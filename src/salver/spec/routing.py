"""The rule by which callers choose a replica."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from salver.spec.code import ImportedCode, PickledCode
from salver.spec.mistakes import unknown
from salver.spec.model import ConfigModel

__all__ = ("DEFAULT_ROUTER", "RequestRouterConfig", "read_routing")

DEFAULT_ROUTER: Final = "salver.serve.request_router:PowerOfTwoChoicesRequestRouter"
# What they promise the default keeps.
_AS_DEFAULT: Final = ("PowerOfTwoChoicesRequestRouter", "CapacityQueueRouter")
_REFUSED: Final = {
    "PrefixCacheAffinityRouter": "it comes with language models",
    "KVAwareRouter": "it comes with language models",
}


class RequestRouterConfig(ConfigModel, kw_only=True):
    """Which replica a call goes to. The defaults: the less loaded, or one that holds the model."""

    request_router_class: Annotated[
        Any,
        Meta(description="A subclass of RequestRouter, or where one is found: `module:name`."),
    ] = DEFAULT_ROUTER
    request_router_kwargs: Annotated[
        dict[str, Any], Meta(description="Arguments by name for its `initialize_state`.")
    ] = msgspec.field(default_factory=dict)
    request_routing_stats_period_s: Annotated[
        float, Meta(gt=0, description="Time between two calls of `record_routing_stats`.")
    ] = 10.0
    request_routing_stats_timeout_s: Annotated[
        float, Meta(gt=0, description="How long `record_routing_stats` may take.")
    ] = 30.0
    initial_backoff_s: Annotated[
        float, Meta(gt=0, description="Without effect: nothing is asked twice, so none waits.")
    ] = 0.025
    backoff_multiplier: Annotated[float, Meta(gt=0, description="Without effect, as above.")] = 2.0
    max_backoff_s: Annotated[float, Meta(gt=0, description="Without effect, as above.")] = 0.5

    def __post_init__(self) -> None:
        self._check_fields(without="request_router_class")
        msgspec.structs.force_setattr(
            self, "request_router_class", _read_class(self.request_router_class)
        )

    @property
    def is_default(self) -> bool:
        """Whether nothing else is asked for than what happens anyway."""
        return bool(self.request_router_class == DEFAULT_ROUTER)


def read_routing(given: object) -> RequestRouterConfig | None:
    """`request_router_config`, as users give it."""
    if given is None or isinstance(given, RequestRouterConfig):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(
            f"request_router_config={given!r} is not valid: expected a RequestRouterConfig, or a "
            'dict such as {"request_router_class": "my_module:MyRouter"}.'
        )
    for name in given:
        if name not in RequestRouterConfig.__struct_fields__:
            known = RequestRouterConfig.__struct_fields__
            raise TypeError(unknown(str(name), known, "a field of request_router_config"))
    return RequestRouterConfig(**given) if given else None


def _read_class(given: Any) -> Any:
    if isinstance(given, Mapping):  # as it comes over the wire
        with suppress(msgspec.ValidationError):
            return msgspec.convert(given, ImportedCode | PickledCode)
    if isinstance(given, str) and len(given.replace(":", ".").split(".")) > 1:
        return _read_path(given)
    if inspect.isclass(given):
        _refuse(given.__name__)
        if given.__name__ in _AS_DEFAULT and given.__module__.startswith("salver.serve."):
            return DEFAULT_ROUTER
    elif not isinstance(given, ImportedCode | PickledCode):
        raise TypeError(
            f"request_router_class={given!r} is not valid: expected a subclass of RequestRouter, "
            "or where one is found, such as 'my_module:MyRouter'."
        )
    return given


def _read_path(path: str) -> str:
    """Ray Serve's own routers are ours of the same name."""
    name = path.replace(":", ".").rpartition(".")[2]
    _refuse(name)
    for package in ("ray.serve.", "salver.serve."):
        if path.startswith(package):
            if name in _AS_DEFAULT:
                return DEFAULT_ROUTER
            return "salver.serve." + path.removeprefix(package)
    return path


def _refuse(name: str) -> None:
    if name in _REFUSED:
        raise NotImplementedError(f"{name} is not there in this version: {_REFUSED[name]}.")
