"""The contract in plain Python: the URL `memory:` for dry runs, and the model that the other stores are tested by.

Nothing is durable. No call waits for anything, so each is one transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adapter.alarm import Accepted, Alarm, Attempt, Kind, Outcome, Pause, Report, Status
from adapter.alertmanager import Reject, pack
from adapter.clock import Clock, Micros
from adapter.errors import StoreUnavailable
from adapter.store.contract import REJECTS_KEPT, Claim, Claims, Intake, Receipt, Retention, Settled, Settlement
from adapter.store.plan import ChangedAlarm, OwedReport, accept_result, check_backlog, plan_of
from adapter.store.records import KEPT_ATTEMPTS, has_labels, has_text
from adapter.store.replay import Past, replayed
from adapter.store.settlement import AlarmState, ReportState, apply
from adapter.store.views import AlarmQuery, AlarmRow, Counts, Provenance, RejectRow, ReportRow


@dataclass(slots=True, kw_only=True)
class _Alarm:
    """An alarm's row and its reports."""

    id: int
    integration: str
    alarm: Alarm
    first_seen: Micros
    last_seen: Micros
    labels: Mapping[str, str]
    repeats: int = 0
    stale: int = 0
    accepted: Accepted | None = None
    earlier_episode: int = 0
    earlier_outcome: Outcome | None = None
    maybe_sent_episode: int = 0
    due: float = 0.0  # monotonic, of the first pending report
    queue: list[_Report] = field(default_factory=list)  # pending, in order
    trail: list[_Report] = field(default_factory=list)  # all of them


@dataclass(slots=True, kw_only=True)
class _Report:
    """A report's row."""

    alarm: _Alarm
    report: Report
    outcome: Outcome | None = None
    handled: str = ""  # of a dead letter: replayed or discarded
    done: Micros = 0
    provenance: Provenance | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def is_letter(self) -> bool:
        """A dead letter that waits for a person."""
        return self.outcome is Outcome.DEAD and not self.handled


