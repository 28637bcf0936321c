"""COC's field contract, and the functions that fit a body to it."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from adapter.coc.fields import ELLIPSIS, FIELDS, clip, closing, same_alarm, tidy, units
from adapter.sandbox.contract import violations

TEXT = st.text(max_size=600)

ACCEPTED = {
    "alarmId": "a1",
    "alarmName": "PodDown",
    "alarmLevel": "Minor",
    "time": 1,
    "nameSpace": "shop",
    "applicationId": "app",
    "resourceName": "pod-1",
    "alarmDesc": "it is down",
    "URL": "https://old.example",
    "alarmStatus": "alarm",
    "alarmSource": "prometheus",
    "additional": {"rule": "pod"},
}


def java_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@given(TEXT)
def test_units_are_counted_as_in_java(text: str) -> None:
    assert units(text) == java_length(text)


@given(TEXT, st.integers(1, 300))
def test_clipped_text_fits_and_is_reported(text: str, limit: int) -> None:
    clipped = clip(text, limit)
    assert java_length(clipped) <= limit
    if java_length(text) <= limit:
        assert clipped == text
    else:
        assert clipped.endswith(ELLIPSIS)
        assert text.startswith(clipped[:-1])


def test_no_character_is_cut_in_half() -> None:
    assert clip("ab😀", 4) == "ab😀"
    assert clip("ab😀😀", 5) == "ab😀…"
    assert clip("abc😀😀", 5) == "abc…"  # half of the emoji would still fit


def test_a_text_too_short_for_the_mark_is_cut_without_it() -> None:
    assert clip("abcdef", 3, "") == "abc"


@given(TEXT, st.booleans())
def test_tidy_text_has_no_control_characters_and_no_margin(text: str, lines: bool) -> None:
    tidied = tidy(text, lines=lines)
    assert tidied == tidied.strip()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", tidied)
    assert lines or "\n" not in tidied


def test_a_field_of_one_line_has_spaces_for_breaks() -> None:
    assert tidy(" a\r\n\tb\x00\x1b[0m ", lines=False) == "a b[0m"
    assert tidy(" a\r\n\tb\x00 ", lines=True) == "a\n\tb"


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    assert tidy("a\ud800b", lines=True) == "a\ufffdb"


def test_the_table_agrees_with_the_sandbox() -> None:
    """For each required field left out and each field one unit too long."""
    assert violations(ACCEPTED) == []
    for field in FIELDS:
        without = {name: value for name, value in ACCEPTED.items() if name != field.name}
        # A missing alarmStatus is not documented: the adapter always sends it, the sandbox accepts its absence.
        assert bool(violations(without)) == (field.required and field.name != "alarmStatus"), field.name
        if field.name not in ("time", "alarmStatus", "alarmLevel"):
            assert violations({**ACCEPTED, field.name: "x" * field.limit}) == []
            assert violations({**ACCEPTED, field.name: "x" * (field.limit + 1)})


def test_an_ok_keeps_what_identifies_the_alarm() -> None:
    rendered = {
        **{name: f"new {name}" for name in ACCEPTED},
        "alarmDesc": "it is back",
        "time": 2,
        "alarmStatus": "ok",
        "additional": {"rule": "other"},
    }
    body = closing(ACCEPTED, rendered)
    changed = {name for name in body if body[name] != ACCEPTED.get(name)}
    assert changed == {"alarmDesc", "time", "alarmStatus", "additional"}
    assert body["additional"] == {"rule": "other"}
    assert ACCEPTED["alarmStatus"] == "alarm", "what was accepted stays untouched"


def test_a_field_that_was_never_sent_is_not_added_by_an_ok() -> None:
    accepted = {name: value for name, value in ACCEPTED.items() if name not in ("applicationId", "URL")}
    assert set(closing(accepted, ACCEPTED)) == set(accepted)


def test_an_alarm_is_unchanged_if_no_significant_field_differs() -> None:
    assert same_alarm(ACCEPTED, {**ACCEPTED, "alarmDesc": "other", "time": 9, "URL": "", "additional": {}})
    for name in ("alarmLevel", "alarmName", "nameSpace", "applicationId", "resourceName"):
        assert not same_alarm(ACCEPTED, {**ACCEPTED, name: "other"}), name
    absent = {name: value for name, value in ACCEPTED.items() if name != "resourceName"}
    assert same_alarm({**ACCEPTED, "resourceName": ""}, absent)
