"""The services of users' generated code: found by running their `add_...Servicer_to_server`.

That function is the one thing in generated code that everybody calls, so it is asked, with a server
that writes down what it is given: every method, how many messages go which way, and how they are
read and written.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from salver.errors import TargetError

__all__ = ("Recorder", "RpcMethod", "check_installed", "load_services")

_PACKAGES = {"grpc": "grpcio", "grpc_health": "grpcio-health-checking",
             "grpc_reflection": "grpcio-reflection", "hpack": "hpack"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RpcMethod:
    """One method of a service; `path` is what clients ask for: `/package.Service/Method`."""

    path: str
    takes_stream: bool
    gives_stream: bool
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]

    @property
    def name(self) -> str:
        """The method of the deployment that answers."""
        return self.path.rpartition("/")[2]

    @property
    def service(self) -> str:
        """The service's full name."""
        return self.path[1:].rpartition("/")[0]


def check_installed() -> None:
    """TargetError says what to install where the gRPC door cannot be opened."""
    missing = [name for module, name in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise TargetError(
            f"The gRPC door needs {', '.join(missing)}, which is not installed here: "
            "pip install 'salver[grpc]'."
        )


def load_services(functions: Iterable[str]) -> dict[str, RpcMethod]:
    """Every method that these functions register, by path. TargetError: one of them is wrong."""
    found: dict[str, RpcMethod] = {}
    for path in functions:
        recorder = Recorder()
        try:
            _import(path)(_Anything(), recorder)
        except TargetError:
            raise
        except Exception as error:
            raise TargetError(_failed(path, f"it failed: {error!r}")) from error
        if not recorder.handlers:
            raise TargetError(_failed(path, "it registered no service"))
        for name, handler in recorder.handlers.items():
            found[name] = RpcMethod(
                name,
                bool(handler.request_streaming),
                bool(handler.response_streaming),
                handler.request_deserializer or bytes,
                handler.response_serializer or bytes,
            )
    return found


class Recorder:
    """The server that generated code adds its services to: it writes them down."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        for handler in handlers:
            self.handlers.update(getattr(handler, "_method_handlers", {}))

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        for name, handler in handlers.items():
            self.handlers[f"/{service}/{name}"] = handler


class _Anything:
    """A servicer that has every method."""

    def __getattr__(self, name: str) -> Any:
        return name


def _import(path: str) -> Callable[..., Any]:
    module, _, name = path.replace(":", ".").rpartition(".")
    if not module:
        raise TargetError(_failed(path, "it names no module"))
    try:
        function = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise TargetError(_failed(path, f"it cannot be imported: {error}")) from error
    except AttributeError:
        raise TargetError(_failed(path, f"{module!r} has no {name!r}")) from None
    if not callable(function):
        raise TargetError(_failed(path, f"{name!r} is {function!r}, which cannot be called"))
    return function  # type: ignore[no-any-return]


def _failed(path: str, why: str) -> str:
    return (
        f"grpc_servicer_functions: {path!r} is not usable: {why}. Expected the import path of a "
        "function that protoc's gRPC plugin generated, such as "
        "'hello_pb2_grpc.add_HelloServicer_to_server'."
    )
