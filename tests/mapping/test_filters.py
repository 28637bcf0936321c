"""The filters beyond Jinja2's own."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.coc.fields import LEVELS, units
from adapter.mapping.rules.filters import clip, default, host, level, localtime, regex_replace, regex_search, short_hash


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("critical", "Critical"), ("PAGE", "Critical"), ("emergency", "Critical"), ("emerg", "Critical"),
        ("fatal", "Critical"), ("disaster", "Critical"), ("blocker", "Critical"), ("crit", "Critical"),
        ("alert", "Critical"), ("P0", "Critical"), ("p1", "Critical"), ("sev0", "Critical"), ("sev1", "Critical"),
        ("1", "Critical"), ("error", "Major"), ("err", "Major"), ("major", "Major"), ("high", "Major"),
        ("P2", "Major"), ("sev2", "Major"), ("warning", "Minor"), ("warn", "Minor"), ("minor", "Minor"),
        ("medium", "Minor"), ("average", "Minor"), ("moderate", "Minor"), ("p3", "Minor"), ("sev3", "Minor"),
        ("info", "Info"), ("information", "Info"), ("informational", "Info"), ("none", "Info"), ("low", "Info"),
        ("debug", "Info"), ("notice", "Info"), ("ok", "Info"), ("p4", "Info"), ("p5", "Info"), ("sev4", "Info"),
        ("Suggestion", "Info"), (" Warning\n", "Minor"), ("", "Major"), ("whatever", "Major"), ("严重程度", "Major"),
        ("紧急", "Critical"), ("重要", "Major"), ("次要", "Minor"), ("提示", "Info"), ("灾难", "Critical"),
        ("严重", "Critical"), ("警告", "Minor"), ("信息", "Info"), ("SEV_1", "Critical"), ("sev-1", "Critical"),
        ("Sev 0", "Critical"), ("sev 3", "Minor"), ("P6", "Info"), ("p-2", "Major"), ("highest", "Critical"),
        ("Lowest", "Info"), ("ticket", "Minor"), ("trace", "Info"),
    ],
)  # fmt: skip
def test_a_severity_word_has_a_level(word: str, expected: str) -> None:
    assert level(word) == expected


@pytest.mark.parametrize("own", LEVELS)
def test_a_level_of_cocs_stays_itself(own: str) -> None:
    assert level(own) == own


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        ("10.0.0.7:9100", "10.0.0.7"), ("node-3.example:9100", "node-3.example"), ("node-3", "node-3"),
        ("[2001:db8::7]:9100", "2001:db8::7"), ("[2001:db8::7]", "2001:db8::7"), ("2001:db8::7", "2001:db8::7"),
        ("https://shop.example:8443/login?x=1", "shop.example"), ("http://user:secret@shop.example/", "shop.example"),
        ("数据库-主节点:9100", "数据库-主节点"), ("a:b", "a:b"), ("", ""),
    ],
)  # fmt: skip
def test_a_host_has_no_port(instance: str, expected: str) -> None:
    assert host(instance) == expected


def test_a_time_is_written_in_the_zone_asked_for() -> None:
    assert localtime("2026-11-23T16:30:00.123456789Z") == "2026-11-24 00:30:00"
    assert localtime("2026-11-23T16:30:00+01:00", "UTC", "%H:%M") == "15:30"
    assert localtime("2026-07-01T12:00:00", "Europe/Berlin") == "2026-07-01 14:00:00"
    assert localtime(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01 08:00:00"


def test_a_time_that_has_not_come_is_empty() -> None:
    assert localtime("0001-01-01T00:00:00Z") == ""
    assert localtime("") == ""


@pytest.mark.parametrize(("value", "zone"), [("yesterday", "UTC"), ("2026-01-01T00:00:00Z", "Mars/Olympus")])
def test_a_time_or_zone_that_cannot_be_read_fails(value: str, zone: str) -> None:
    with pytest.raises(ValueError, match=r"Invalid isoformat|no time zone"):
        localtime(value, zone)


def test_a_search_gives_the_match_or_its_group() -> None:
    assert regex_search("api-7d9c5b6f4c-x2x7k", "-[a-z0-9]+$") == "-x2x7k"
    assert regex_search("api-7d9c5b6f4c-x2x7k", "^(.*)-[^-]+-[^-]+$") == "api"
    assert regex_search("api", "z") == ""
    assert regex_search("ab", "(z)?a") == ""


def test_a_replacement_may_use_groups() -> None:
    assert regex_replace("node-3.example:9100", r"^([^.]+)\..*", r"\1") == "node-3"


def test_a_hash_is_short_and_stable() -> None:
    assert short_hash("a") == "ca978112ca1b"


def test_empty_text_takes_the_default() -> None:
    assert default("", "x") == "x"
    assert default("a", "x") == "a"
    assert default(0, "x") == 0
    assert default(0, "x", True) == "x"


@given(st.text() | st.integers() | st.none() | st.booleans() | st.floats(), st.integers(1, 99))
def test_filters_of_any_value_give_text(value: object, length: int) -> None:
    assert level(value) in LEVELS
    assert isinstance(host(value), str)
    assert len(short_hash(value)) == 12
    assert units(clip(value, length)) <= length
