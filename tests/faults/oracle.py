"""Compares what was acknowledged to senders with what arrived at COC. Pure.

C  conservation: each acknowledged and owed step arrives, and nothing arrives that was never sent
O  order: the first arrivals of an alarm come in the order in which its steps were acknowledged
S  suppression: nothing arrives twice, except for what was under way at a fault
F  final state: COC ends with what was acknowledged last
L  liveness is a deadline; `chaos.alive` checks it

(alarmId, alarmStatus, time) identifies a step at COC: every firing of a run has its own startsAt, every resolve its own
endsAt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from adapter.alertmanager import fingerprint_of, micros


class Step(NamedTuple):
    """One transition of one alarm; `time` in ms."""

    alarm: str
    status: str  # alarm | ok
    time: int


def step_of(alert: Mapping[str, Any]) -> Step:
    """The step of an alert as Alertmanager sends it."""
    resolved = alert["status"] == "resolved"
    at = micros(alert["endsAt"] if resolved else alert["startsAt"]) // 1000
    return Step(alert.get("fingerprint") or fingerprint_of(alert["labels"]), "ok" if resolved else "alarm", at)


class Ledger:
    """The acknowledged steps that owe a report; repeats, second resolves and stale resolves owe none."""

    def __init__(self) -> None:
        self.owed: dict[str, list[Step]] = {}
        self.tried: set[Step] = set()
        self._starts: dict[str, int] = {}  # the newest of the episode, ms

    def sent(self, alerts: Iterable[Mapping[str, Any]]) -> None:
        self.tried.update(step_of(alert) for alert in alerts)

    def acknowledged(self, alerts: Iterable[Mapping[str, Any]]) -> None:
        for alert in alerts:
            step = step_of(alert)
            self.tried.add(step)
            steps = self.owed.setdefault(step.alarm, [])
            new = not steps or steps[-1].status != step.status
            if step.status == "alarm":
                self._starts[step.alarm] = step.time if new else max(step.time, self._starts[step.alarm])
            elif step.time < self._starts.get(step.alarm, 0):
                continue
            if new:
                steps.append(step)

    @property
    def steps(self) -> int:
        return sum(len(steps) for steps in self.owed.values())


@dataclass(frozen=True, slots=True)
class Verdict:
    """All counts are zero in a sound run, but `duplicates`: as many are allowed as were under way at faults."""

    owed: int
    arrived: int
    lost: int
    invented: int
    reordered: int
    duplicates: int
    wrong_end: int

    def violations(self, duplicates: int = 0) -> list[str]:
        """One line for each oracle that does not hold."""
        lines = {
            f"C: {self.lost} of {self.owed} acknowledged steps never arrived": self.lost,
            f"C: {self.invented} arrivals that were never sent": self.invented,
            f"O: {self.reordered} alarms out of order": self.reordered,
            f"S: {self.duplicates} duplicates, {duplicates} are allowed": self.duplicates > duplicates,
            f"F: {self.wrong_end} alarms end in the wrong state": self.wrong_end,
        }
        return [line for line, broken in lines.items() if broken]


def arrivals(bodies: Iterable[Mapping[str, Any]]) -> list[Step]:
    """The steps that COC accepted, in order."""
    return [Step(body["alarmId"], body["alarmStatus"], body["time"]) for body in bodies]


def examine(ledger: Ledger, arrived: Sequence[Step], *, excused: Collection[str] = ()) -> Verdict:
    """Judge a run after everything was settled, without the `excused` alarms, which COC refused."""
    first = dict.fromkeys(arrived)
    last = {step.alarm: step for step in arrived}
    owed = {alarm: steps for alarm, steps in ledger.owed.items() if alarm not in excused}
    by_alarm: dict[str, list[Step]] = {}
    for step in first:
        by_alarm.setdefault(step.alarm, []).append(step)
    return Verdict(
        owed=sum(len(steps) for steps in owed.values()),
        arrived=len(arrived),
        lost=sum(step not in first for steps in owed.values() for step in steps),
        invented=sum(step not in ledger.tried for step in first),
        reordered=sum(not _in_order(steps, by_alarm.get(alarm, [])) for alarm, steps in owed.items()),
        duplicates=len(arrived) - len(first),
        wrong_end=sum(alarm in last and last[alarm].status != steps[-1].status for alarm, steps in owed.items()),
    )


def _in_order(owed: Sequence[Step], arrived: Sequence[Step]) -> bool:
    places = {step: place for place, step in enumerate(owed)}
    seen = [places[step] for step in arrived if step in places]
    return seen == sorted(seen)
