"""What log lines look like, and that only `configure` changes the process."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salver.calls.context import CallContext
from salver.errors import SalverError
from salver.spec.logging import LoggingConfig
from salver.telemetry.logging import JsonFormatter, LineFormatter, Speaker, configure


def _record(message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("salver", logging.INFO, "f.py", 1, message, args, None)


def test_a_line_has_level_time_request_and_message() -> None:
    line = LineFormatter(lambda: CallContext("abc-1")).format(_record("hello %s", "you"))
    assert re.fullmatch(r"INFO \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} abc-1 hello you", line)


def test_outside_a_request_there_is_no_id() -> None:
    assert LineFormatter().format(_record("hello")).endswith(",000 hello"[4:])


def test_configure_sends_everything_to_stderr_and_prints_line_by_line() -> None:
    program = (
        "import logging, sys, warnings\n"
        "from salver.telemetry import logging as ours\n"
        "assert not logging.getLogger().handlers\n"
        "from salver.calls.context import CallContext\n"
        "ours.configure(request=lambda: CallContext('rid'))\n"
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


def test_further_attributes_stand_before_the_message() -> None:
    line = LineFormatter(attributes=("lineno", "name")).format(_record("hello"))
    assert line.endswith(" lineno=1 name=salver hello")


SPEAKER = Speaker("replica", "a#D#1", "a", "D", "1")


def _json(record: logging.LogRecord, **how: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(JsonFormatter(SPEAKER, **how).format(record))
    return made


def test_a_json_line_says_whose_it_is_and_which_request_it_belongs_to() -> None:
    context = CallContext("abc-1", "a", "/r")
    found = _json(_record("hello %s", "you"), request=lambda: context, attributes=("funcName",))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", found.pop("asctime"))
    assert found == {
        "levelname": "INFO",
        "message": "hello you",
        "name": "salver",
        "filename": "f.py",
        "lineno": 1,
        "component_name": "replica",
        "component_id": "a#D#1",
        "application": "a",
        "deployment": "D",
        "replica": "1",
        "request_id": "abc-1",
        "route": "/r",
        "funcName": None,
    }


def test_a_json_line_holds_what_the_program_adds_and_the_traceback() -> None:
    record = _record("m\nn")
    record.model = "cat"
    record.thing = object()
    record.ray_serve_extra_fields = {"more": [1]}
    try:
        raise ValueError("no")
    except ValueError:
        record.exc_info = sys.exc_info()
    line = JsonFormatter(SPEAKER, mark="!").format(record)
    assert line[0] == "!"
    assert "\n" not in line
    found = json.loads(line[1:])
    assert (found["model"], found["more"], found["message"]) == ("cat", [1], "m\nn")
    assert found["thing"].startswith("<object")
    assert found["exc_text"].endswith("ValueError: no")


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    configure()  # closes what the test has opened
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


def test_a_file_has_the_lines_of_one_process_and_others_handlers_stay(
    root: logging.Logger, tmp_path: Path
) -> None:
    mine = logging.NullHandler()
    root.addHandler(mine)
    logs = tmp_path / "new" / "logs"
    configure(LoggingConfig(logs_dir=str(logs), encoding="JSON"), SPEAKER)  # type: ignore[arg-type]
    configure(LoggingConfig(logs_dir=str(logs), log_level="WARNING"), SPEAKER)
    logging.getLogger("ray.serve").warning("seen")
    logging.getLogger("ray.serve").info("not seen")
    text = (logs / "replica_a_D_1.log").read_text()
    assert text.endswith(" seen\n")
    assert text.count("\n") == 1
    assert mine in root.handlers


def test_a_directory_that_cannot_be_written_to_is_named(
    root: logging.Logger, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    before = root.handlers[:]
    with pytest.raises(SalverError, match=r"^logs_dir='.*file' cannot be written to: "):
        configure(LoggingConfig(logs_dir=str(tmp_path / "file")), SPEAKER)
    assert root.handlers == before
