"""The contract in plain Python: no durability, for dry runs and tests, and the model the other stores are held to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adapter.alarm import Accepted, Alarm, Attempt, Kind, News, Outcome, Pause, Report, Status
from adapter.alertmanager import Reject
from adapter.clock import Clock, Micros
from adapter.errors import StoreUnavailable
from adapter.store import again
from adapter.store.backlog import Added, refuse_over
from adapter.store.base import (
    AlarmQuery,
    AlarmRow,
    Change,
    Claim,
    Claims,
    Counts,
    Intake,
    Made,
    Receipt,
    RejectRow,
    ReportRow,
    Retention,
    Settled,
    Settlement,
    changes,
)
from adapter.store.jsonform import KEPT_ATTEMPTS, has_labels, has_text

_REJECTS_KEPT = 1000


@dataclass(slots=True, kw_only=True)
class _Report:
    report: Report
    outcome: Outcome | None = None
    fate: str = ""  # of a dead letter: "replayed" or "discarded"
    done: Micros = 0
    made: Made | None = None
    attempts: tuple[Attempt, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Alarm:
    id: int
    integration: str
    alarm: Alarm
    labels: dict[str, str]
    first_seen: Micros
    last_seen: Micros
    repeats: int = 0
    stale: int = 0
    accepted: Accepted | None = None
    due: float = 0.0  # monotonic; of the head
    earlier: tuple[int, Outcome] = (0, Outcome.DELIVERED)  # episode and outcome of the last settled report
    doubt: int = 0  # the last episode with an ambiguous attempt
    queue: list[_Report] = field(default_factory=list)  # pending, in order
    trail: list[_Report] = field(default_factory=list)  # all of them


class MemoryStore:
    """A Store. Its calls never wait, so each is one step for everybody else."""

    def __init__(self, *, backlog: int, clock: Clock) -> None:
        self._bound = backlog
        self._clock = clock
        self._closed = False
        self._seq = self._webhook = self._reject = self._alarm = 0
        self._alarms: dict[tuple[str, str], _Alarm] = {}
        self._reports: dict[int, tuple[_Alarm, _Report]] = {}
        self._in_flight: dict[int, _Alarm] = {}  # by seq
        self._queued: dict[int, _Alarm] = {}  # alarms with pending reports, by id
        self._pending: Counter[str] = Counter()
        self._open: Counter[str] = Counter()
        self._pauses: dict[str, Pause] = {}
        self._senders: dict[int, tuple[Micros, dict[str, Any]]] = {}
        self._rejects: list[RejectRow] = []

    # intake

    async def accept(self, intake: Intake) -> Receipt:
        self._check_open()
        name = intake.integration
        known = {
            a.fingerprint: self._alarms[name, a.fingerprint].alarm
            for a in intake.webhook.alerts
            if (name, a.fingerprint) in self._alarms
        }
        made = changes(known, intake)
        webhook = self._webhook + 1
        planned = self._plan(made, intake, webhook)
        added = Added()
        added.count(made, superseding=sum(old is not None for _, old in planned))
        refuse_over(self._bound, self._pending.total(), added)

        owes = any(new is not None for new, _ in planned) or bool(intake.webhook.rejects)
        news = Counter({News.REJECTED: len(intake.webhook.rejects)})
        for change, (new, old) in zip(made, planned, strict=True):
            news[change.step.news] += 1
            self._apply(change, new, old, intake)
        if owes:
            group = intake.webhook.group
            self._webhook = webhook
            self._senders[webhook] = (
                intake.received,
                {"receiver": group.receiver, "externalURL": group.externalURL, "alerts": len(intake.webhook.alerts)},
            )
        self._keep(name, intake.received, intake.webhook.rejects)
        return Receipt(
            webhook=webhook if owes else 0,
            news=dict(news),
            owed=tuple((new.report.fingerprint, new.report.kind) for new, _ in planned if new is not None),
            superseded=sum(old is not None for _, old in planned),
            pending=self._pending[name],
            open_alarms=self._open[name],
        )

    def _plan(self, made: list[Change], intake: Intake, webhook: int) -> list[tuple[_Report | None, _Report | None]]:
        """For each change the report it owes and the untried update that this one replaces."""
        plan: list[tuple[_Report | None, _Report | None]] = []
        newest: dict[str, _Report] = {}
        for change in made:
            alarm, owed = change.step.alarm, change.step.owed
            if alarm is None or owed is None:
                plan.append((None, None))
                continue
            fingerprint = alarm.fingerprint
            last = newest.get(fingerprint) or self._last_pending(intake.integration, fingerprint)
            replaces = owed is Kind.UPDATE and last is not None and self._untried_update(last)
            report = Report(
                seq=0,
                integration=intake.integration,
                fingerprint=fingerprint,
                episode=alarm.episode,
                kind=owed,
                coc_alarm_id=alarm.coc_alarm_id,
                raw=change.raw,
                received=intake.received,
                webhook=webhook,
            )
            newest[fingerprint] = _Report(report=report)
            plan.append((newest[fingerprint], last if replaces else None))
        return plan

    def _last_pending(self, integration: str, fingerprint: str) -> _Report | None:
        entry = self._alarms.get((integration, fingerprint))
        return entry.queue[-1] if entry and entry.queue else None

    def _untried_update(self, row: _Report) -> bool:
        return row.report.kind is Kind.UPDATE and row.report.attempts == 0 and row.report.seq not in self._in_flight

    def _apply(self, change: Change, new: _Report | None, old: _Report | None, intake: Intake) -> None:
        step = change.step
        if step.alarm is None:
            return
        key = intake.integration, step.alarm.fingerprint
        entry = self._alarms.get(key)
        if entry is None:
            self._alarm += 1
            entry = self._alarms[key] = _Alarm(
                id=self._alarm,
                integration=intake.integration,
                alarm=step.alarm,
                labels={},
                first_seen=intake.received,
                last_seen=intake.received,
            )
        entry.last_seen = intake.received
        entry.repeats += step.news is News.REPEAT
        entry.stale += step.news is News.STALE
        was_open = change.known is not None and change.known.status is Status.FIRING
        self._open[intake.integration] += (step.alarm.status is Status.FIRING) - was_open
        entry.alarm = step.alarm._replace(heard=entry.alarm.heard)
        if new is not None:
            entry.labels = dict(change.alert.labels)
            due = entry.due
            if old is not None:
                self._leave(entry, old, Outcome.SUPERSEDED, intake.received)
            self._append(entry, new)
            if old is not None:
                entry.due = due  # a flapping alarm keeps its place in the line
        entry.alarm = entry.alarm._replace(pending=len(entry.queue))

    def _append(self, entry: _Alarm, row: _Report) -> None:
        self._seq += 1
        row.report = replace(row.report, seq=self._seq)
        if not entry.queue:
            entry.due = self._clock.monotonic()
        entry.trail.append(row)
        entry.queue.append(row)
        self._queued[entry.id] = entry
        self._reports[self._seq] = (entry, row)
        self._pending[entry.integration] += 1

    def _leave(self, entry: _Alarm, row: _Report, outcome: Outcome, at: Micros) -> None:
        row.outcome, row.done = outcome, at
        entry.queue.remove(row)
        if not entry.queue:
            del self._queued[entry.id]
        self._pending[entry.integration] -= 1

    async def reject(self, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
        self._check_open()
        self._keep(integration, received, rejects)

    def _keep(self, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
        for reject in rejects:
            self._reject += 1
            self._rejects.append(
                RejectRow(
                    id=self._reject, integration=integration, received=received, reason=reject.reason, head=reject.head
                )
            )
        del self._rejects[:-_REJECTS_KEPT]

    # delivery

    async def claim(self, integration: str, limit: int, *, early: bool = False) -> Claims:
        self._check_open()
        now = self._clock.monotonic()
        busy = {entry.id for entry in self._in_flight.values()}
        waiting = [e for e in self._queued.values() if e.integration == integration and e.id not in busy]
        waiting.sort(key=lambda entry: (entry.due, entry.id))
        due = [entry for entry in waiting if early or entry.due <= now][:limit]
        later = [entry.due for entry in waiting if entry.due > now and not early]
        claims = tuple(self._claim(entry) for entry in due)
        next_due = later[0] - now if later and len(claims) < limit else None
        return Claims(claims=claims, next_due=next_due)

    def _claim(self, entry: _Alarm) -> Claim:
        report = entry.queue[0].report
        self._in_flight[report.seq] = entry
        episode, outcome = entry.earlier
        return Claim(
            report=report,
            accepted=entry.accepted,
            earlier=outcome if episode == report.episode else None,
            doubt=entry.doubt == report.episode,
        )

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        self._check_open()
        return [self._settle(settlement) for settlement in settlements]

    def _settle(self, settlement: Settlement) -> Settled:
        report = settlement.claim.report
        self._in_flight.pop(report.seq, None)
        name = report.integration
        if report.seq not in self._reports:
            return Settled(counted=False, reasserted=False, pending=self._pending[name], open_alarms=self._open[name])
        entry, row = self._reports[report.seq]
        counted = row.outcome is None
        row.attempts = (row.attempts + settlement.attempts)[-KEPT_ATTEMPTS:]
        row.made = settlement.made or row.made
        row.report = replace(
            row.report,
            attempts=row.report.attempts + len(settlement.attempts),
            refused=row.report.refused or settlement.refused,
        )
        if settlement.accepted is not None:
            entry.accepted = settlement.accepted
            entry.alarm = entry.alarm._replace(heard=settlement.accepted.at)
        if any(attempt.ambiguous for attempt in settlement.attempts):
            entry.doubt = report.episode
        if counted:
            entry.due = self._clock.monotonic() + settlement.delay
            if settlement.outcome is not None:
                self._leave(entry, row, settlement.outcome, settlement.at)
                entry.earlier = (report.episode, settlement.outcome)
                entry.alarm = entry.alarm._replace(pending=len(entry.queue))
        return Settled(counted=counted, reasserted=False, pending=self._pending[name], open_alarms=self._open[name])

    async def pauses(self) -> dict[str, Pause]:
        self._check_open()
        return dict(self._pauses)

    async def set_pause(self, integration: str, pause: Pause | None) -> None:
        self._check_open()
        if pause is None:
            self._pauses.pop(integration, None)
        else:
            self._pauses[integration] = pause

    def forget_claims(self) -> None:
        """What a crash does to a store that outlives it: whatever was claimed or delayed is due at once."""
        self._in_flight.clear()
        for entry in self._alarms.values():
            entry.due = min(entry.due, self._clock.monotonic())

    # audit

    async def counts(self) -> dict[str, Counts]:
        self._check_open()
        names = dict.fromkeys([name for name, _ in self._alarms] + list(self._pauses))
        return {name: self._counts(name) for name in names}

    def _counts(self, name: str) -> Counts:
        rows = [row for entry, row in self._reports.values() if entry.integration == name]
        return Counts(
            pending=self._pending[name],
            open_alarms=self._open[name],
            oldest=next((row.report.received for row in rows if row.outcome is None), None),
            dead=sum(row.outcome is Outcome.DEAD and not row.fate for row in rows),
        )

    async def alarms(self, query: AlarmQuery) -> list[AlarmRow]:
        self._check_open()
        found = [entry for entry in sorted(self._alarms.values(), key=lambda entry: entry.id) if _answers(entry, query)]
        return [
            AlarmRow(
                id=entry.id,
                integration=entry.integration,
                alarm=entry.alarm,
                labels=entry.labels,
                first_seen=entry.first_seen,
                last_seen=entry.last_seen,
                repeats=entry.repeats,
                stale=entry.stale,
                accepted=entry.accepted,
            )
            for entry in found[: query.limit]
        ]

    async def trail(self, integration: str, fingerprint: str, limit: int = 50) -> list[ReportRow]:
        self._check_open()
        entry = self._alarms.get((integration, fingerprint))
        return [self._row(entry, row) for row in reversed(entry.trail)][:limit] if entry else []

    async def dead_letters(self, integration: str | None, after: int, limit: int) -> list[ReportRow]:
        self._check_open()
        return [
            self._row(entry, row)
            for seq, (entry, row) in self._reports.items()
            if seq > after and row.outcome is Outcome.DEAD and not row.fate and integration in (None, entry.integration)
        ][:limit]

    def _row(self, entry: _Alarm, row: _Report) -> ReportRow:
        head = row.outcome is None and entry.queue[0] is row
        return ReportRow(
            report=row.report,
            outcome=row.outcome,
            replayed=row.fate == "replayed",
            done=row.done,
            due_in=entry.due - self._clock.monotonic() if head else None,
            made=row.made,
            attempts=row.attempts,
            sender=self._senders.get(row.report.webhook, (0, {}))[1],
        )

    async def replay(self, seqs: Sequence[int], *, as_sent: bool) -> dict[int, tuple[Kind, ...]]:
        self._check_open()
        kinds: dict[int, tuple[Kind, ...]] = {}
        letters: dict[int, list[int]] = {}
        for seq in sorted(set(seqs)):
            if self._is_letter(seq):
                letters.setdefault(self._reports[seq][0].id, []).append(seq)
        for chosen in letters.values():
            entry = self._reports[chosen[0]][0]
            past = {
                r.report.seq: again.Past(r.report.seq, r.report.kind, r.report.coc_alarm_id, r.outcome)
                for r in entry.trail
            }
            for owed in again.replayed([past[seq] for seq in chosen], past.values()):
                self._append(entry, self._again(owed, as_sent))
                kinds[owed.asked] = (*kinds.get(owed.asked, ()), owed.kind)
            for seq in chosen:
                self._reports[seq][1].fate = "replayed"
            entry.alarm = entry.alarm._replace(pending=len(entry.queue))
        return kinds

    def _again(self, owed: again.Owed, as_sent: bool) -> _Report:
        source = self._reports[owed.source][1]
        sent = source.made.body if as_sent and source.made and owed.kind is not Kind.REASSERT else None
        report = replace(
            source.report, kind=owed.kind, received=self._clock.now(), webhook=0, attempts=0, refused=False, body=sent
        )
        return _Report(report=report)

    def _is_letter(self, seq: int) -> bool:
        return seq in self._reports and self._reports[seq][1].outcome is Outcome.DEAD and not self._reports[seq][1].fate

    async def discard(self, seqs: Sequence[int]) -> list[int]:
        self._check_open()
        found = [seq for seq in sorted(set(seqs)) if self._is_letter(seq)]
        for seq in found:
            self._reports[seq][1].fate = "discarded"
        return found

    async def rejects(self, after: int, limit: int) -> list[RejectRow]:
        self._check_open()
        return [row for row in self._rejects if row.id > after][:limit]

    # upkeep

    async def maintain(self, now: Micros, retention: Retention) -> None:
        self._check_open()
        for seq, (entry, row) in list(self._reports.items()):
            kept = retention.dead if row.outcome is Outcome.DEAD else retention.delivered
            if row.outcome is not None and row.done < now - kept:
                entry.trail.remove(row)
                del self._reports[seq]
        for key, entry in list(self._alarms.items()):
            if entry.alarm.status is Status.RESOLVED and not entry.trail and entry.last_seen < now - retention.resolved:
                del self._alarms[key]
        self._senders = {id_: sent for id_, sent in self._senders.items() if sent[0] >= now - retention.delivered}
        self._rejects = [row for row in self._rejects if row.received >= now - retention.delivered]

    async def probe(self) -> None:
        self._check_open()

    async def size(self) -> int:
        self._check_open()
        return 0

    def describe(self) -> dict[str, Any]:
        return {"backend": "memory", "place": "memory:", "warnings": ["memory: nothing survives a restart"]}

    async def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")


def _answers(entry: _Alarm, query: AlarmQuery) -> bool:
    alarm = entry.alarm
    return (
        entry.id > query.after
        and query.integration in (None, entry.integration)
        and query.status in (None, alarm.status)
        and query.fingerprint in (None, alarm.fingerprint)
        and has_text(query.text, alarm.fingerprint, entry.labels)
        and has_labels(query.labels, entry.labels)
    )
