from __future__ import annotations

import pytest

from salver.doors.head import HeadError, Names, looks_wrong, parse_head

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


def head_with(*lines: bytes, start: bytes = GET) -> bytes:
    return start + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def test_what_routing_needs_is_read() -> None:
    head = parse_head(
        b"POST /a%20b/c?d=e HTTP/1.1\r\nhost: x:80\r\nContent-Length: 12\r\n"
        b"EXPECT: 100-Continue\r\n\r\n"
    )
    assert (head.method, head.path, head.length) == (b"POST", "/a b/c", 12)
    assert head.expects
    assert head.small
    assert not head.plain
    assert not head.close


def test_the_headers_of_ours_keep_their_case() -> None:
    head = parse_head(
        head_with(
            b"X-Request-ID: AbC",
            b"x-request-timeout-seconds: 2.5",
            b"X-Request-Disconnect-Disabled: ?1",
            b"serve_multiplexed-model_id: M1",
            b"X_Session_ID: S1",
        )
    )
    assert (head.request_id, head.timeout_s, head.detached) == ("AbC", 2.5, True)
    assert (head.model_id, head.session_id) == ("M1", "S1")
    assert not head.cacheable


@pytest.mark.parametrize("line", [b"X-Chat_ID: S1", b"x_chat-id:S1", b"X-CHAT-ID:   S1  "])
def test_the_session_s_header_may_have_another_name(line: bytes) -> None:
    names = Names("X-Chat-ID")
    assert parse_head(head_with(line), names=names).session_id == "S1"
    assert parse_head(head_with(b"x-session-id: S1"), names=names).session_id == ""
    assert parse_head(head_with(line)).session_id == ""


def test_a_session_s_header_is_a_name_and_no_pattern() -> None:
    assert parse_head(head_with(b"x-chat: S1"), names=Names("x.chat")).session_id == ""
    assert parse_head(head_with(b"x.chat: S1"), names=Names("x.chat")).session_id == "S1"


@pytest.mark.parametrize(
    ("raw", "closes"),
    [
        (head_with(), False),
        (head_with(b"Connection: close"), True),
        (head_with(b"Connection: foo", b"connection: x, Close"), True),
        (head_with(b"Connection: keep-alive"), False),
        (b"GET / HTTP/1.0\r\n\r\n", True),
    ],
)
def test_who_wants_the_connection_closed(raw: bytes, closes: bool) -> None:
    assert parse_head(raw).close is closes


def test_a_websocket_upgrade_is_seen_and_others_are_not() -> None:
    upgrade = (b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket")
    assert parse_head(head_with(*upgrade)).upgrade
    assert not parse_head(head_with(b"Connection: Upgrade", b"Upgrade: h2c")).upgrade
    assert not parse_head(head_with(upgrade[1])).upgrade
    assert not parse_head(head_with(*upgrade, b"Content-Length: 4")).upgrade


def test_an_absolute_target_becomes_a_path_and_its_host_counts() -> None:
    head = parse_head(b"GET http://other:81/a/b?c HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n")
    assert head.path == "/a/b"
    assert head.raw == b"GET /a/b?c HTTP/1.1\r\nHost: other:81\r\nA: b\r\n\r\n"
    assert parse_head(b"GET http://o?q HTTP/1.1\r\nHost: x\r\n\r\n").raw.startswith(b"GET /?q ")


def test_options_may_be_for_the_server_itself() -> None:
    assert parse_head(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").path == "*"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /\r\nHost: x\r\n\r\n", 400),
        (b"G T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
        (b" GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / http/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://a@b,c/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (head_with(b"Host: x"), 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (head_with(b"Content-Length: 1", b"Content-Length: 1"), 400),
        (head_with(b"Content-Length: 1, 1"), 400),
        (head_with(b"Content-Length: +1"), 400),
        (head_with(b"Content-Length: -1"), 400),
        (head_with(b"Content-Length: 0x1"), 400),
        (head_with(b"Content-Length: "), 400),
        (head_with(b"Content-Length: 1_0"), 400),
        (head_with(b"Content-Length: " + b"9" * 19), 400),
        (head_with(b"Content-Length: 1", b"Transfer-Encoding: chunked"), 400),
        (head_with(b"Transfer-Encoding: gzip, chunked"), 400),
        (head_with(b"Transfer-Encoding: identity"), 400),
        (head_with(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
        (head_with(b"Transfer-Encoding: xchunked"), 400),
        (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (head_with(b"A : b"), 400),
        (head_with(b" A: b"), 400),
        (head_with(b"A: b", b" folded"), 400),
        (head_with(b"A: b", b"\tfolded"), 400),
        (head_with(b": b"), 400),
        (head_with(b"nothing"), 400),
        (head_with(b"A: b\x00c"), 400),
        (head_with(b"A: b\rc"), 400),
        (head_with(b"A: b\nC: d"), 400),
        (head_with(b"A: b\x1bc"), 400),
        (head_with(b"A: b\x7fc"), 400),
        (head_with(b"A\xe9: b"), 400),
        (head_with(b"Expect: a pony"), 417),
        (head_with(b"x-request-timeout-seconds: soon"), 400),
        (head_with(b"x-request-timeout-seconds: nan"), 400),
        (head_with(*[b"A: b"] * 200), 431),
    ],
)
def test_what_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(HeadError) as caught:
        parse_head(raw)
    assert caught.value.status == status


def test_a_refusal_names_the_header() -> None:
    with pytest.raises(HeadError, match=r"^Invalid header line: 'Bad '\.$"):
        parse_head(head_with(b"Bad : x"))


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (b"GET / HTT", False),
        (b"GET /\r", False),
        (b"GET /\n", True),
        (b"GET\rX", True),
        (b"\x16\x03", True),
    ],
)
def test_some_heads_are_known_to_be_wrong_before_they_end(data: bytes, wrong: bool) -> None:
    assert looks_wrong(data, 0) is wrong
