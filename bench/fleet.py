"""The traffic of a fleet of clusters, by a formula and by a simulation; docs/scale.md uses the formula. Pure.

Alertmanager checks a group every `group_interval` and sends all of it when one of its alerts changed, or when it was
last sent `repeat_interval` ago. Each of the Alertmanagers of a cluster may send the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Times in seconds, rates per second."""

    clusters: int
    groups: int  # per cluster, that have open alerts
    group_size: int  # open alerts in each
    changes: float  # per alert and day: firing or resolving
    group_interval: float = 300.0
    repeat_interval: float = 14_400.0
    senders: float = 1.0  # webhooks that arrive for each due: 2 when both of a pair always send

    @property
    def open_alarms(self) -> int:
        return self.clusters * self.groups * self.group_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Per second, for the whole fleet."""

    webhooks: float
    alerts: float  # in those webhooks
    news: float  # of those alerts: changes to report to COC

    @property
    def share_of_news(self) -> float:
        return self.news / self.alerts if self.alerts else 0.0


def traffic(fleet: Fleet) -> Traffic:
    """By formula: a group is sent at a tick with the probability p of a change in it, else when a repeat is due."""
    rate = fleet.group_size * fleet.changes / 86_400
    p = 1 - math.exp(-rate * fleet.group_interval)
    ticks = max(1, round(fleet.repeat_interval / fleet.group_interval))
    # Ticks from one flush to the next: up to the first with a change, at most `ticks`; a cut-off geometric mean.
    mean_ticks = (1 - (1 - p) ** ticks) / p if p > 0 else float(ticks)
    groups = fleet.clusters * fleet.groups
    flushes = groups / (mean_ticks * fleet.group_interval)
    webhooks = flushes * fleet.senders
    return Traffic(webhooks=webhooks, alerts=webhooks * fleet.group_size, news=groups * rate)


def simulated(fleet: Fleet, *, groups: int, days: float, rng: Random) -> Traffic:
    """By simulating `groups` of its groups for some days, tick by tick, and scaling up to the fleet."""
    rate = fleet.group_size * fleet.changes / 86_400
    ticks = round(days * 86_400 / fleet.group_interval)
    flushes = changes = 0
    for _ in range(groups):
        last, waiting = -rng.random() * fleet.repeat_interval, 0
        for tick in range(ticks):
            now = tick * fleet.group_interval
            waiting += _poisson(rate * fleet.group_interval, rng)
            if waiting or now - last >= fleet.repeat_interval:
                flushes += 1
                changes += waiting
                last, waiting = now, 0
    scale = fleet.clusters * fleet.groups / groups / (ticks * fleet.group_interval)
    webhooks = flushes * scale * fleet.senders
    return Traffic(webhooks=webhooks, alerts=webhooks * fleet.group_size, news=changes * scale)


def _poisson(mean: float, rng: Random) -> int:
    """A Poisson-distributed number with this mean, by Knuth's algorithm; for small means."""
    count, product, limit = 0, rng.random(), math.exp(-mean)
    while product > limit:
        count += 1
        product *= rng.random()
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Measured costs of one replica, in CPU seconds."""

    webhook: float
    repeat: float
    news: float  # an alarm from webhook to settled report


def cores(load: Traffic, costs: Costs) -> float:
    """CPU cores that a load uses."""
    repeats = load.alerts - load.news
    return load.webhooks * costs.webhook + repeats * costs.repeat + load.news * costs.news
