"""PURE: what a list of changes writes to PostgreSQL."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from adapter.alarm import Alarm, Kind, News, Status
from adapter.store.plan import Change
from adapter.store.records import labels_to_json


@dataclass(slots=True)
class Owed:
    fingerprint: str
    alarm: Alarm
    kind: Kind
    raw: bytes
    superseded: bool = False


@dataclass(slots=True)
class Plan:
    """What a list of changes writes."""

    final: dict[str, Alarm] = field(default_factory=dict)  # of each alarm that changes
    labels: dict[str, bytes] = field(default_factory=dict)  # of each alarm that is owed a report
    owed: list[Owed] = field(default_factory=list)
    superseded: list[int] = field(default_factory=list)  # seqs that were pending before
    firing: int = 0  # difference
    news: Counter[News] = field(default_factory=Counter)
    repeated: list[str] = field(default_factory=list)  # alarms whose alerts changed nothing ...
    stale: list[str] = field(default_factory=list)  # ... or were older than what is known

    @property
    def superseding(self) -> int:
        return len(self.superseded) + sum(row.superseded for row in self.owed)


def plan_of(made: list[Change], untried: dict[str, int]) -> Plan:
    """`untried`: by fingerprint, the seq of the last pending report where an `update` replaces it."""
    plan, newest = Plan(), dict[str, Owed]()
    for change in made:
        alarm, owed, name = change.step.alarm, change.step.owed, change.alert.fingerprint
        plan.news[change.step.news] += 1
        if change.step.news is News.REPEAT:
            plan.repeated.append(name)
        elif change.step.news is News.STALE:
            plan.stale.append(name)
        if alarm is None or (owed is None and alarm is change.known):
            continue
        was_firing = change.known is not None and change.known.status is Status.FIRING
        plan.firing += (alarm.status is Status.FIRING) - was_firing
        pending = plan.final[name].pending if name in plan.final else alarm.pending
        if owed is not None:
            plan.labels[name] = labels_to_json(change.alert.labels).encode()
            if owed is Kind.UPDATE and name in newest and newest[name].kind is Kind.UPDATE:
                newest[name].superseded = True
                pending -= 1
            elif owed is Kind.UPDATE and name not in newest and name in untried:
                plan.superseded.append(untried[name])
                pending -= 1
            newest[name] = Owed(name, alarm, owed, change.raw)
            plan.owed.append(newest[name])
            pending += 1
        plan.final[name] = alarm._replace(pending=pending)
    return plan
