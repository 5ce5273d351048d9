"""The sockets that the keeper binds and holds for ever, so that no dialler is ever refused."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from salver.engine.config import Listen
from salver.errors import EngineError

__all__ = ("bind_control", "bind_tcp")


def bind_control(instance: str) -> socket.socket:
    """The control socket of this runtime directory."""
    path = Path(instance) / "control.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise EngineError(f"Cannot listen on {path}: {os.strerror(error.errno or 0)}.") from error
    return listener


def bind_tcp(listen: Listen) -> socket.socket:
    """A TCP socket that listens; EngineError says what to do when it cannot."""
    where = f"{listen.host}:{listen.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise EngineError(f"Cannot listen on {where}: {error.strerror}.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(listen.backlog)
    except OSError as error:
        listener.close()
        raise EngineError(f"Cannot listen on {where}: {_explain(error)}") from error
    return listener


def _explain(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use. Stop what uses it, or choose another with --port."
    if error.errno == errno.EACCES:
        return "not permitted. Ports below 1024 need privileges; choose another with --port."
    return f"{error.strerror}."
