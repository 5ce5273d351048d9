"""A request's head, from bytes: strict, and only what routing and framing need becomes objects.

The whole head is matched by one pattern that knows no leniency: CRLF line ends only, no folded
lines, no space before a colon, no control characters. What two readers could read differently
(length given twice, length and chunks, two hosts) is refused, so that nothing can be smuggled past
this door to the replica, which reads the same bytes again.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from salver.wire.frames import LARGE

if TYPE_CHECKING:
    from salver.doors.routes import Route

__all__ = ("Head", "HeadError", "Names", "looks_wrong", "parse_head")

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
_LINE = rb"(" + _TOKEN + rb") ([\x21\x22\x24-\x7e]++) HTTP/1\.([01])"
_HEAD = re.compile(_LINE + rb"(?:\r\n" + _TOKEN + rb":" + _VALUE + rb")*+\r\n\r\n")
_FIELD = re.compile(_TOKEN + rb":" + _VALUE)
_REQUEST_LINE = re.compile(_TOKEN + rb" [\x21\x22\x24-\x7e]++ HTTP/[0-9]\.[0-9]")
# Names are compared in a lower-cased copy; values that keep their case are cut from the original.
_KNOWN = (
    rb"\r\n(host|content-length|transfer-encoding|connection|upgrade|expect|traceparent"
    rb"|x-request-id|x-request-timeout-seconds|x-request-disconnect-disabled"
    rb"|serve[-_]multiplexed[-_]model[-_]id|%s):([^\r]*+)"
)
_FRAMING = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect")
)
_HOST = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+;=%:\[\]]*+")
_ABSOLUTE = re.compile(rb"(?i)https?://([^/?]++)(.*)", re.DOTALL)
_WRONG = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\x00")
_STARTS = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = re.compile(rb"[0-9]{1,18}")


class HeadError(Exception):
    """This head is refused; the connection is answered with `status` and closed."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


class Names:
    """Which headers a door reads: all but one have the same name at every door."""

    __slots__ = ("known", "session")

    def __init__(self, session: str = "x-session-id") -> None:
        self.session = session.lower().replace("_", "-").encode()
        self.known = re.compile(_KNOWN % re.escape(self.session).replace(rb"\-", b"[-_]"))


_NAMES = Names()


class Head:
    """What a door knows of a request. Never changed once parsed, so equal bytes share one."""

    __slots__ = (
        "cacheable",
        "chunked",
        "close",
        "detached",
        "expects",
        "length",
        "method",
        "model_id",
        "old",
        "path",
        "plain",
        "raw",
        "request_id",
        "route",
        "session_id",
        "small",
        "timeout_s",
        "upgrade",
    )

    def __init__(self, raw: bytes, method: bytes, path: str, *, old: bool) -> None:
        self.raw = raw
        self.method = method
        self.path = path
        self.old = old  # HTTP/1.0
        self.close = old
        self.length = 0
        self.chunked = False
        self.expects = False
        self.upgrade = False
        self.detached = False  # runs on when the client hangs up
        self.timeout_s: float | None = None  # None: not given
        self.request_id = ""
        self.model_id = ""
        self.session_id = ""
        self.cacheable = True
        self.plain = True  # no body, and stays HTTP
        self.small = False  # a body that may travel in the frame of the head
        self.route: Route | None = None  # filled in by the door, per route table


def looks_wrong(data: bytes | bytearray, start: int) -> bool:
    """Tell early that no continuation of an incomplete head can be right."""
    if data == b"\r":  # of an empty line, which may stand before a request
        return False
    return data[0] not in _STARTS or _WRONG.search(data, max(0, start - 1)) is not None


def parse_head(raw: bytes, max_headers: int = 128, names: Names = _NAMES) -> Head:
    """Read a complete head, `CRLFCRLF` included, or raise HeadError."""
    match = _HEAD.fullmatch(raw)
    if match is None:
        raise _diagnose(raw)
    if raw.count(b"\n") - 2 > max_headers:
        raise HeadError(431, f"More than {max_headers} headers.")
    method, target, minor = match.groups()
    head = Head(raw, method, "", old=minor == b"0")
    if not _read_fields(head, raw, match.end(3), names) and not head.old:
        raise HeadError(400, "The Host header is missing.")
    if target[0] == 0x2F:
        head.path = _path_of(target)
    else:
        _read_odd_target(head, target)
    if head.length:
        head.plain = False
        head.small = head.length < LARGE
    elif head.chunked or head.upgrade:
        head.plain = False
    return head


