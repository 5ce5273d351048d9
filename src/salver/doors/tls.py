"""TLS for a door, from files in PEM."""

from __future__ import annotations

import ssl

from salver.errors import SalverError
from salver.spec.tls import TlsFiles

__all__ = ("context_of",)


def context_of(
    settings: TlsFiles, password: str | None = None, protocol: str = "http/1.1"
) -> ssl.SSLContext | None:
    """None: the door speaks without TLS. SalverError: a file cannot be used, and which."""
    if settings.ssl_certfile is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols([protocol])
    try:
        # Without the function, a key that has a password would ask for it at the terminal.
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, lambda: password or "")
    except OSError as error:  # ssl.SSLError is one
        raise SalverError(
            f"ssl_certfile={settings.ssl_certfile!r} with ssl_keyfile={settings.ssl_keyfile!r} "
            f"cannot be used: {_why(error)}"
        ) from None
    if settings.ssl_ca_certs is not None:
        try:
            context.load_verify_locations(settings.ssl_ca_certs)
        except OSError as error:
            raise SalverError(
                f"ssl_ca_certs={settings.ssl_ca_certs!r} cannot be used: {_why(error)}"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"{error.reason or error}. (A wrong password looks like this, too.)"
    return f"{error.strerror}."
