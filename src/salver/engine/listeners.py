"""The sockets that the keeper binds and holds until it stops, so that no dialler is refused."""

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
        raise EngineError(f"Cannot listen on {where}: {_explain(error, listen)}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _find_out_who_is_gone(listener)
        listener.bind(address)
        listener.listen(listen.backlog)
    except OSError as error:
        listener.close()
        raise EngineError(f"Cannot listen on {where}: {_explain(error, listen)}") from error
    return listener


def _find_out_who_is_gone(listener: socket.socket) -> None:
    """A client whose machine or network fails says no goodbye: its connection is closed after two
    minutes, and a WebSocket that waits for it is told. Connections inherit this."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


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
