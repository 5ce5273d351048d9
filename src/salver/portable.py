"""Autoscaling policies and request routers: code of an app's that other processes run."""

from __future__ import annotations

import inspect
import io
import pickle
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

import msgspec

from salver.calls.request_router import RequestRouter
from salver.core.autoscale import default_autoscaling_policy
from salver.errors import SalverError, TargetError
from salver.origin import importable, is_installed, leads_to, own_modules
from salver.pickler import CodePickler, by_value
from salver.spec.autoscaling import AutoscalingConfig, AutoscalingPolicy
from salver.spec.code import ImportedCode, PickledCode
from salver.spec.routing import RequestRouterConfig

__all__ = ("imported", "portable_policy", "portable_router", "portable_scaling")

_UNPICKLABLE: Final = (pickle.PicklingError, TypeError, AttributeError)


def portable_router(config: RequestRouterConfig | None) -> RequestRouterConfig | None:
    """The same with its code: callers, doors among them, do not look where an app's modules are."""
    if config is None or config.is_default:
        return config
    code = config.request_router_class
    if isinstance(code, ImportedCode | PickledCode):
        return config
    if isinstance(code, str):
        code = imported(code, "request_router_class")
    if not (inspect.isclass(code) and issubclass(code, RequestRouter)):
        raise TypeError(
            f"request_router_class={config.request_router_class!r} is {code!r}: expected a "
            "subclass of salver.serve.request_router.RequestRouter."
        )
    return msgspec.structs.replace(
        config, request_router_class=_sent_code(code, "request router", "callers")
    )


def portable_scaling(config: AutoscalingConfig | None) -> AutoscalingConfig | None:
    """The same with the code of its policy."""
    if config is None or config.policy.is_default:
        return config
    return msgspec.structs.replace(config, policy=portable_policy(config.policy))


def portable_policy(policy: AutoscalingPolicy) -> AutoscalingPolicy:
    """The same policy with its code, which is sent by value: the controller imports no app.

    So it runs as it is now, whatever happens to the file. What is installed is imported there.
    """
    function = policy.policy_function
    if isinstance(function, str) and not policy.is_default:
        function = imported(function, "policy_function")
    if policy.is_default or function is default_autoscaling_policy:
        return AutoscalingPolicy()
    if isinstance(function, ImportedCode | PickledCode):
        return policy
    return AutoscalingPolicy(
        _sent_code(function, "autoscaling policy", "the controller"), policy.policy_kwargs
    )


def _sent_code(function: Any, what: str, whom: str) -> ImportedCode | PickledCode:
    """Code for processes that import no app: by value, unless it is installed.

    So is what it uses of the user's other modules; where that cannot be, they are to be found.
    """
    module, qualname = function.__module__, function.__qualname__
    by_name = importable(module) and leads_to(module, qualname, function)
    if by_name and is_installed(module):
        return ImportedCode(module, qualname)
    with suppress(*_UNPICKLABLE):
        return _pickled(function, own_modules())
    try:
        return _pickled(function, (module,))
    except _UNPICKLABLE as error:
        if by_name:
            return ImportedCode(module, qualname)
        raise SalverError(
            f"The {what} {qualname} cannot be sent to {whom}: {error}. "
            "Move it to a module that can be imported."
        ) from error


def _pickled(function: Any, modules: Iterable[str]) -> PickledCode:
    buffer = io.BytesIO()
    with by_value(modules):
        CodePickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(function)
    return PickledCode(buffer.getvalue())


def imported(path: str, what: str) -> Any:
    """What `module:name` leads to; TargetError: it leads nowhere."""
    module, colon, name = path.partition(":")
    if not colon:
        module, _, name = path.rpartition(".")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise TargetError(f"{what}={path!r} cannot be imported: {error}.") from error
    return found
