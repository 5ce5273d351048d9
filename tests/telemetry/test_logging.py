"""What log lines look like, and that only `configure` changes the process."""

from __future__ import annotations

import logging
import re
import subprocess
import sys

from salver.telemetry.logging import LineFormatter


def _record(message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("salver", logging.INFO, "f.py", 1, message, args, None)


def test_a_line_has_level_time_request_and_message() -> None:
    line = LineFormatter(lambda: "abc-1").format(_record("hello %s", "you"))
    assert re.fullmatch(r"INFO \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} abc-1 hello you", line)


def test_outside_a_request_there_is_no_id() -> None:
    assert LineFormatter().format(_record("hello")).endswith(",000 hello"[4:])


def test_configure_sends_everything_to_stderr_and_prints_line_by_line() -> None:
    program = (
        "import logging, sys, warnings\n"
        "from salver.telemetry import logging as ours\n"
        "assert not logging.getLogger().handlers\n"
        "ours.configure(lambda: 'rid')\n"
        "logging.getLogger('salver').info('one')\n"
        "logging.getLogger('mine').warning('two')\n"
        "logging.getLogger('mine').debug('not this')\n"
        "warnings.warn('three')\n"
        "assert sys.stdout.line_buffering\n"
        "print('four')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "src"},
    )
    assert done.stdout == "four\n"
    assert "rid one\n" in done.stderr
    assert "WARNING" in done.stderr
    assert "two" in done.stderr
    assert "three" in done.stderr
    assert "not this" not in done.stderr
