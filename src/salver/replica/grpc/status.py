"""The one table from errors to gRPC's status codes, as numbers: nothing here needs grpc."""

from __future__ import annotations

from typing import Final

from salver.errors import (
    BackPressureError,
    CapacityError,
    DeployFailedError,
    DeploymentUnavailableError,
    EngineError,
    NoMethodError,
    ReplicaUnavailableError,
    RequestCancelledError,
    RequestTimeoutError,
    SalverError,
    WireError,
    gRPCStatusError,
)
from salver.oip.errors import (
    InvalidMessageError,
    ModelNotFoundError,
    ModelNotReadyError,
    UnsupportedError,
)

__all__ = (
    "CANCELLED",
    "CODE_OF",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "OK",
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "UNIMPLEMENTED",
    "code_of",
    "cut",
    "name_of",
    "status_of",
)

OK: Final = 0
CANCELLED: Final = 1
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
NOT_FOUND: Final = 5
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14

_NAMES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip

# A class that is not here is answered as the nearest of its bases that is.
CODE_OF: Final[dict[type[BaseException], int]] = {
    BackPressureError: RESOURCE_EXHAUSTED,
    RequestCancelledError: CANCELLED,
    RequestTimeoutError: DEADLINE_EXCEEDED,
    DeploymentUnavailableError: UNAVAILABLE,
    ReplicaUnavailableError: UNAVAILABLE,
    DeployFailedError: UNAVAILABLE,
    WireError: UNAVAILABLE,
    EngineError: UNAVAILABLE,
    CapacityError: UNAVAILABLE,
    NoMethodError: UNIMPLEMENTED,
    InvalidMessageError: INVALID_ARGUMENT,
    ModelNotFoundError: NOT_FOUND,
    ModelNotReadyError: UNAVAILABLE,
    UnsupportedError: UNIMPLEMENTED,
    SalverError: INTERNAL,
    Exception: INTERNAL,
}

_DETAILS: Final = 4096  # characters
# Details travel in a header, percent-encoded; clients refuse headers of more than 8 KiB in all.
_HEADER: Final = 6144


def code_of(error: BaseException) -> int:
    """The status code that answers a call that failed so."""
    return next((CODE_OF[c] for c in type(error).__mro__ if c in CODE_OF), INTERNAL)


def status_of(error: BaseException) -> tuple[int, str]:
    """The code and the details that answer a call that failed so."""
    if isinstance(error, gRPCStatusError):
        return error.grpc_code.value[0], str(error)
    text = str(error)
    if isinstance(error, SalverError):
        return code_of(error), text
    return code_of(error), f"{type(error).__name__}: {text}" if text else type(error).__name__


def name_of(code: int) -> str:
    """What logs and metrics call a status code."""
    return _NAMES[code] if 0 <= code < len(_NAMES) else str(code)


def cut(details: str) -> str:
    """So much of a text as a client is sure to be shown."""
    details = details[:_DETAILS]
    while _encoded(details) > _HEADER:
        details = details[: len(details) * _HEADER // _encoded(details)]
    return details


def _encoded(text: str) -> int:
    plain = sum(" " <= c <= "~" and c != "%" for c in text)
    return plain + 3 * (len(text.encode("utf-8", "replace")) - plain)
