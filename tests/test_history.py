"""What charts show: bounded, and the same in both lengths of steps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapter.clock import SECOND
from adapter.history import FINE, LONG, LONG_STEP_SECONDS, NAMES, STEP_SECONDS, History
from tests.builders import NOON


def sampled(steps: int, received: int = 1) -> tuple[History, int]:
    history, now = History(["default", "dba"]), NOON
    for _ in range(steps):
        history.count("default", "received", received)
        now += STEP_SECONDS * SECOND
        history.sample(now)
    return history, now


def test_a_step_has_what_was_counted_in_it_and_the_last_word_on_what_waits() -> None:
    history = History(["default", "dba"])
    history.count("default", "received", 3)
    history.count("gone", "received")
    history.waiting({"default": 7})
    for seconds in (*[0.1] * 95, *[9.0] * 5):
        history.answered("default", seconds)
    history.sample(NOON)
    history.sample(NOON + STEP_SECONDS * SECOND)
    found = history.series(STEP_SECONDS, NOON)
    assert found.since == NOON - STEP_SECONDS * SECOND
    assert found.series.keys() == {"default", "dba"}
    default = found.series["default"]
    assert (default["received"], default["waiting"], default["p95"]) == ([3, 0], [7, 7], [0.1, None])
    assert found.series["dba"]["received"] == [0, 0]


def test_it_keeps_an_hour_of_short_steps_and_a_day_of_long_ones() -> None:
    history, now = sampled(LONG * 30 + 30 + 7)
    for step, most in ((STEP_SECONDS, FINE), (LONG_STEP_SECONDS, LONG)):
        found = history.series(step, now)
        assert {len(values) for one in found.series.values() for values in one.values()} == {most}
        assert found.series["default"].keys() == set(NAMES)
    assert now - history.series(STEP_SECONDS, now).since == 3600 * SECOND
    assert history.series(LONG_STEP_SECONDS, now).since == now - (7 * STEP_SECONDS + 86_400) * SECOND


def test_before_the_first_step_there_is_nothing() -> None:
    found = History(["default"]).series(STEP_SECONDS, NOON)
    assert (found.since, found.series["default"]["received"]) == (NOON, [])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=30, max_size=90))
def test_a_long_step_sums_what_was_counted_and_keeps_the_highest_of_what_waits(steps: list[tuple[int, int]]) -> None:
    history = History(["default"])
    for received, waiting in steps:
        history.count("default", "received", received)
        history.waiting({"default": waiting})
        history.sample(NOON)
    found = history.series(LONG_STEP_SECONDS, NOON).series["default"]
    parts = [steps[first : first + 30] for first in range(0, len(steps) - 29, 30)]
    assert found["received"] == [sum(received for received, _ in part) for part in parts]
    assert found["waiting"] == [max(waiting for _, waiting in part) for part in parts]
