"""Half a character in a JSON text is told with its place."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from salver.oip.binding import Binder
from salver.oip.errors import InvalidMessageError
from salver.oip.generate import read_generate
from salver.oip.nojson import why_no_json
from salver.oip.rest import RestFormat
from salver.oip.signature import Signature
from salver.oip.v1 import read_v1

HALF = "\ud800"
KEYS = st.text("abc[]{},: ", min_size=1, max_size=4)
TEXTS = st.text(max_size=4) | st.sampled_from(['"', "\\", '\\"', "[{,:", "\U0001f600"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
)


@st.composite
def broken(draw: st.DrawFn) -> tuple[Any, str]:
    """A document with half a character in it, and where."""
    document: Any = draw(st.sampled_from([HALF, f"\\{HALF}", f"\U0001f600{HALF}"]))
    path = ""
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            before, after = draw(st.lists(VALUES, max_size=2)), draw(st.lists(VALUES, max_size=2))
            path = f"[{len(before)}]{path}"
            document = [*before, document, *after]
        else:
            key = draw(KEYS)
            others = draw(st.dictionaries(KEYS, VALUES, max_size=2))
            path = f".{key}{path}"
            document = {k: v for k, v in others.items() if k != key} | {key: document}
    return document, path


@given(broken())
def test_the_path_leads_to_it(found: tuple[Any, str]) -> None:
    document, path = found
    text = json.dumps(document).encode()
    with pytest.raises(msgspec.DecodeError) as raised:
        msgspec.json.decode(text)
    assert why_no_json(text, raised.value) == (
        "no valid JSON: \\ud800 is half a character, which text in UTF-8 cannot have",
        path,
    )


@given(VALUES)
def test_whole_characters_are_not_suspected(document: Any) -> None:
    assert why_no_json(json.dumps(document).encode(), ValueError("?")) == ("no valid JSON: ?", "")


def test_where_it_is_far_into_a_text_it_is_told_all_the_same() -> None:
    text = json.dumps([*range(500_000), HALF]).encode()
    sentence, path = why_no_json(text, ValueError("?"))
    assert (sentence[:31], path) == ("no valid JSON: \\ud800 is half a", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            b'{"a":["\xc3\xa9","x\xffy"]}',
            ("no valid JSON: byte 13 (0xff) is no text in UTF-8", ".a[1]"),
        ),
        (b" ", ("no valid JSON: there is nothing", "")),
    ],
)
def test_bytes_that_are_no_text_are_told(text: bytes, said: tuple[str, str]) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)) as raised:
        msgspec.json.decode(text)
    assert why_no_json(text, raised.value) == said


@pytest.mark.parametrize(
    "text",
    [
        b'["' + b'\\"' * 500_000 + b"\\ud800",
        b'["\\ud800' + b'\\"' * 500_000,
        b'["\\ud800' + b"[" * 500_000,
        b"[" + b"[]," * 300_000 + b'"\\ud800"',
    ],
    ids=lambda text: str(len(text)),
)
def test_what_was_made_to_be_looked_through_for_long_is_not(text: bytes) -> None:
    assert why_no_json(text, ValueError("?"))[1].startswith("[")


def test_no_path_is_longer_than_it_is_of_use() -> None:
    text = b"[" * 100_000 + b'"\\ud800"'
    assert why_no_json(text, ValueError("?"))[1] == ""


def test_of_a_key_the_object_is_told() -> None:
    text = b'[{"a":1,"\\ud800":2}]'
    assert why_no_json(text, ValueError("?"))[1] == "[0]"


def test_every_body_says_where() -> None:
    def function(x: str) -> None: ...

    binder, half = Binder(Signature.of(function)), '"\\ud800"'
    infer = f'{{"inputs":[{{"name":"x","datatype":"BYTES","shape":[1],"data":[{half}]}}]}}'
    rest, metadata = RestFormat(), binder.signature.metadata("m")
    for read, path in (
        (lambda: binder.bind_json(b'{"x":%s}' % half.encode()), r"\$\.x"),
        (lambda: read_v1(b'{"instances":["a",%s]}' % half.encode()), r"\$\.instances\[1\]"),
        (lambda: rest.read_request(infer.encode()), r"\$\.inputs\[0\]\.data\[0\]"),
        (
            lambda: rest.read_request(infer.replace(half, f'"a", {half}').encode()),
            r"\$\.inputs\[0\]\.data\[1\]",
        ),
        (lambda: read_generate(b'{"x":%s}' % half.encode(), metadata, rest), r"\$\.x"),
    ):
        with pytest.raises(InvalidMessageError, match=rf"^{path}: no valid JSON: \\ud800 is half"):
            read()
