"""What `matcher=` of the admin API is taken to mean, and that reading it takes time in proportion to its length."""

from __future__ import annotations

import time

import pytest

from adapter.admin.api import matcher
from adapter.admin.openapi import Problem


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ('severity="critical"', "severity", "critical"),
        (" severity = critical ", "severity", "critical"),
        ('path="C:\\\\x \\"y\\" = z"', "path", 'C:\\x "y" = z'),
        ("url=http://a/?b=c", "url", "http://a/?b=c"),
        ("empty=", "empty", ""),
    ],
)
def test_a_matcher_is_a_name_and_a_value(text: str, name: str, value: str) -> None:
    assert matcher(text) == (name, value)


@pytest.mark.parametrize("text", ["x", '="a"', 'a!="b"', 'a"b=c', " = "])
def test_what_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(Problem, match='a matcher is written label="value"'):
        matcher(text)


@pytest.mark.parametrize("piece", [" ", "a ", '"', "\\", "=", ' "\\'])
def test_reading_a_matcher_takes_time_in_proportion_to_its_length(piece: str) -> None:
    def seconds(length: int) -> float:
        text = "a=" + piece * (length // len(piece)) + "!"
        started = time.process_time()
        for _ in range(20):
            matcher(text)
        return time.process_time() - started

    short = max(min(seconds(2_000) for _ in range(3)), 1e-4)
    assert min(seconds(32_000) for _ in range(3)) < 160 * short, "sixteen times the text"
