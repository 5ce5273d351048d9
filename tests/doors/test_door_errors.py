from __future__ import annotations

from salver.doors.errors import render, say_close


def test_a_rendered_reply_is_complete() -> None:
    head, _, body = render(404, "né", "id1", close=True).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 404 Not Found"
    assert {b"content-length: 3", b"X-Request-ID: id1", b"connection: close"} <= set(lines)
    assert body == "né".encode()
    assert render(404, "no", "i", bodiless=True).endswith(b"\r\n\r\n")


def test_a_reply_is_made_to_say_close_once() -> None:
    said = say_close(b"HTTP/1.1 200 OK\r\na: b\r\n\r\nbody\r\n\r\n")
    assert said == b"HTTP/1.1 200 OK\r\na: b\r\nconnection: close\r\n\r\nbody\r\n\r\n"
    assert say_close(said) == said
