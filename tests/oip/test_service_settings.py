"""Trace and log settings: changes are checked, named, and the same over REST and gRPC."""

from __future__ import annotations

from typing import Any

import pytest

from salver.oip import proto
from salver.oip.errors import InvalidMessageError, MalformedBodyError
from salver.oip.service_settings import (
    LOG_DEFAULTS,
    TRACE_DEFAULTS,
    changed_log,
    changed_trace,
    read_changes,
)
from salver.oip.settings_messages import (
    read_log_message,
    read_trace_message,
    write_log_message,
    write_trace_message,
)

TRACE, LOG = dict(TRACE_DEFAULTS), dict(LOG_DEFAULTS)


def test_only_what_is_named_changes_and_null_takes_it_back() -> None:
    changes = read_changes(b'{"trace_level":["TIMESTAMPS"],"trace_rate":"5"}')

    changed = changed_trace(TRACE, changes, TRACE)

    assert changed == TRACE | {"trace_level": ["TIMESTAMPS"], "trace_rate": "5"}
    assert (
        changed_trace(changed, read_changes(b'{"trace_rate":null}'), TRACE)["trace_rate"] == "1000"
    )
    assert changed_trace(TRACE, read_changes(b""), TRACE) == TRACE
    assert changed_log(LOG, read_changes(b'{"log_info":false}')) == LOG | {"log_info": False}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"trace_levle": ["OFF"]},
            r"^\$: unknown setting 'trace_levle'; did you mean 'trace_level'",
        ),
        ({"trace_level": ["MAX"]}, r"^\$\.trace_level: expected some of OFF, TIMESTAMPS, TENSORS"),
        ({"trace_level": []}, r"^\$\.trace_level: "),
        ({"trace_rate": "often"}, r"^\$\.trace_rate: expected a number in a string, got 'often'$"),
        ({"trace_rate": 5}, r"^\$\.trace_rate: expected a number in a string, got 5$"),
        ({"trace_file": 5}, r"^\$\.trace_file: expected a string, got 5$"),
    ],
)
def test_wrong_trace_settings_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidMessageError, match=message):
        changed_trace(TRACE, changes, TRACE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log_info": 1}, r"^\$\.log_info: expected bool, got 1$"),
        (
            {"log_verbose_level": True},
            r"^\$\.log_verbose_level: expected int from 0 to 4294967295, got True$",
        ),
        ({"log_verbose_level": -1}, r"^\$\.log_verbose_level: expected int from 0 to .*, got -1$"),
        ({"log_verbose_level": 2**32}, r"^\$\.log_verbose_level: expected int from 0 to"),
        ({"log_format": "x"}, r"^\$\.log_format: expected one of default, ISO8601, got 'x'$"),
        ({"x": 1}, r"^\$: unknown setting 'x'; known are log_file, "),
    ],
)
def test_wrong_log_settings_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidMessageError, match=message):
        changed_log(LOG, changes)


def test_bodies_that_are_no_objects_are_refused() -> None:
    with pytest.raises(InvalidMessageError, match=r"^\$: Expected `object`, got `array`$"):
        read_changes(b"[]")
    with pytest.raises(MalformedBodyError, match=r"^no valid JSON"):
        read_changes(b"{")


def test_the_messages_say_the_same() -> None:
    trace = proto.message("TraceSettingRequest").FromString(
        write_trace_message(TRACE | {"trace_file": "f"}).SerializeToString()
    )
    log = proto.message("LogSettingsRequest").FromString(write_log_message(LOG).SerializeToString())
    trace.settings["log_frequency"].Clear()

    assert changed_trace(TRACE, read_trace_message(trace), TRACE) == TRACE | {"trace_file": "f"}
    assert changed_log({}, read_log_message(log)) == LOG
