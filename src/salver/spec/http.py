"""Every setting of the HTTP door, once: its name, type, default, bounds and what it means."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from salver.spec.tls import TlsFiles

__all__ = ("HttpSettings",)


# What a door reads anyway.
_TAKEN: Final = frozenset({
    "connection", "content-length", "expect", "host", "serve-multiplexed-model-id", "traceparent",
    "transfer-encoding", "upgrade", "x-request-disconnect-disabled", "x-request-id",
    "x-request-timeout-seconds",
})  # fmt: skip


class HttpSettings(TlsFiles, frozen=True, forbid_unknown_fields=True):
    """How the HTTP door listens, what it waits for, and where it says no."""

    host: Annotated[str, Meta(min_length=1, description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port; 0: one that is free.")] = 8000
    root_path: Annotated[
        str,
        Meta(
            max_length=64,
            pattern=r"^(/[A-Za-z0-9._~\-]+)*$",
            description="Path under which others see this door, as behind a proxy that cuts it "
            "off: links that apps make begin with it. Requests may come with it or without.",
        ),
    ] = ""
    root_url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://\S*[^\s/])?$",
            description="Address under which others reach this door, said where apps are ready.",
        ),
    ] = ""
    ssl_keyfile_password: Annotated[
        str | None, Meta(description="Of the private key, if it has one.")
    ] = None
    request_timeout_s: Annotated[
        float | None,
        Meta(description="From the head to the last byte of the reply; None or <= 0: no limit."),
    ] = None
    keep_alive_timeout_s: Annotated[
        float, Meta(gt=0, description="How long a connection may stay without a request.")
    ] = 90.0
    header_timeout_s: Annotated[
        float, Meta(gt=0, description="From the first byte of a request's head to its last.")
    ] = 10.0
    body_idle_timeout_s: Annotated[
        float, Meta(gt=0, description="Between two pieces of a request's body.")
    ] = 30.0
    send_idle_timeout_s: Annotated[
        float, Meta(gt=0, description="How long a client may take none of what is sent to it.")
    ] = 60.0
    drain_timeout_s: Annotated[
        float, Meta(ge=0, description="How long requests under way may go on once it stops.")
    ] = 20.0
    max_head_bytes: Annotated[
        int, Meta(ge=256, le=65408, description="Request line and headers together.")
    ] = 65408  # with the client's address behind it, its length is 16 bits of a frame
    max_headers: Annotated[int, Meta(ge=1, le=1000, description="Header lines.")] = 128
    max_body_bytes: Annotated[int, Meta(ge=0, description="Body of one request, as decoded.")] = (
        1 << 30
    )
    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            description="Open client connections of one door process, as far as the system allows "
            "them.",
        ),
    ] = 65536
    session_id_header: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~\-]+$",
            description="Header that names a request's session, `-` and `_` in it alike.",
        ),
    ] = "x-session-id"
    system_shared_memory: Annotated[
        bool,
        Meta(
            description="Let clients of the Open Inference Protocol name shared memory of this "
            "machine for tensors. Whoever can call then reads and writes it."
        ),
    ] = False

    def __post_init__(self) -> None:
        TlsFiles.__post_init__(self)
        if self.session_id_header.lower().replace("_", "-") in _TAKEN:
            raise ValueError(
                f"session_id_header={self.session_id_header!r} has another meaning already"
            )
        if self.ssl_certfile is None and self.ssl_keyfile_password:
            raise ValueError(
                "ssl_keyfile_password means nothing without ssl_certfile and ssl_keyfile"
            )
