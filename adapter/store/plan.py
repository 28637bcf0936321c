"""PURE: what one webhook changes. Every store decides it here, inside its own intake transaction, and then writes it.

A transaction has five steps:

1.  Load the alarms of the webhook's fingerprints as `known`, locked where another process may write too.
2.  `plan = plan_of(known, intake, refreshes=...)`; see `Backlog.has_room`.
    `plan.compare(labels)`, with those that the store has of the alarms in `plan.first_labels`.
3.  For the alarms in `plan.replaceable`, look up the last pending report (the highest seq without an outcome). Where it
    is an `update`, was never tried and is not claimed, pass its seq to `plan.supersede`.
4.  `check_backlog(plan, pending=..., bound=...)`, with `Backlog.taken` before this webhook.
5.  Write, and return `accept_result(...)`:
    - `plan.superseded`: these reports get the outcome `superseded`, done at `intake.received`. Where one may have been
      sent before a crash, its episode goes into `alarm.maybe_sent_episode`.
    - `plan.alarms`: a row for each, new where the fingerprint is not in `known`. `last_seen` is `intake.received`, and
      so is `first_seen` of a new one. `last_accepted_at` belongs to settlements and is not written.
    - `plan.owed`, in order, with rising seqs. `raw` is `pack(report.alert, group_json)`; those marked `superseded` get
      that outcome at once. An alarm that had nothing pending is due now, another keeps its due time: an alarm that
      flaps keeps its place in the queue. Only where news follows a refresh it is due now at the earliest, since among
      news the order of arrival holds.
    - the webhook itself, when anything is owed or rejected, and its rejects.
    - `plan.conflicts`, added to the alarms' own.
    - the sums: `plan.added` pending reports, `plan.refreshing` refreshing and `plan.opened` open alarms more.

An alarm whose alert changed nothing is in none of these; `accept_result` counts it for `last_seen`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from adapter.alarm import Alarm, Kind, News, Priority, Status
from adapter.alertmanager import Alert
from adapter.clock import Micros
from adapter.errors import BacklogFull
from adapter.lifecycle import transition
from adapter.store.contract import Intake, Receipt
from adapter.store.last_seen import Seen
from adapter.store.records import labels_from_json, labels_to_json


class ChangedAlarm(NamedTuple):
    """An alarm as the webhook leaves it."""

    alarm: Alarm
    labels: Mapping[str, str]


@dataclass(slots=True)
class OwedReport:
    """A report to enqueue. Its episode and COC alarm id are those of `alarm`."""

    alarm: Alarm
    kind: Kind
    alert: Alert
    superseded: bool = False  # by a later update of the same webhook


@dataclass(slots=True)
class Plan:
    """What one webhook changes; see the module."""

    news: Counter[News]
    alarms: dict[str, ChangedAlarm] = field(default_factory=dict)  # new or changed, by fingerprint
    owed: list[OwedReport] = field(default_factory=list)
    replaceable: list[str] = field(default_factory=list)  # alarms with a pending report that an update may replace
    superseded: list[int] = field(default_factory=list)  # seqs of reports that were pending before
    repeated: list[str] = field(default_factory=list)  # alarms whose alerts changed nothing that matters
    stale: list[str] = field(default_factory=list)  # alarms whose alerts are older than what is known
    opened: int = 0  # difference of open alarms
    replaced: int = 0  # of `owed`
    closing: int = 0  # of `owed`: the `ok` of an alarm that was firing
    conflicts: Counter[str] = field(default_factory=Counter)  # by alarm: alerts with other labels than the one before
    first_labels: dict[str, Mapping[str, str]] = field(default_factory=dict)  # those that a known alarm came with first
    added_news: int = 0  # difference of pending reports, without refreshes
    refreshing: int = 0  # difference of alarms of which nothing but a refresh is pending

    @property
    def superseding(self) -> int:
        """How many reports leave as superseded."""
        return len(self.superseded) + self.replaced

    @property
    def added(self) -> int:
        """Difference of pending reports."""
        return len(self.owed) - self.superseding

    @property
    def added_other(self) -> int:
        """Of `added_news`, those that do not close a firing alarm."""
        return self.added_news - self.closing

    def compare(self, labels: Mapping[str, str]) -> None:
        """Find alerts that share a fingerprint. `labels`: of the known alarms, as `labels_to_json` makes them."""
        for fingerprint, before in labels.items():
            now = self.first_labels[fingerprint]
            if labels_to_json(now) != before and dict(now) != labels_from_json(before):
                self.conflicts[fingerprint] += 1

    def supersede(self, untried: Mapping[str, int]) -> None:
        """Replace these pending updates, given by fingerprint of the alarm."""
        for fingerprint, seq in untried.items():
            alarm, labels = self.alarms[fingerprint]
            self.alarms[fingerprint] = ChangedAlarm(alarm._replace(pending=alarm.pending - 1), labels)
            self.added_news -= alarm.priority == Priority.NEWS
            self.superseded.append(seq)


def plan_of(
    known: Mapping[str, Alarm],
    intake: Intake,
    last_seen: Callable[[str], Micros] = lambda name: 0,
    *,
    refreshes: bool = True,
) -> Plan:
    """Apply the webhook's alerts in their order. An alert that comes twice meets what the first one left.

    `last_seen`: of an alarm, by fingerprint; asked where the intake expects something of it. `refreshes`: whether there
    is room for them.
    """
    now, revision, policy = intake.received, intake.revision, intake.policy
    origin, receiver, expected = intake.webhook.group.externalURL, intake.webhook.group.receiver, intake.expected
    refreshes = refreshes and intake.refreshes
    plan = Plan(Counter({News.REJECTED: intake.webhook.rejected}))
    last_owed: dict[str, OwedReport] = {}
    for alert in intake.webhook.alerts:
        name = alert.fingerprint
        before = plan.alarms[name].alarm if name in plan.alarms else known.get(name)
        if expected is not None and not expected[name].holds(before, last_seen(name)):
            continue
        alarm, kind, news = transition(before, alert, now=now, revision=revision, policy=policy, refreshes=refreshes)
        plan.news[news] += 1
        if news is News.REPEAT:
            plan.repeated.append(name)
        elif news is News.STALE:
            plan.stale.append(name)
        if news is News.NEWS or (origin and not alarm.origin):  # an alarm older than the column learns it by a repeat
            closed = now if expected is not None and kind is Kind.OK else 0
            changed = now if news is News.NEWS and alarm.priority == Priority.NEWS else alarm.changed
            alarm = alarm._replace(
                origin=origin, receiver=receiver, reconciled=closed or alarm.reconciled, changed=changed
            )
        if kind is None and alarm is before:
            continue
        if name in plan.alarms:
            if plan.alarms[name].labels != alert.labels:
                plan.conflicts[name] += 1
        elif before is not None:
            plan.first_labels[name] = alert.labels
        was_firing = before is not None and before.status is Status.FIRING
        plan.opened += (alarm.status is Status.FIRING) - was_firing
        if kind is not None:
            plan.closing += was_firing and kind is Kind.OK
            last, last_owed[name] = last_owed.get(name), OwedReport(alarm, kind, alert)
            alarm = _owe(plan, last_owed[name], last)
            plan.refreshing += alarm.refreshing - (before is not None and before.refreshing)
        plan.alarms[name] = ChangedAlarm(alarm, alert.labels)
    return plan


def _owe(plan: Plan, report: OwedReport, last: OwedReport | None) -> Alarm:
    """The alarm with one more report pending, unless it replaces the `last` one of the same webhook."""
    alarm = report.alarm
    plan.owed.append(report)
    if report.kind is Kind.UPDATE and last is not None and last.kind is Kind.UPDATE:
        last.superseded = True
        plan.replaced += 1
        return alarm
    if report.kind is Kind.UPDATE and last is None and alarm.pending:
        plan.replaceable.append(alarm.fingerprint)
    plan.added_news += alarm.priority == Priority.NEWS
    return alarm._replace(pending=alarm.pending + 1)


def check_backlog(plan: Plan, *, pending: int, bound: int) -> None:
    """BacklogFull when the plan's news may not come on top of what is pending (promise 8)."""
    if plan.added_news <= 0:
        return
    reserve = 0 if plan.added_news > plan.closing else -(-bound // 10)
    if pending + plan.added_news > bound + reserve:
        raise BacklogFull(
            f"the backlog is full: {pending} reports wait for COC, or their places are reserved for other integrations,"
            f" and limits.backlog is {bound}; alerts are taken again when it has drained"
        )


class AcceptResult(NamedTuple):
    """What an intake transaction returns; `seen` is for `SeenLater` once the transaction is committed."""

    receipt: Receipt
    seen: Seen


def accept_result(
    plan: Plan, intake: Intake, ids: Mapping[str, int], *, webhook: int, pending: int, open_alarms: int
) -> AcceptResult:
    """`ids`: of the webhook's alarms by fingerprint, the new ones too. `webhook` is 0 when nothing was written."""
    receipt = Receipt(
        webhook=webhook,
        news=dict(plan.news),
        owed=tuple([(report.alarm.fingerprint, report.kind) for report in plan.owed]),
        superseded=plan.superseding,
        conflicts=plan.conflicts.total(),
        pending=pending,
        open_alarms=open_alarms,
    )
    repeated, stale, written = ([ids[name] for name in names] for names in (plan.repeated, plan.stale, plan.alarms))
    return AcceptResult(receipt, Seen(intake.received, repeated, stale, written))
