"""When to try again: tables of numbers, and what must hold for any of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.delivery.backoff import OPEN_AFTER, PROBE_STEPS, STEPS, WINDOW, Breaker, Bucket, Refusals, back_off


@pytest.mark.parametrize(
    ("attempts", "most"), [(0, 1), (1, 1), (2, 2), (3, 5), (4, 10), (5, 30), (6, 60), (7, 60), (10_000, 60)]
)
def test_the_wait_grows_in_steps_to_a_minute(attempts: int, most: float) -> None:
    assert back_off(attempts, 0.0) == 0.0
    assert back_off(attempts, 0.5) == most / 2


@given(st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_the_wait_is_never_negative_nor_over_the_last_step(attempts: int, jitter: float) -> None:
    assert 0.0 <= back_off(attempts, jitter) <= STEPS[-1]


def broken(alarms: int = 2, failures: int = OPEN_AFTER) -> Breaker:
    breaker = Breaker()
    for number in range(failures):
        breaker = breaker.failed(f"a{number % alarms}", now=100.0, jitter=0.0)
    return breaker


def test_a_breaker_opens_after_five_failures_in_a_row_over_two_alarms() -> None:
    assert not broken(failures=OPEN_AFTER - 1).open
    assert broken().open


def test_one_alarm_alone_never_opens_it() -> None:
    assert not broken(alarms=1, failures=50).open


def test_failures_have_lasted_from_the_moment_it_opens_until_an_answer() -> None:
    breaker = Breaker()
    for number in range(OPEN_AFTER):
        assert not breaker.lasting
        breaker = breaker.failed(f"a{number}", 0.0, 0.5)
    assert breaker.open
    assert breaker.lasting
    assert not breaker.succeeded(8).lasting


def test_a_success_in_between_starts_the_row_again() -> None:
    breaker = broken(failures=OPEN_AFTER - 1).succeeded(32).failed("a", 100.0, 0.0).failed("b", 100.0, 0.0)
    assert not breaker.open


def test_an_open_breaker_lets_single_probes_through_at_most_four_seconds_apart() -> None:
    breaker, now = broken(), 100.0
    for _ in range(20):
        assert breaker.allowed(32, now) == 0
        assert 0 < breaker.until - now <= PROBE_STEPS[-1]
        now = breaker.until
        assert breaker.allowed(32, now) == 1
        breaker = breaker.failed("a", now, jitter=0.999)


def test_after_an_outage_the_limit_doubles_with_each_acceptance() -> None:
    breaker, allowed = broken().succeeded(32), []
    while breaker.ramp:
        allowed.append(breaker.allowed(32, 1000.0))
        breaker = breaker.succeeded(32)
    assert allowed == [2, 4, 8, 16]
    assert breaker.allowed(32, 1000.0) == 32


def test_the_smallest_limits_recover_too() -> None:
    for limit in (1, 2, 3):
        breaker = broken().succeeded(limit)
        for _ in range(5):
            breaker = breaker.succeeded(limit)
        assert breaker.allowed(limit, 1000.0) == limit


def test_retry_after_holds_the_whole_integration_open_or_closed() -> None:
    closed = Breaker().failed("a", 100.0, 0.0, retry_after=30.0)
    assert (closed.allowed(32, 129.9), closed.allowed(32, 130.0)) == (0, 32)
    opened = broken().failed("a", 100.0, 0.0, retry_after=30.0)
    assert (opened.allowed(32, 129.9), opened.allowed(32, 130.0)) == (0, 1)


def test_retry_after_outlives_the_answer_to_an_earlier_request() -> None:
    opened = broken().failed("a", 100.0, 0.0, retry_after=30.0)
    closed = opened.succeeded(32)
    assert not closed.open
    assert (closed.allowed(32, 129.9), closed.allowed(32, 130.0)) == (0, 2)


def test_refusals_are_systemic_above_a_fifth_of_the_window_over_five_alarms() -> None:
    few = Refusals()
    for number in range(WINDOW // 5):
        few = few.add(f"a{number}", True)
    assert not few.systemic
    assert few.add("one more", True).systemic


def test_one_alarm_that_is_refused_again_and_again_is_not_systemic() -> None:
    window = Refusals()
    for _ in range(WINDOW):
        window = window.add("the same", True)
    assert not window.systemic


def test_five_refusals_in_a_hundred_are_not_systemic_at_any_time() -> None:
    window = Refusals()
    for number in range(400):
        window = window.add(f"a{number}", number % 20 == 0)
        assert not window.systemic


@given(
    st.floats(0.5, 5000),
    st.lists(st.tuples(st.floats(0, 2), st.integers(0, 500)), min_size=1, max_size=60),
)
def test_a_bucket_never_gives_more_than_rate_times_time_and_its_burst(
    rate: float, asks: list[tuple[float, int]]
) -> None:
    bucket, now, given_out = Bucket(rate, tokens=1.0, at=0.0), 0.0, 0
    for wait, wanted in asks:
        now += wait
        bucket = bucket.filled(now)
        count = bucket.available(wanted)
        bucket = bucket.take(count)
        given_out += count
        assert given_out <= rate * now + max(1.0, rate / 10) + 1e-6


def test_without_a_rate_a_bucket_gives_what_is_asked() -> None:
    assert Bucket(0.0).filled(5.0).available(1000) == 1000
    assert Bucket(0.0).wait == 0.0
