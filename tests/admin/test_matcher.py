"""What `matcher=` of the admin API is taken to mean. That it is read in linear time is in tests/test_patterns.py."""

from __future__ import annotations

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
        (" a\t=  x y ", "a", "x y"),
        ('a="x', "a", '"x'),
        ("ünï.code=a=b", "ünï.code", "a=b"),
        ("empty=", "empty", ""),
    ],
)
def test_a_matcher_is_a_name_and_a_value(text: str, name: str, value: str) -> None:
    assert matcher(text) == (name, value)


@pytest.mark.parametrize(
    "text", ["", "x", "=", '="a"', 'a!="b"', 'a~="b"', 'a"b=c', '"a"="x"', " = ", "a" * 5000 + "=x"]
)
def test_what_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="a matcher"):
        matcher(text)
