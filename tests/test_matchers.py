"""Alertmanager's matchers: what can be read means what it means there, and anything else is an error."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.matchers import LONGEST, MOST_PATTERNS, MatcherError, parse_matchers

UP = {
    "url": "http://a/?b=c",
    "alertname": "Up",
    "pod": "api-1",
    "k8s.pod.name": "api-1",
    "ünï": "x y",
    "quote": 'a "b" \\ c\nd',
}


def holds(*texts: str) -> bool:
    return all(matcher.matches(UP) for matcher in parse_matchers(texts))


@pytest.mark.parametrize(
    "text",
    [
        'alertname="Up"',
        "alertname=Up",
        "  alertname\t=  Up  ",
        '{alertname="Up"}',
        '{ alertname = "Up" , pod = "api-1" , }',
        "alertname=Up,",
        "{}",
        'alertname!="Down"',
        'absent!="x"',
        'absent=""',
        "absent=",
        "{absent=,pod=api-1}",
        'absent=~".*"',
        'absent!~".+"',
        'alertname=~"U."',
        "alertname=~U|Up",
        'alertname=~"(?i)up"',
        'alertname!~"U"',
        'alertname!~"p"',
        'pod=~"api-\\d+"',
        "pod=~api-\\d+",
        'pod=~"[a-z]{3}-1"',
        '"k8s.pod.name"="api-1"',
        "k8s.pod.name=api-1",
        '{"ünï"="x y"}',
        "ünï=x y",
        "url=http://a/?b=c",
        'quote="a \\"b\\" \\\\ c\\nd"',
        'quote=~"a \\"b\\" \\\\\\\\ c\\nd"',
    ],
)
def test_a_matcher_that_holds(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        'alertname="up"',
        'alertname!="Up"',
        'alertname="Up", pod="db"',
        'absent!=""',
        'absent="x"',
        'absent=~".+"',
        'alertname=~"U"',
        'alertname=~"p"',
        'alertname=~"U|p"',
        'alertname!~"U.*"',
        '"k8s.pod.name"!="api-1"',
    ],
)
def test_a_matcher_that_does_not_hold(text: str) -> None:
    assert not holds(text)


def test_all_texts_must_hold() -> None:
    assert holds("alertname=Up", "pod=~api.*")
    assert not holds("alertname=Up", "pod=db")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "there is no matcher"),
        (" ", "there is no matcher"),
        ("Up", "=, !=, =~ or !~ behind 'Up', not the end"),
        ("{Up}", "=, !=, =~ or !~ behind 'Up', not '}'"),
        ('"Up"', "=, !=, =~ or !~ behind 'Up'"),
        ("two words", "=, !=, =~ or !~ behind 'two'"),
        ("a!b", "=, !=, =~ or !~ behind 'a'"),
        ("a~b", "=, !=, =~ or !~ behind 'a'"),
        ("a:b", "=, !=, =~ or !~ behind 'a:b'"),
        ("=b", "the name of a label, not '=b'"),
        ('""="b"', "the name of a label"),
        (",", "the name of a label"),
        ("a==b", "a value, not '=b'"),
        ("a=~~b", "a value"),
        ("a='b'", "a value, not \"'b'\""),
        ("a=`b`", "a value"),
        ('a="b', "a value"),
        ("a={b}", "a value"),
        ("a=b c=d", "a comma behind 'b'"),
        ('a="b" c="d"', "a comma, not 'c=\"d\"'"),
        ("a=b,,c=d", "a comma, not ',c=d'"),
        ("{a=b", "a comma or the closing brace, not the end"),
        ("a=b}", "a comma, not '}'"),
        ("{a=b}{c=d}", "a comma, not '{c=d}'"),
        ("{,}", "the closing brace"),
        ('a=~"("', "the pattern '(' cannot be used: unclosed group"),
        ('a=~"(?=b)"', "the pattern '(?=b)' cannot be used: look-around"),
        ('a=~"(b)\\\\1"', "cannot be used: backreferences are not supported"),
        ('a=~"(a{1000}){1000}"', "cannot be used: Compiled regex exceeds size limit"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_where(text: str, wanted: str) -> None:
    with pytest.raises(MatcherError) as caught:
        parse_matchers([text])
    assert wanted in str(caught.value)


def test_their_number_and_length_are_bounded() -> None:
    assert len(parse_matchers(["a=~b"] * MOST_PATTERNS)) == MOST_PATTERNS
    for many in (["a=~b"] * (MOST_PATTERNS + 1), ["a=" + "b" * LONGEST]):
        with pytest.raises(MatcherError, match="at most"):
            parse_matchers(many)


@pytest.mark.parametrize("pattern", ["(a+)+b", "(x+x+)+y", "(.*a){40}", "(a?){1000}a{1000}", "a*a*a*a*a*a*b"])
def test_patterns_take_linear_time(pattern: str) -> None:
    (matcher,) = parse_matchers([f'a=~"{pattern}"'])
    started = time.thread_time()
    assert not matcher.matches({"a": "a" * 100_000 + "z"})
    assert time.thread_time() - started < 1.0


@given(st.text(alphabet=st.sampled_from("a\" {}=!~,\\'n.ü\n("), max_size=20))
def test_any_text_is_matchers_or_a_matcher_error(text: str) -> None:
    try:
        matchers = parse_matchers([text])
    except MatcherError:
        pass
    else:
        assert {matcher.matches(UP) for matcher in matchers} <= {True, False}


@given(st.text(min_size=1), st.text())
def test_a_quoted_name_and_value_are_taken_as_they_are(name: str, value: str) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    (matcher,) = parse_matchers([f"{{{quoted(name)}={quoted(value)},}}"])
    assert matcher.name == name
    assert matcher.matches({name: value})
    assert not matcher.matches({name: value + "x"})
