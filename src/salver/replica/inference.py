"""What a replica with endpoints is told and asked by the controller. Needs no numpy itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec

from salver.oip.state import InferenceState

if TYPE_CHECKING:
    from salver.oip.metadata import ModelStatistics
    from salver.oip.service_settings import Log
    from salver.replica.host import Host

__all__ = ("learn", "statistics")

_logger: Final = logging.getLogger("salver")
_UNTOLD: Final = InferenceState()


def learn(host: Host, body: Any) -> None:
    """From now on this holds."""
    before, host.inference = host.inference or _UNTOLD, msgspec.convert(body, InferenceState)
    if before.log != host.inference.log:
        _logger.setLevel(_level(host.inference.log))


def _level(log: Log) -> int:
    if int(log["log_verbose_level"]) > 0:
        return logging.DEBUG
    if log["log_info"]:
        return logging.INFO
    if log["log_warning"]:
        return logging.WARNING
    return logging.ERROR if log["log_error"] else logging.CRITICAL


def statistics(host: Host) -> list[ModelStatistics]:
    """How often each of its models was called."""
    models = host.object.endpoints.all() if host.object.endpoints is not None else []
    return [model.counters.statistics(model.name, model.version) for model in models]
