"""Why a text is no JSON: what is no character is told with its place in the document."""

from __future__ import annotations

import re
from typing import Final

__all__ = ("why_no_json",)

# Whole characters and escaped backslashes are passed over; what is left of the second kind is half.
_HALF: Final = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|"
    rb"(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_TOKEN: Final = re.compile(
    rb'"((?:[^"\\]|\\.)*+)(?:"(\s*:)?|\\?\Z)|[\[\]{},]',
    re.DOTALL,  # an open string ends with the text: nothing is looked through twice
)
_FURTHEST: Final = 1 << 20  # bytes that are looked through for a path
_DEEPEST: Final = 64  # lists and objects that a path is worth telling through


def why_no_json(text: bytes | memoryview, error: Exception) -> tuple[str, str]:
    """What is wrong with a text that no reader takes, and where; the path is empty if that is not
    known."""
    content = bytes(text)
    if not content.strip():
        return "no valid JSON: there is nothing", ""
    if isinstance(error, UnicodeDecodeError):
        return _no_utf8(content, error)
    half = next((found for found in _HALF.finditer(content) if found[1]), None)
    if half is None:
        return f"no valid JSON: {error}", ""
    escape = half[1].decode()
    sentence = f"no valid JSON: {escape} is half a character, which text in UTF-8 cannot have"
    return sentence, _path_to(content, half.start())


def _no_utf8(content: bytes, error: UnicodeDecodeError) -> tuple[str, str]:
    try:
        content.decode()
    except UnicodeDecodeError as whole:
        error = whole
    at = error.start
    sentence = f"no valid JSON: byte {at} (0x{error.object[at]:02x}) is no text in UTF-8"
    return sentence, _path_to(content, at)


def _path_to(content: bytes, at: int) -> str:
    """The path of the string that this byte is in; of an object's key, that of the object."""
    if at > _FURTHEST:
        return ""
    steps: list[int | str] = []
    for token in _TOKEN.finditer(content, 0, at):
        if token[2]:  # a key
            steps[-1:] = [token[1].decode(errors="replace")]
        elif token[0] in (b"[", b"{"):
            if len(steps) == _DEEPEST:
                return ""
            steps.append(0 if token[0] == b"[" else "")
        elif token[0] in (b"]", b"}"):
            steps[-1:] = []
        elif token[0] == b"," and steps:
            steps[-1] = steps[-1] + 1 if isinstance(steps[-1], int) else ""
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s:.60}" for s in steps if s != "")