class MemoryStore:
    """A Store."""

    def __init__(self, *, backlog: int, clock: Clock) -> None:
        self._bound = backlog
        self._clock = clock
        self._closed = False
        self._last_id: Counter[str] = Counter()  # by kind of row
        self._alarms: dict[tuple[str, str], _Alarm] = {}
        self._reports: dict[int, _Report] = {}
        self._claimed: set[int] = set()  # seqs
        self._maybe_sent_upto = 0  # the last seq that waited when claims were forgotten
        self._pending: Counter[str] = Counter()  # by integration, like the next one
        self._open: Counter[str] = Counter()
        self._pauses: dict[str, Pause] = {}
        self._senders: dict[int, tuple[Micros, dict[str, Any]]] = {}
        self._rejects: list[RejectRow] = []

    # intake

    async def accept(self, intake: Intake) -> Receipt:
        self._check_open()
        name, rejects = intake.integration, intake.webhook.rejects
        found = {alert.fingerprint: self._alarms.get((name, alert.fingerprint)) for alert in intake.webhook.alerts}
        rows = {fingerprint: row for fingerprint, row in found.items() if row is not None}
        plan = plan_of({fingerprint: row.alarm for fingerprint, row in rows.items()}, intake)
        last = {fingerprint: rows[fingerprint].queue[-1].report for fingerprint in plan.replaceable}
        plan.supersede({fingerprint: report.seq for fingerprint, report in last.items() if self._is_untried(report)})
        check_backlog(plan, pending=self._pending.total(), bound=self._bound)
        webhook = self._keep_sender(intake) if plan.owed or rejects else 0
        for fingerprint, change in plan.alarms.items():
            rows[fingerprint] = self._change(rows.get(fingerprint), change, intake)
        group_json = intake.webhook.group.as_json()
        for owed in plan.owed:
            self._owe(rows[owed.alarm.fingerprint], owed, pack(owed.alert, group_json), intake.received, webhook)
        for seq in plan.superseded:  # after what replaces it, so that the alarm keeps its place in the queue
            self._supersede(self._reports[seq], intake.received)
        for fingerprint in plan.repeated + plan.stale:
            rows[fingerprint].last_seen = intake.received
        for fingerprint in plan.repeated:
            rows[fingerprint].repeats += 1
        for fingerprint in plan.stale:
            rows[fingerprint].stale += 1
        self._open[name] += plan.opened
        self._keep_rejects(name, intake.received, rejects)
        ids = {fingerprint: row.id for fingerprint, row in rows.items()}
        result = accept_result(
            plan, intake, ids, webhook=webhook, pending=self._pending[name], open_alarms=self._open[name]
        )
        return result.receipt

    def _is_untried(self, report: Report) -> bool:
        return report.kind is Kind.UPDATE and report.attempts == 0 and report.seq not in self._claimed

    def _change(self, row: _Alarm | None, change: ChangedAlarm, intake: Intake) -> _Alarm:
        alarm, labels = change
        if row is None:
            row = self._alarms[intake.integration, alarm.fingerprint] = _Alarm(
                id=self._next_id("alarm"),
                integration=intake.integration,
                alarm=alarm,
                first_seen=intake.received,
                last_seen=intake.received,
                labels=labels,
            )
        row.alarm, row.labels, row.last_seen = alarm, labels, intake.received
        return row

    def _owe(self, row: _Alarm, owed: OwedReport, raw: bytes, at: Micros, webhook: int) -> None:
        report = Report(
            seq=self._next_id("report"),
            integration=row.integration,
            fingerprint=owed.alarm.fingerprint,
            episode=owed.alarm.episode,
            kind=owed.kind,
            coc_alarm_id=owed.alarm.coc_alarm_id,
            raw=raw,
            received=at,
            webhook=webhook,
        )
        new = self._append(row, report)
        if owed.superseded:
            self._supersede(new, at)

    def _append(self, row: _Alarm, report: Report) -> _Report:
        if not row.queue:
            row.due = self._clock.monotonic()
        new = self._reports[report.seq] = _Report(alarm=row, report=report)
        row.queue.append(new)
        row.trail.append(new)
        self._pending[row.integration] += 1
        return new

    def _supersede(self, row: _Report, at: Micros) -> None:
        row.outcome, row.done = Outcome.SUPERSEDED, at
        self._leave(row)
        if row.report.seq <= self._maybe_sent_upto:
            row.alarm.maybe_sent_episode = row.report.episode

    def _leave(self, row: _Report) -> None:
        row.alarm.queue.remove(row)
        self._pending[row.alarm.integration] -= 1

    def _keep_sender(self, intake: Intake) -> int:
        webhook, group = self._next_id("webhook"), intake.webhook.group
        sender = {"receiver": group.receiver, "externalURL": group.externalURL, "alerts": len(intake.webhook.alerts)}
        self._senders[webhook] = intake.received, sender
        return webhook

    async def reject(self, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
        self._check_open()
        self._keep_rejects(integration, received, rejects)

    def _keep_rejects(self, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
        for reject in rejects:
            id_ = self._next_id("reject")
            row = RejectRow(id=id_, integration=integration, received=received, reason=reject.reason, head=reject.head)
            self._rejects.append(row)
        del self._rejects[:-REJECTS_KEPT]

    # delivery

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        self._check_open()
        now = self._clock.monotonic()
        waiting = [row for row in self._alarms.values() if row.integration == integration and self._waits(row)]
        waiting.sort(key=lambda row: (row.due, row.id))
        due = [row for row in waiting if ignore_delay or row.due <= now][:limit]
        later = [row.due for row in waiting if row.due > now and not ignore_delay]
        claims = tuple([self._claim(row) for row in due])
        return Claims(claims=claims, next_due=later[0] - now if later and len(claims) < limit else None)

    def _waits(self, row: _Alarm) -> bool:
        return bool(row.queue) and row.queue[0].report.seq not in self._claimed

    def _claim(self, row: _Alarm) -> Claim:
        report = row.queue[0].report
        self._claimed.add(report.seq)
        return Claim(
            report=report,
            accepted=row.accepted,
            earlier=row.earlier_outcome if row.earlier_episode == report.episode else None,
            maybe_sent=row.maybe_sent_episode == report.episode or report.seq <= self._maybe_sent_upto,
        )

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        self._check_open()
        return [self._settle(settlement) for settlement in settlements]

    def _settle(self, settlement: Settlement) -> Settled:
        name, row = settlement.claim.report.integration, self._reports.get(settlement.claim.report.seq)
        self._claimed.discard(settlement.claim.report.seq)
        counted = row is not None and self._apply(row, row.alarm, settlement)
        return Settled(counted=counted, reasserted=False, pending=self._pending[name], open_alarms=self._open[name])

    def _apply(self, row: _Report, alarm: _Alarm, settlement: Settlement) -> bool:
        before = AlarmState(
            pending=alarm.alarm.pending,
            accepted=alarm.accepted,
            earlier_episode=alarm.earlier_episode,
            earlier_outcome=alarm.earlier_outcome,
            maybe_sent_episode=alarm.maybe_sent_episode,
        )
        report = ReportState(row.outcome, row.done, row.report.attempts, row.report.refused)
        applied = apply(before, report, settlement, lease_held=True)
        pending, alarm.accepted, alarm.earlier_episode, alarm.earlier_outcome, alarm.maybe_sent_episode = applied.alarm
        heard = alarm.accepted.at if alarm.accepted else 0
        alarm.alarm = alarm.alarm._replace(pending=pending, last_accepted_at=heard)
        row.outcome, row.done, attempts, refused = applied.report
        row.report = replace(row.report, attempts=attempts, refused=refused)
        row.attempts = (row.attempts + settlement.attempts)[-KEPT_ATTEMPTS:]
        row.provenance = settlement.provenance or row.provenance
        if applied.counted:
            alarm.due = self._clock.monotonic() + settlement.delay
        if applied.left:
            self._leave(row)
        return applied.counted

    async def pauses(self) -> dict[str, Pause]:
        self._check_open()
        return dict(self._pauses)

    async def set_pause(self, integration: str, pause: Pause | None, *, automatic: bool = False) -> Pause | None:
        self._check_open()
        before = self._pauses.pop(integration, None)
        after = before if automatic and before is not None and not before.automatic else pause
        if after is not None:
            self._pauses[integration] = after
        return after

    def forget_claims(self, *, orderly: bool = False) -> None:
        """What a crash of the process does to a store that outlives it: all is due at once and may have been sent.

        `orderly`: the process gave all claims back before it ended.
        """
        if not orderly:
            self._maybe_sent_upto = self._last_id["report"]
        self._claimed.clear()
        for row in self._alarms.values():
            row.due = min(row.due, self._clock.monotonic())

    # views

    async def counts(self) -> dict[str, Counts]:
        self._check_open()
        names = dict.fromkeys([name for name, _ in self._alarms] + list(self._pauses))
        return {name: self._counts(name) for name in names}

    def _counts(self, name: str) -> Counts:
        rows = [row for row in self._reports.values() if row.alarm.integration == name]
        return Counts(
            pending=self._pending[name],
            open_alarms=self._open[name],
            oldest=next((row.report.received for row in rows if row.outcome is None), None),
            dead=sum(row.is_letter for row in rows),
        )

    async def alarms(self, query: AlarmQuery) -> list[AlarmRow]:
        self._check_open()
        found = sorted((row for row in self._alarms.values() if _answers(row, query)), key=lambda row: row.id)
        return [_alarm_row(row) for row in found[: query.limit]]

    async def trail(self, integration: str, fingerprint: str, limit: int = 50) -> list[ReportRow]:
        self._check_open()
        row = self._alarms.get((integration, fingerprint))
        return [self._report_row(report) for report in reversed(row.trail)][:limit] if row else []

    async def dead_letters(self, integration: str | None, after: int, limit: int) -> list[ReportRow]:
        self._check_open()
        letters = [
            row
            for seq, row in self._reports.items()
            if seq > after and row.is_letter and integration in (None, row.alarm.integration)
        ]
        return [self._report_row(row) for row in letters[:limit]]

    def _report_row(self, row: _Report) -> ReportRow:
        is_head = row.outcome is None and row.alarm.queue[0] is row
        return ReportRow(
            report=row.report,
            outcome=row.outcome,
            replayed=row.handled == "replayed",
            done=row.done,
            due_in=row.alarm.due - self._clock.monotonic() if is_head else None,
            provenance=row.provenance,
            attempts=row.attempts,
            sender=self._senders.get(row.report.webhook, (0, {}))[1],
        )

    async def replay(self, seqs: Sequence[int], *, as_sent: bool) -> dict[int, tuple[Kind, ...]]:
        self._check_open()
        letters: dict[int, list[_Report]] = {}
        for letter in self._letters(seqs):
            letters.setdefault(letter.alarm.id, []).append(letter)
        kinds: dict[int, tuple[Kind, ...]] = {}
        for chosen in letters.values():
            alarm = chosen[0].alarm
            for owed in replayed([_past(row) for row in chosen], [_past(row) for row in alarm.trail]):
                source = self._reports[owed.source]
                as_it_was = as_sent and source.provenance is not None and owed.kind is not Kind.REASSERT
                report = replace(
                    source.report,
                    seq=self._next_id("report"),
                    kind=owed.kind,
                    received=self._clock.now(),
                    webhook=0,
                    attempts=0,
                    refused=False,
                    body=source.provenance.body if as_it_was and source.provenance else None,
                )
                self._append(alarm, report)
                kinds[owed.asked] = (*kinds.get(owed.asked, ()), owed.kind)
            for letter in chosen:
                letter.handled = "replayed"
            alarm.alarm = alarm.alarm._replace(pending=len(alarm.queue))
        return kinds

    async def discard(self, seqs: Sequence[int]) -> list[int]:
        self._check_open()
        letters = list(self._letters(seqs))
        for letter in letters:
            letter.handled = "discarded"
        return [letter.report.seq for letter in letters]

    def _letters(self, seqs: Sequence[int]) -> Iterator[_Report]:
        for seq in sorted(set(seqs) & self._reports.keys()):
            if self._reports[seq].is_letter:
                yield self._reports[seq]

    async def rejects(self, after: int, limit: int) -> list[RejectRow]:
        self._check_open()
        return [row for row in self._rejects if row.id > after][:limit]

    # upkeep

    async def maintain(self, now: Micros, retention: Retention) -> None:
        self._check_open()
        for seq, row in list(self._reports.items()):
            kept = retention.dead if row.outcome is Outcome.DEAD else retention.delivered
            if row.outcome is not None and row.done < now - kept:
                row.alarm.trail.remove(row)
                del self._reports[seq]
        for key, alarm in list(self._alarms.items()):
            resolved = alarm.alarm.status is Status.RESOLVED
            if resolved and not alarm.trail and alarm.last_seen < now - retention.resolved:
                del self._alarms[key]
        kept_from = now - retention.delivered
        self._senders = {id_: sender for id_, sender in self._senders.items() if sender[0] >= kept_from}
        self._rejects = [row for row in self._rejects if row.received >= kept_from]

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

    def _next_id(self, kind: str) -> int:
        self._last_id[kind] += 1
        return self._last_id[kind]


def _answers(row: _Alarm, query: AlarmQuery) -> bool:
    alarm = row.alarm
    return (
        row.id > query.after
        and query.integration in (None, row.integration)
        and query.status in (None, alarm.status)
        and query.fingerprint in (None, alarm.fingerprint)
        and has_text(query.text, alarm.fingerprint, row.labels)
        and has_labels(query.labels, row.labels)
    )


def _alarm_row(row: _Alarm) -> AlarmRow:
    return AlarmRow(
        id=row.id,
        integration=row.integration,
        alarm=row.alarm,
        labels=row.labels,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        repeats=row.repeats,
        stale=row.stale,
        accepted=row.accepted,
    )


def _past(row: _Report) -> Past:
    return Past(row.report.seq, row.report.kind, row.report.coc_alarm_id, row.outcome)
