"""The sockets that the keeper binds and holds for ever, so that no dialler is ever refused."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from salver.engine.config import Listen
from salver.errors import EngineError

__all__ = ("bind_control", "bind_tcp", "reserve_tcp")


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
    listener = _bound(listen, socket.SO_REUSEADDR)
    listener.listen(listen.backlog)
    return listener


def reserve_tcp(listen: Listen) -> socket.socket:
    """A TCP socket that does not listen, and keeps its address for processes of ours that do.

    An address that may be shared at all is shared with everybody of this user, another instance
    too: so first it is seen that nobody has it.
    """
    if listen.port:
        bind_tcp(listen).close()
    return _bound(listen, socket.SO_REUSEPORT)


def _bound(listen: Listen, option: int) -> socket.socket:
    where = f"{listen.host}:{listen.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise EngineError(f"Cannot listen on {where}: {_explain(error, listen)}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise EngineError(f"Cannot listen on {where}: {_explain(error, listen)}") from error
    return bound


def _explain(error: OSError, listen: Listen) -> str:
    flag = "--port" if listen.name == "http" else f"--{listen.name}-port"
    option = f'{flag}, or {listen.name}_options={{"port": ...}} in a program'
    if error.errno == errno.EADDRINUSE:
        return f"the port is in use. Stop what uses it, or choose another with {option}."
    if error.errno == errno.EACCES:
        return f"not permitted. Ports below 1024 need privileges; choose another with {option}."
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{error.strerror}. Choose an address of this machine with --host."
    return f"{error.strerror}."
