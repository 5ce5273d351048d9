"""From a spec to the user's code and its arguments."""

from __future__ import annotations

import importlib
import inspect
import io
import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle

from salver.calls.handle import DeploymentHandle
from salver.errors import TargetError
from salver.spec.app import ImportedCode, PickledCode
from salver.spec.ids import DeploymentId

__all__ = ("load_arguments", "load_code")


def load_code(code: ImportedCode | PickledCode) -> Callable[..., Any]:
    """The class or the function of a deployment."""
    found = cloudpickle.loads(code.data) if isinstance(code, PickledCode) else _import(code)
    # A name in a module often leads to the deployment made of the class.
    found = getattr(found, "func_or_class", found)
    if not callable(found):
        raise TargetError(f"A deployment is a class or a function, not {found!r}.")
    return found  # type: ignore[no-any-return]


def _import(code: ImportedCode) -> Any:
    found: Any = importlib.import_module(code.module)
    for part in code.qualname.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise TargetError(
                f"Module {code.module!r} has no {code.qualname!r}. "
                "Deployments are found by their name: assign the class or function to it."
            ) from None
        if not inspect.ismodule(found):
            found = getattr(found, "func_or_class", found)
    return found


def load_arguments(data: bytes, address: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The constructor's (args, kwargs), bound apps among them as handles of this instance."""
    if not data:
        return (), {}
    args, kwargs = _Unpickler(io.BytesIO(data), address).load()
    return tuple(args), dict(kwargs)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, address: str) -> None:
        super().__init__(file)
        self._address = address

    def persistent_load(self, pid: Any) -> Any:
        kind, name, app = pid
        if kind != "handle":
            raise pickle.UnpicklingError(
                f"unknown reference {pid!r} among a deployment's arguments"
            )
        return DeploymentHandle(DeploymentId(name, app), self._address)
