"""Answers of Alertmanager's API are read piece by piece; what is not one is refused, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.alertmanager import fingerprint_of
from adapter.clock import SECOND
from adapter.reconcile.cluster import quoted, spelled, unquoted
from adapter.reconcile.member import filters
from adapter.reconcile.snapshot import (
    Elements,
    Invalid,
    Listed,
    Result,
    State,
    Status,
    alert_of,
    health,
    listed,
    members_of,
    status_of,
    union,
)
from tests.builders import NOON, START

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
json_objects = st.dictionaries(st.text(max_size=5), json_values, max_size=4)


def an_element(name: str = "a1", state: str = "active", receivers: tuple[str, ...] = ("coc",), **more: Any) -> Any:
    labels = {"alertname": name}
    element = {
        "annotations": {"summary": "x"},
        "endsAt": "2030-01-01T00:00:00.000Z",
        "fingerprint": fingerprint_of(labels),
        "receivers": [{"name": receiver} for receiver in receivers],
        "startsAt": START,
        "status": {"state": state, "silencedBy": [], "inhibitedBy": []},
        "updatedAt": START,
        "labels": labels,
    }
    return element | more


@given(st.lists(json_objects, max_size=8), st.integers(1, 40), st.sampled_from([None, 1, 2]))
def test_the_elements_are_those_of_the_array_however_it_is_cut(
    values: list[Any], size: int, indent: int | None
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    elements, found = Elements(), []
    for start in range(0, len(text), size):
        found += elements.feed(text[start : start + size])
    found += elements.feed("", last=True)
    assert found == values


@given(st.lists(json_objects, max_size=5), st.data())
def test_half_an_array_is_refused(values: list[Any], data: st.DataObject) -> None:
    text = json.dumps(values)
    half = text[: data.draw(st.integers(0, len(text) - 1))]
    with pytest.raises(Invalid):
        list(Elements().feed(half, last=True))


@pytest.mark.parametrize(
    "text", ["", "{}", "<html>", "[1][2]", "[1] x", '"["', "null", "[" * 100_000, "[{]", "[1]", "[[]]"]
)
def test_what_is_no_array_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        list(Elements().feed(text, last=True))


@given(json_values)
def test_any_element_is_an_alert_or_refused(value: Any) -> None:
    for read in (
        lambda: listed(value, {}),
        lambda: alert_of(value),
        lambda: status_of(value),
        lambda: list(members_of(value, frozenset())),
    ):
        try:
            read()
        except Invalid:
            continue


def test_an_alert_of_the_api_is_one_of_a_webhook() -> None:
    alert = alert_of(an_element(generatorURL="http://p"))
    assert (alert.status, alert.endsAt, alert.ends, alert.starts) == ("firing", "0001-01-01T00:00:00Z", 0, NOON)
    assert (alert.annotations, alert.generatorURL) == ({"summary": "x"}, "http://p")


def test_the_state_that_thinks_most_of_an_alert_wins_and_receivers_add_up() -> None:
    active, silenced = Listed(State.ACTIVE, ("a",), START), Listed(State.SUPPRESSED, ("b",), START, ("s",))
    assert union([{"x": silenced}, {"x": active}])["x"] == active._replace(receivers=("b", "a"))
    assert union([{"x": active}, {}, {"y": silenced}]) == {"x": active, "y": silenced}
    assert listed(an_element(state="unprocessed"), {})[1].state is State.SUPPRESSED


@pytest.mark.parametrize(
    ("changes", "theirs", "members", "result"),
    [
        ({}, NOON, 2, Result.VALID),
        ({"cluster": "disabled", "peers": 0}, NOON, 1, Result.VALID),
        ({"cluster": "settling"}, NOON, 2, Result.SETTLING),
        ({"since": NOON - 58 * SECOND}, NOON, 2, Result.SETTLING),
        ({"since": 0}, NOON, 2, Result.SETTLING),
        ({}, NOON, 1, Result.INCOMPLETE),
        ({"peers": 3}, NOON, 2, Result.INCOMPLETE),
        ({}, NOON - 31 * SECOND, 2, Result.SKEWED),
        ({}, NOON + 31 * SECOND, 2, Result.SKEWED),
        ({}, 0, 2, Result.SKEWED),
    ],
)
def test_a_member_is_believed_only_in_health(
    changes: dict[str, Any], theirs: int, members: int, result: Result
) -> None:
    status = Status(NOON - 3600 * SECOND, "0.34.0", "ready", 2, "x")._replace(**changes)
    found, why = health(status, theirs=theirs, ours=NOON, members=members, settle=60 * SECOND)
    assert found is result
    assert bool(why) is (result is not Result.VALID)


@pytest.mark.parametrize(
    ("version", "shows"), [("0.25.0", False), ("0.28.0", True), ("v1.0.0-rc.1", True), ("", False), ("main", False)]
)
def test_mutes_are_seen_since_0_28(version: str, shows: bool) -> None:
    assert Status(0, version, "ready", 1, "").shows_mutes() is shows


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://AM.example:80/", "http://am.example"),
        ("https://am.example:443/prefix/", "https://am.example/prefix"),
        ("HTTP://am:9093", "http://am:9093/"),
        ("http://[::1]:9093/", "http://[::1]:9093"),
    ],
)
def test_origins_are_compared_in_one_spelling(one: str, other: str) -> None:
    assert spelled(one) == spelled(other)
    assert spelled(one) != spelled("http://am:9094")


@given(st.text())
def test_any_text_has_a_spelling_and_any_receiver_survives_quoting(text: str) -> None:
    assert isinstance(spelled(text), str)
    assert unquoted(quoted(text)) == text


def test_filters_are_quoted_and_leave_out_what_old_servers_refuse() -> None:
    labels = {"a": 'x"\\\n', "with.dot": "y", "中": "z", "long": "l" * 5000, "b": ""}
    assert filters(labels) == [("filter", 'a="x\\"\\\\\\n"'), ("filter", 'b=""')]
