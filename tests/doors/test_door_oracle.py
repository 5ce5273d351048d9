"""An independent reader of HTTP (h11) as the judge, and input that nobody would write by hand.

Whatever h11 refuses, the door refuses, but for empty lines before a request, which RFC 9112 (2.2)
has servers ignore. The door is stricter in these points, on purpose:
  - a bare LF is no line end, and folded header lines are refused;
  - a length given twice is refused even when both are equal;
  - control characters in header values and bytes that are no host in `Host` are refused;
  - `#` in a target, targets that are neither paths nor http URLs, and CONNECT are refused;
  - more than 128 headers, unknown expectations, odd `x-request-timeout-seconds`.
"""

from __future__ import annotations

import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st

from salver.calls.call import SENT
from salver.doors.intake import CONTINUE
from salver.spec.http import HttpSettings
from salver.wire.frames import BODY, CHUNK, END, HTTP, REQ
from tests.doors.door_fakes import OK, Client, Scene

REFUSED = "refused"
Outcome = list[object]


def judge(data: bytes) -> Outcome:
    """The requests that h11 sees: (method, target, body), then `refused` or nothing."""
    seen: Outcome = []
    try:
        while True:
            conn = h11.Connection(h11.SERVER)
            conn.receive_data(without_empty_lines(data))
            event = conn.next_event()
            if not isinstance(event, h11.Request):
                break
            body = b""
            while isinstance(event := conn.next_event(), h11.Data):
                body += event.data
            if not isinstance(event, h11.EndOfMessage):
                break
            seen.append(body)
            data, _ = conn.trailing_data
            conn.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            conn.send(h11.EndOfMessage())
            if conn.our_state is h11.MUST_CLOSE:
                break
    except h11.RemoteProtocolError:
        seen.append(REFUSED)
    return seen


def without_empty_lines(data: bytes) -> bytes:
    while data.startswith(b"\r\n"):
        data = data[2:]
    return data


def door(data: bytes, cuts: list[int], *, arena: bool = False) -> Outcome:
    """The same by the door: what reaches the replica, complete."""
    scene = Scene(HttpSettings(max_body_bytes=1 << 20), arena=arena)
    client = scene.client()
    seen: Outcome = []
    at = 0
    for cut in [*cuts, len(data)]:
        client.send(data[at:cut])
        at = max(at, cut)
        while play(scene, seen):
            pass
        if client.over():
            break
    assert scene.door.stats().in_flight <= 1
    assert len(client.protocol.rest or b"") <= 600_000
    out = client.out.replace(OK, b"").replace(CONTINUE, b"")
    if out.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")):
        assert client.over()
        seen.append(REFUSED)
    hang_up(scene, client)
    return seen


def play(scene: Scene, seen: Outcome) -> bool:
    """The replica takes every body and answers every complete request, one at a time."""
    number = len(seen)
    if number == len(scene.router.calls):
        return False
    call = scene.router.calls[number]
    if call.flow is not None and not call.flow.granted and call.state == SENT:
        call.credit(10_000)
        return True
    frames = [frame for frame in scene.router.link.conn.frames if frame[3] == number + 1]
    kind, flags, size, _, payload = frames[0]
    assert kind == REQ
    if flags & BODY:
        if frames[-1][0] != END:
            return False
        payload, size = b"".join(frame[4] for frame in frames if frame[0] == CHUNK), 0
    elif call.slab is not None:
        payload, size = bytes(call.slab.view), 0
    seen.append(payload[size:])
    call.answered(HTTP, OK)
    return True


def hang_up(scene: Scene, client: Client) -> None:
    """Nothing is left over afterwards."""
    client.leave()
    for call in scene.router.calls:
        if call.head.upgrade and call.state == SENT:
            call.ended(0)  # a tunnel lives until the replica ends it, too
    assert scene.door.stats().in_flight == 0
    assert all(slab.released == 1 for slab in scene.slabs)


_name = st.sampled_from(
    [b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"A", b"content-length"]
)
_value = st.sampled_from(
    [b"x", b"0", b"3", b"5", b"+3", b"3, 3", b"chunked", b"gzip", b"close", b"keep-alive", b"",
     b"a\x00b", b"a\rb", b" y ", b"\xff", b"-1", b"99999999999999999999", b"cHunKed"]
)  # fmt: skip
_colon = st.sampled_from([b": ", b":", b":\t", b" : ", b""])
_line_end = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n ", b"\r\n\r\n"])
_field = st.tuples(_name, _colon, _value, _line_end).map(b"".join)
_start = st.sampled_from(
    [b"GET / HTTP/1.1\r\n"] * 4
    + [b"POST /a HTTP/1.1\r\n"] * 4
    + [b"GET / HTTP/1.0\r\n", b"GET /\r\n", b"GET / HTTP/1.1\n", b"G@T / HTTP/1.1\r\n",
       b"GET  / HTTP/1.1\r\n", b"GET / HTTP/3.1\r\n", b"\r\nGET / HTTP/1.1\r\n"]
)  # fmt: skip
_host = st.sampled_from([b"Host: x\r\n"] * 6 + [b"", b"Host: x\r\nHost: y\r\n"])
_body = st.sampled_from(
    [b"", b"abc", b"abcde", b"3\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"0\r\n\r\n",
     b"ffffffffffffffffff\r\n", b"3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n", b"-3\r\nabc\r\n", b"\x16\x03"]
)  # fmt: skip
_request = st.tuples(
    _start, _host, st.lists(_field, max_size=3).map(b"".join), st.just(b"\r\n"), _body
).map(b"".join)
_stream = st.lists(_request, min_size=1, max_size=3).map(b"".join)
_cuts = st.lists(st.integers(0, 400), max_size=6).map(sorted)


@settings(max_examples=400, deadline=None)
@given(_stream)
@example(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n")
def test_what_h11_refuses_is_refused_and_what_passes_h11_read_alike(data: bytes) -> None:
    mine, its = door(data, []), judge(data)
    passed = [body for body in mine if body != REFUSED]
    assert passed == its[: len(passed)], "read differently"
    if REFUSED in its:
        assert REFUSED in mine or len(passed) < len(its) - 1


@settings(max_examples=400, deadline=None)
@given(_stream, _cuts)
def test_any_split_of_the_bytes_has_the_same_outcome(data: bytes, cuts: list[int]) -> None:
    assert door(data, cuts) == door(data, [])


_big = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b"z" * 70000
_good = [
    b"GET /abc?d=e HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x01a",
    b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
    _big,
]
_mutation = st.tuples(st.integers(0, 300), st.integers(0, 3), st.binary(max_size=4))


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(_good), min_size=1, max_size=4).map(b"".join),
    st.lists(_mutation, max_size=4),
    _cuts,
    st.booleans(),
)
def test_damaged_input_raises_nothing_and_hangs_nothing(
    data: bytes, mutations: list[tuple[int, int, bytes]], cuts: list[int], arena: bool
) -> None:
    """The checks are in `door`: nothing escapes, nothing is left over."""
    for at, length, replacement in mutations:
        data = data[:at] + replacement + data[at + length :]
    door(data, cuts, arena=arena)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), _cuts)
def test_noise_is_never_a_request(data: bytes, cuts: list[int]) -> None:
    assert [body for body in door(data, cuts) if body != REFUSED] == []
