"""What a door needs to speak TLS: files in PEM."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ("TlsFiles",)


class TlsFiles(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """These settings of a door."""

    ssl_certfile: Annotated[
        str | None, Meta(description="Certificate (PEM, with its chain): the door speaks TLS.")
    ] = None
    ssl_keyfile: Annotated[str | None, Meta(description="The certificate's private key (PEM).")] = (
        None
    )
    ssl_ca_certs: Annotated[
        str | None,
        Meta(description="Authorities (PEM) by one of which clients must be certified."),
    ] = None

    @property
    def secure(self) -> bool:
        """Whether clients speak TLS."""
        return self.ssl_certfile is not None

    def __post_init__(self) -> None:
        """TLS needs both files."""
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            given, missing = "ssl_certfile", "ssl_keyfile"
            if self.ssl_certfile is None:
                given, missing = missing, given
            raise ValueError(f"{given} is given and {missing} is not: TLS needs both, or neither")
        if self.ssl_certfile is None and self.ssl_ca_certs:
            raise ValueError("ssl_ca_certs means nothing without ssl_certfile and ssl_keyfile")
