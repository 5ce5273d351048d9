"""Names: those that are refused would break an id, a line of the log, or a greeting."""

from __future__ import annotations

import pytest

from salver.errors import SalverError
from salver.spec.ids import check_name, name_fault


@pytest.mark.parametrize("name", ["a", "Übersetzer", "部署", "sp ace", "a/b", "%s", "x" * 255])
def test_names_that_people_give_are_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "a#b", "x" * 256, "two\nlines", "nul\0", "\x1b[2J", "\ud800"])
def test_what_an_id_or_a_line_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(SalverError, match="is not valid: expected 1 to 255 printable characters"):
        check_name(name)


def test_who_asks_says_which_characters_part_the_name_from_others() -> None:
    assert name_fault("a/b", "#") == ""
    assert name_fault("a/b", "#/").endswith(", none of them # or /.")
