"""The benchmark's arithmetic. `make bench` measures the adapter; no test asserts speed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Goal, Series, Verdict, compared, percentile, plain, ratio, steady_rate

finite = st.floats(min_value=0.001, max_value=1e9)


def test_a_series_has_median_ends_and_spread() -> None:
    series = Series((10.0, 30.0, 20.0))
    assert (series.median, series.low, series.high, series.spread) == (20.0, 10.0, 30.0, 1.0)


def test_an_empty_series_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Series(())


def test_a_constant_series_has_no_spread_even_at_zero() -> None:
    assert Series((0.0, 0.0)).spread == 0.0
    assert Series((-1.0, 0.0, 1.0)).spread == math.inf


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (Goal("at least", 2.0), 2.0, Verdict.PASS),
        (Goal("at least", 2.0), 1.99, Verdict.SHORT),
        (Goal("at most", 0.1), 0.1, Verdict.PASS),
        (Goal("at most", 0.1), 0.11, Verdict.SHORT),
        (Goal("exactly", 1.0), 1.0, Verdict.PASS),
        (Goal("exactly", 1.0), 1.002, Verdict.SHORT),
        (Goal("at least", 1.6, aim=2.0), 2.0, Verdict.AIM),
        (Goal("at least", 1.6, aim=2.0), 1.99, Verdict.PASS),
        (Goal("at least", 1.6, aim=2.0), 1.59, Verdict.SHORT),
        (Goal("at least", None, aim=0.6), 0.59, Verdict.NONE),
    ],
)
def test_a_goal_is_met_at_its_bound_and_not_beyond(goal: Goal, value: float, verdict: Verdict) -> None:
    assert goal.judge(value) is verdict


def test_a_goal_is_written_with_its_sign_unit_and_aim() -> None:
    assert [str(Goal("at most", 6, "ms")), str(Goal("exactly", 1.0))] == ["<= 6 ms", "= 1"]
    assert str(Goal("at least", 1.6, "x", aim=2.0)) == ">= 1.6x, aim 2x"
    assert str(Goal("at least", None, "x", aim=0.6)) == "aim 0.6x"


def test_each_pair_has_a_ratio_so_that_a_slow_minute_affects_both() -> None:
    row = compared(
        "B1", "rate", "/s", [100.0, 50.0, 90.0], ("baseline", [50.0, 25.0, 30.0]), Goal("at least", 2.0, "x")
    )
    assert row.figure.values == (2.0, 2.0, 3.0)
    assert row.verdict is Verdict.PASS


def test_series_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 values against 1"):
        compared("B1", "rate", "/s", [1.0, 2.0], ("baseline", [1.0]))


def test_a_row_without_a_goal_has_no_verdict() -> None:
    assert plain("B1", "rate", "/s", [1.0]).verdict is Verdict.NONE


def test_a_figure_is_noisy_only_if_its_ends_have_different_verdicts() -> None:
    goal = Goal("at least", 2.0)
    assert plain("B1", "rate", "x", [1.5, 2.1, 3.0], goal).noisy
    assert not plain("B1", "rate", "x", [2.5, 4.0, 9.0], goal).noisy
    assert not plain("B1", "rate", "x", [2.0, 1.99, 2.01], goal).noisy


def test_the_99th_percentile_is_the_nearest_rank() -> None:
    assert percentile(list(range(1, 101)), 0.99) == 99
    assert percentile([5.0], 0.99) == 5.0


@given(st.lists(finite, min_size=1), st.floats(min_value=0.01, max_value=1.0))
def test_a_percentile_is_one_of_the_values_and_reaches_its_share(values: list[float], share: float) -> None:
    result = percentile(values, share)
    assert result in values
    assert sum(value <= result for value in values) >= share * len(values)


@given(st.floats(min_value=1, max_value=10_000), st.integers(min_value=20, max_value=500))
def test_the_steady_rate_of_even_arrivals_is_their_rate(rate: float, count: int) -> None:
    assert steady_rate([number / rate for number in range(count)]) == pytest.approx(rate, rel=1e-6)


def test_the_steady_rate_leaves_out_a_slow_start_and_a_straggler() -> None:
    arrivals = [-10.0, *(number / 100 for number in range(98)), 60.0]
    assert steady_rate(arrivals) == pytest.approx(100)


def test_too_few_arrivals_have_no_rate() -> None:
    with pytest.raises(ValueError, match="too few"):
        steady_rate([1.0])


def test_zero_over_zero_is_1_and_other_values_over_zero_are_infinite() -> None:
    assert (ratio(0, 0), ratio(1, 0), ratio(3, 2)) == (1.0, math.inf, 1.5)