def _read_fields(head: Head, raw: bytes, start: int, names: Names) -> bool:
    """Fill in what the headers say; tell whether Host is among them."""
    low = raw.lower()
    found: dict[bytes, bytes] = {}
    extras = False
    for name, value in names.known.findall(low, start):
        if name not in found:
            found[name] = value.strip(b" \t")
            extras = extras or name not in _FRAMING
        elif name == b"connection":
            found[name] += b"," + value
        elif name in _FRAMING:
            raise HeadError(400, f"The {name.decode()} header is given more than once.")
    host = found.pop(b"host", None)
    if host is not None and _HOST.fullmatch(host) is None:
        raise HeadError(400, "The Host header is not a host.")
    if found:
        _read_framing(head, found)
        _read_connection(head, found)
    if extras:
        head.cacheable = False
        _read_extras(head, raw, low, start, names)
    return host is not None


def _read_framing(head: Head, found: dict[bytes, bytes]) -> None:
    length, coding = found.get(b"content-length"), found.get(b"transfer-encoding")
    if length is not None:
        if coding is not None:
            raise HeadError(400, "Content-Length and Transfer-Encoding contradict each other.")
        head.length = _length(length)
    elif coding is not None:
        if coding != b"chunked" or head.old:
            raise HeadError(400, "Transfer-Encoding is `chunked` and nothing else, in HTTP/1.1.")
        head.chunked = True
    expected = found.get(b"expect")
    if expected is not None:
        if expected != b"100-continue":
            raise HeadError(417, "The only expectation that is met is `100-continue`.")
        head.expects = not head.old


def _read_connection(head: Head, found: dict[bytes, bytes]) -> None:
    connection = found.get(b"connection")
    if connection is None:
        return
    tokens = [token.strip(b" \t") for token in connection.split(b",")]
    if b"close" in tokens:
        head.close = True
    if b"upgrade" in tokens and found.get(b"upgrade") == b"websocket":
        head.upgrade = head.method == b"GET" and not head.old and not (head.length or head.chunked)


def _read_extras(head: Head, raw: bytes, low: bytes, start: int, names: Names) -> None:
    """The headers of ours, with their case kept."""
    for match in names.known.finditer(low, start):
        name = match[1].replace(b"_", b"-")
        text = raw[match.start(2) : match.end(2)].strip(b" \t").decode("latin-1")
        if name == b"x-request-id":
            head.request_id = text
        elif name == b"x-request-timeout-seconds":
            head.timeout_s = _timeout(text)
        elif name == b"x-request-disconnect-disabled":
            head.detached = text == "?1"
        elif name == names.session:
            head.session_id = text
        elif name == b"serve-multiplexed-model-id":
            head.model_id = text


def _length(value: bytes) -> int:
    if _DIGITS.fullmatch(value) is None:
        raise HeadError(400, "Content-Length is not a plain decimal number of at most 18 digits.")
    return int(value)


def _timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds):
        raise HeadError(400, f"x-request-timeout-seconds is not a number: {text!r}.")
    return 0.0 if math.isinf(seconds) else seconds


def _path_of(target: bytes) -> str:
    path = target.partition(b"?")[0]
    if b"%" in path:
        path = unquote_to_bytes(path)
    return path.decode("utf-8", "replace")


def _read_odd_target(head: Head, target: bytes) -> None:
    """`OPTIONS *` and absolute targets; the latter become plain ones for whoever reads on."""
    if target == b"*" and head.method == b"OPTIONS":
        head.path = "*"
        return
    if head.method == b"CONNECT":
        raise HeadError(501, "CONNECT is not served here.")
    match = _ABSOLUTE.fullmatch(target)
    if match is None or _HOST.fullmatch(match[1]) is None:
        raise HeadError(400, "The request target is neither a path nor an http URL.")
    host, path = match.groups()
    if not path.startswith(b"/"):
        path = b"/" + path
    rest = head.raw[len(head.method) + len(target) + 1 :]
    rest = re.sub(rb"(?i)\r\nhost:[^\r]*+", b"\r\nHost: " + host.replace(b"\\", b""), rest)
    head.raw = head.method + b" " + path + rest
    head.path = _path_of(path)
    head.cacheable = False


def _diagnose(raw: bytes) -> HeadError:
    """Say what is wrong with a head that the pattern refused."""
    line, _, fields = raw.partition(b"\r\n")
    if _REQUEST_LINE.fullmatch(line) is None:
        return HeadError(400, "Invalid request line.")
    if not line.endswith((b" HTTP/1.1", b" HTTP/1.0")):
        return HeadError(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    for field in fields.split(b"\r\n")[:-2]:
        if _FIELD.fullmatch(field) is None:
            name = field.partition(b":")[0][:40].decode("latin-1")
            return HeadError(400, f"Invalid header line: {name!r}.")
    return HeadError(400, "Invalid request head.")
