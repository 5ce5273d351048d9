"""What can be wrong with a message of the protocol; numbers for HTTP and gRPC belong to the doors.

SalverError
|-- UnservableError               a function whose signature no protocol can carry (TypeError)
`-- ProtocolError
    |-- InvalidMessageError       the sender's fault; `path` says where, as in $.inputs[0].shape
    |   |-- MalformedBodyError    bytes that are no JSON, no protobuf, or lie about their sizes
    |   |-- InvalidTensorError    datatype, shape, count or an element of one tensor
    |   |-- MismatchError         right by itself, but not what this model takes or gives
    |   `-- ContentError          a content type that is unknown or that the data do not follow
    |-- UnsupportedError          part of the protocol that is not offered here
    |-- ModelNotFoundError        no such model or version
    |-- ModelNotReadyError        the model is there but cannot answer now
    `-- InvalidResultError        the model's own result cannot be said in the protocol
"""

from __future__ import annotations

from typing import Self

from salver.errors import SalverError

__all__ = (
    "ContentError",
    "InvalidMessageError",
    "InvalidResultError",
    "InvalidTensorError",
    "MalformedBodyError",
    "MismatchError",
    "ModelNotFoundError",
    "ModelNotReadyError",
    "ProtocolError",
    "UnservableError",
    "UnsupportedError",
)


class ProtocolError(SalverError):
    """Base of what this package raises."""


class UnservableError(SalverError, TypeError):
    """A function cannot be offered over the protocol as it is written."""


class InvalidMessageError(ProtocolError):
    """A message does not follow the protocol; nothing was run."""

    def __init__(self, message: str, path: str = "") -> None:
        self.message = message
        self.path = path
        super().__init__(message, path)

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message

    def under(self, prefix: str) -> Self:
        """The same error, seen from further out: a path of `.shape` becomes `$.inputs[0].shape`."""
        return type(self)(self.message, prefix + self.path)


class MalformedBodyError(InvalidMessageError):
    """The bytes are not what they claim to be."""


class InvalidTensorError(InvalidMessageError):
    """One tensor contradicts itself."""


class MismatchError(InvalidMessageError):
    """The message is well formed, but the model takes or gives something else."""


class ContentError(InvalidMessageError):
    """A content type is unknown, or the tensor does not hold what it promises."""


class UnsupportedError(ProtocolError):
    """The protocol knows this, this server does not offer it."""


class ModelNotFoundError(ProtocolError):
    """No model of that name, or none of that version."""

    def __init__(self, name: str, version: str = "") -> None:
        self.name = name
        self.version = version
        super().__init__(name, version)

    def __str__(self) -> str:
        version = f" has no version {self.version!r:.60}" if self.version else " is not known"
        return f"Model {self.name!r:.60}{version}."


class ModelNotReadyError(ProtocolError):
    """The model exists but cannot answer now."""

    def __init__(self, name: str, version: str = "") -> None:
        self.name = name
        self.version = version
        super().__init__(name, version)

    def __str__(self) -> str:
        version = f" version {self.version!r:.60}" if self.version else ""
        return f"Model {self.name!r:.60}{version} is not ready."


class InvalidResultError(ProtocolError):
    """What the model returned cannot be written in the form that was asked for."""
