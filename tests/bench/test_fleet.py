"""The formula of docs/scale.md agrees with a simulation of Alertmanager."""

from __future__ import annotations

from random import Random

import pytest

from bench.fleet import Costs, Fleet, Traffic, cores, simulated, traffic

FLEETS = [
    pytest.param(Fleet(clusters=10, groups=10, group_size=10, changes=2), id="changes are rare"),
    pytest.param(Fleet(clusters=10, groups=10, group_size=100, changes=5), id="changes at most ticks"),
    pytest.param(Fleet(clusters=1, groups=50, group_size=20, changes=0.0), id="nothing but repeats"),
]


@pytest.mark.parametrize("fleet", FLEETS)
def test_the_formula_agrees_with_the_simulation(fleet: Fleet) -> None:
    by_formula, by_play = traffic(fleet), simulated(fleet, groups=40, days=20, rng=Random(7))
    assert by_play.webhooks == pytest.approx(by_formula.webhooks, rel=0.05)
    assert by_play.alerts == pytest.approx(by_formula.alerts, rel=0.05)
    assert by_play.news == pytest.approx(by_formula.news, rel=0.05)


def test_a_group_that_never_changes_is_sent_once_per_repeat_interval() -> None:
    fleet = Fleet(clusters=1, groups=1, group_size=200, changes=0, repeat_interval=3600)
    assert traffic(fleet).webhooks == pytest.approx(1 / 3600)


def test_a_second_sender_doubles_the_webhooks_and_not_the_news() -> None:
    one = Fleet(clusters=3, groups=4, group_size=5, changes=1)
    two = Fleet(clusters=3, groups=4, group_size=5, changes=1, senders=2)
    assert traffic(two).webhooks == 2 * traffic(one).webhooks
    assert traffic(two).news == traffic(one).news


def test_cores_add_up_webhooks_repeats_and_news() -> None:
    load = Traffic(webhooks=10, alerts=100, news=20)
    assert cores(load, Costs(webhook=0.001, repeat=0.0001, news=0.01)) == pytest.approx(0.01 + 0.008 + 0.2)
