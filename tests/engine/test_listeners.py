"""The sockets that doors listen on."""

from __future__ import annotations

import socket

from salver.engine.config import Listen
from salver.engine.listeners import bind_tcp


def test_a_client_that_fails_without_a_goodbye_is_found_out() -> None:
    with (
        bind_tcp(Listen(port=0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, every, count = (
            connection.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + every * count == 120
