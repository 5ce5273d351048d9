"""YAML with places: what is data, what is refused, and where it says so."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.errors import ConfigError
from salver.spec.document import dotted, read_document


def read(text: str | bytes) -> Any:
    document = read_document("f.yaml", text.encode() if isinstance(text, str) else text)
    document.raise_problems()
    return document.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1e5", {"a": 100000.0}),
        ("a: 2024-01-01\nb: 12:30:00", {"a": "2024-01-01", "b": "12:30:00"}),
        ("a: 08\nb: 010\nc: 0x1F\nd: 1_000\ne: -3\nf: .5\ng: 1.5e-3", None),
        ("a: yes\nb: null\nc:\nd: ~", {"a": True, "b": None, "c": None, "d": None}),
        ("base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}", None),
        ("\ufeffa: ä", {"a": "ä"}),
        ('{\n\t"a":\t[1, "\\u00e9"]\n}', {"a": [1, "é"]}),
    ],
)
def test_what_is_data(text: str, value: Any) -> None:
    if value is None:
        value = {
            "a: 08": {
                "a": "08", "b": 8, "c": 31, "d": 1000, "e": -3, "f": 0.5, "g": 0.0015
            },
            "base:": {"base": {"x": 1, "y": 2}, "own": {"x": 1, "y": 3}},
        }[text[:5]]  # fmt: skip
    assert read(text) == value


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a:\n\tb: 1", "f.yaml:2:1: this is not valid YAML: a tab: YAML is indented by spaces."),
        (b"a: b\nc: \xff", "f.yaml:2:4: byte 0xff is not UTF-8. Save the file as UTF-8."),
        ("a: 1\nb: 2\na: 3", "f.yaml:3:1: a: given twice: it is in line 1 already."),
        ("a:\n  1: x", "f.yaml:2:3: a: '1' is not text, and a key must be: put it in quotes."),
        ("a: &x [*x]", "f.yaml:1:4: a[0]: an alias of something that contains it"),
        ("a: &x {<<: *x}", "an alias of something that contains it"),
        (BOMB, "more than 100000 values, aliases counted as what they expand to."),
        ("[" * 5000, "nested too deeply to be a configuration."),
        ("a: !!python/object/apply:os.system [x]", "f.yaml:1:4: a: the tag 'tag:yaml.org,2002:py"),
        ("a: !!int x", "f.yaml:1:4: a: 'x' is no int."),
        ("a: *b", "f.yaml:1:4: this is not valid YAML: found undefined alias 'b'."),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("<<: 3", "`<<` takes a mapping, or a list of them."),
        ("", "the file is empty: expected `applications:`."),
        ("# nothing", "the file is empty"),
        (b"a: 'x'\n" * 700_000, "expected a configuration of at most 4194304."),
    ],
)  # fmt: skip
def test_what_is_refused_says_where(text: str | bytes, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert problem in str(caught.value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abc 'ä\n#:-"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abk:"), inner, max_size=4),
)


@given(JSON)
def test_json_is_read_as_json(value: Any) -> None:
    assert read(json.dumps([value])) == [value]


@given(st.binary(max_size=60))
def test_any_bytes_are_data_or_an_error_of_ours(content: bytes) -> None:
    with suppress(ConfigError):
        read(content)


def test_a_path_reads_as_it_is_written() -> None:
    path = ("applications", 0, "args", "a.b", "c")
    assert dotted(path) == "applications[0].args['a.b'].c"
