"""What log lines of a Salver process look like. Programs call `configure`; imports do not."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from salver.errors import SalverError

__all__ = ("RECORD", "JsonFormatter", "LineFormatter", "Speaker", "configure", "formatter_of")

# In front of a line that is a whole JSON object: whoever passes lines on adds nothing to it.
RECORD: Final = "\x1e"
_STANDARD: Final = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "request_id"))
# Users of Ray Serve give further fields of JSON lines in `extra` under this name.
_EXTRA: Final = "ray_serve_extra_fields"


class Wanted(Protocol):
    """How to log (`spec.logging.LoggingConfig`)."""

    @property
    def encoding(self) -> str: ...  # "TEXT" or "JSON"
    @property
    def log_level(self) -> str: ...
    @property
    def logs_dir(self) -> str | None: ...
    @property
    def additional_log_standard_attrs(self) -> tuple[str, ...]: ...


class _Plain(NamedTuple):
    encoding: str = "TEXT"
    log_level: str = "INFO"
    logs_dir: str | None = None
    additional_log_standard_attrs: tuple[str, ...] = ()


class Request(Protocol):
    """The call that the code which logs belongs to."""

    @property
    def request_id(self) -> str: ...
    @property
    def route(self) -> str: ...


class Speaker(NamedTuple):
    """Which process logs."""

    component: str = ""  # "replica", "ingress", "controller"
    id: str = ""
    application: str = ""
    deployment: str = ""
    replica: str = ""

    @property
    def file(self) -> str:
        """The name of its file."""
        parts = (self.application, self.deployment, self.replica) if self.replica else (self.id,)
        words = [self.component, *(part for part in parts if part != self.component)]
        return "_".join(word.replace("/", "-") for word in words) + ".log"


def _no_request() -> Request | None:
    return None


class LineFormatter(logging.Formatter):
    """`INFO 2026-11-20 14:00:00,123 <request id> message`; a traceback follows on its own lines."""

    def __init__(
        self,
        request: Callable[[], Request | None] = _no_request,
        attributes: tuple[str, ...] = (),
    ) -> None:
        more = "".join(f"{name}=%({name})s " for name in attributes)
        super().__init__(f"%(levelname)s %(asctime)s %(shown_id)s{more}%(message)s")
        self._request = request

    def format(self, record: logging.LogRecord) -> str:
        found = getattr(record, "request_id", None)
        if found is None:
            call = self._request()
            found = call.request_id if call is not None else ""
        record.shown_id = f"{found} " if found else ""
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """One JSON object per record: what is known of it, of its process and of its request."""

    def __init__(
        self,
        speaker: Speaker,
        request: Callable[[], Request | None] = _no_request,
        attributes: tuple[str, ...] = (),
        mark: str = "",
    ) -> None:
        super().__init__()
        self._speaker = speaker
        self._request = request
        self._attributes = attributes
        self._mark = mark
        self._encode = msgspec.json.Encoder(enc_hook=str).encode

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "asctime": self.formatTime(record),
            "levelname": record.levelname,
            "message": record.getMessage(),
            "name": record.name,
            "filename": record.filename,
            "lineno": record.lineno,
            **self._of_process(),
            **self._of_request(record),
            **{name: getattr(record, name, None) for name in self._attributes},
        }
        if record.exc_info:
            fields["exc_text"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack_info"] = record.stack_info
        for name, value in vars(record).items():
            if name not in _STANDARD:
                fields.update(value if name == _EXTRA else {name: value})
        try:
            line = self._encode(fields)
        except (TypeError, ValueError, RecursionError):  # in an `extra` of the user's
            line = self._encode({name: str(value) for name, value in fields.items()})
        return self._mark + line.decode()

    def _of_process(self) -> dict[str, str]:
        speaker = self._speaker
        about = {"component_name": speaker.component, "component_id": speaker.id}
        for name in ("application", "deployment", "replica"):
            if value := getattr(speaker, name):
                about[name] = value
        return about

    def _of_request(self, record: logging.LogRecord) -> dict[str, str]:
        found = getattr(record, "request_id", None)
        if found is not None:
            return {"request_id": found}
        call = self._request()
        return {} if call is None else {"request_id": call.request_id, "route": call.route}


def configure(
    wanted: Wanted | None = None,
    speaker: Speaker | None = None,
    request: Callable[[], Request | None] = _no_request,
) -> None:
    """Send every record of this process to stderr, one line each, with the current request's id;
    and to a file of its own, where a directory is given. Again: as is said now.

    What user code prints is passed on line by line, in the order in which it was written.
    SalverError: the file cannot be written.
    """
    wanted, speaker = wanted or _Plain(), speaker or Speaker()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    handlers[0].setFormatter(formatter_of(wanted, speaker, request))
    if wanted.logs_dir is not None:
        handlers.append(_file(Path(wanted.logs_dir), speaker))
        handlers[1].setFormatter(formatter_of(wanted, speaker, request, mark=""))
    root = logging.getLogger()
    before = [h for h in root.handlers if isinstance(h.formatter, LineFormatter | JsonFormatter)]
    root.handlers[:] = [*(h for h in root.handlers if h not in before), *handlers]
    for handler in before:
        handler.close()
    root.setLevel(int(wanted.log_level) if wanted.log_level.isdecimal() else wanted.log_level)
    logging.captureWarnings(capture=True)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)


def formatter_of(
    wanted: Wanted,
    speaker: Speaker,
    request: Callable[[], Request | None] = _no_request,
    *,
    mark: str = RECORD,
) -> logging.Formatter:
    """What makes a line of a record."""
    attributes = wanted.additional_log_standard_attrs
    if wanted.encoding == "JSON":
        return JsonFormatter(speaker, request, attributes, mark)
    return LineFormatter(request, attributes)


def _file(directory: Path, speaker: Speaker) -> logging.Handler:
    """Watched: when another program rotates it away, a new one is begun."""
    from logging.handlers import WatchedFileHandler  # costs time, and few want files

    try:
        directory.mkdir(parents=True, exist_ok=True)
        return WatchedFileHandler(directory / speaker.file, encoding="utf-8")
    except OSError as error:
        raise SalverError(
            f"logs_dir={str(directory)!r} cannot be written to: {error.strerror}. "
            "Name a directory that is there or can be made, or leave it out."
        ) from None
