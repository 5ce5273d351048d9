"""Trace and log settings to and from protobuf messages. Needs the extra `grpc`."""

from __future__ import annotations

from typing import Any

from salver.oip import proto
from salver.oip.service_settings import Log, Trace

__all__ = ("read_log_message", "read_trace_message", "write_log_message", "write_trace_message")


def read_trace_message(message: Any) -> dict[str, Any]:
    """The changes in a TraceSettingRequest; an entry without values takes a setting back."""
    changes: dict[str, Any] = {}
    for name, setting in message.settings.items():
        values = list(setting.value)
        changes[name] = values if name == "trace_level" and values else (*values, None)[0]
    return changes


def write_trace_message(settings: Trace) -> Any:
    """A TraceSettingResponse."""
    message = proto.message("TraceSettingResponse")()
    for name, value in settings.items():
        message.settings[name].value.extend([value] if isinstance(value, str) else value)
    return message


def read_log_message(message: Any) -> dict[str, Any]:
    """The changes in a LogSettingsRequest."""
    return {
        name: getattr(setting, setting.WhichOneof("parameter_choice") or "string_param")
        for name, setting in message.settings.items()
    }


def write_log_message(settings: Log) -> Any:
    """A LogSettingsResponse."""
    message = proto.message("LogSettingsResponse")()
    fields = {bool: "bool_param", int: "uint32_param", str: "string_param"}
    for name, value in settings.items():
        setattr(message.settings[name], fields[type(value)], value)
    return message
