"""What operators ask of the memory store, and what they and time do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adapter.alarm import Kind, Outcome, Status
from adapter.clock import Micros
from adapter.store import replay as again
from adapter.store.contract import Retention
from adapter.store.memory_state import HeldAlarm, HeldReport, State
from adapter.store.records import has_labels, has_text
from adapter.store.views import AlarmQuery, AlarmRow, Counts, RejectRow, ReportRow


def counts(state: State) -> dict[str, Counts]:
    names = dict.fromkeys([name for name, _ in state.alarms] + list(state.pauses))
    return {name: _counts(state, name) for name in names}


def _counts(state: State, name: str) -> Counts:
    rows = [row for entry, row in state.reports.values() if entry.integration == name]
    return Counts(
        pending=state.pending[name],
        open_alarms=state.open[name],
        oldest=next((row.report.received for row in rows if row.outcome is None), None),
        dead=sum(row.outcome is Outcome.DEAD and not row.fate for row in rows),
    )


def alarms(state: State, query: AlarmQuery) -> list[AlarmRow]:
    found = [entry for entry in sorted(state.alarms.values(), key=lambda entry: entry.id) if _answers(entry, query)]
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


def trail(state: State, integration: str, fingerprint: str, limit: int, now: float) -> list[ReportRow]:
    entry = state.alarms.get((integration, fingerprint))
    return [_row(state, entry, row, now) for row in reversed(entry.trail)][:limit] if entry else []


def dead_letters(state: State, integration: str | None, after: int, limit: int, now: float) -> list[ReportRow]:
    return [
        _row(state, entry, row, now)
        for seq, (entry, row) in state.reports.items()
        if seq > after and row.outcome is Outcome.DEAD and not row.fate and integration in (None, entry.integration)
    ][:limit]


def _row(state: State, entry: HeldAlarm, row: HeldReport, now: float) -> ReportRow:
    head = row.outcome is None and entry.queue[0] is row
    return ReportRow(
        report=row.report,
        outcome=row.outcome,
        replayed=row.fate == "replayed",
        done=row.done,
        due_in=entry.due - now if head else None,
        provenance=row.provenance,
        attempts=row.attempts,
        sender=state.senders.get(row.report.webhook, (0, {}))[1],
    )


def replay(
    state: State, seqs: Sequence[int], *, as_sent: bool, wall: Micros, now: float
) -> dict[int, tuple[Kind, ...]]:
    kinds: dict[int, tuple[Kind, ...]] = {}
    letters: dict[int, list[int]] = {}
    for seq in sorted(set(seqs)):
        if _is_letter(state, seq):
            letters.setdefault(state.reports[seq][0].id, []).append(seq)
    for chosen in letters.values():
        entry = state.reports[chosen[0]][0]
        past = {
            r.report.seq: again.Past(r.report.seq, r.report.kind, r.report.coc_alarm_id, r.outcome) for r in entry.trail
        }
        for owed in again.replayed([past[seq] for seq in chosen], past.values()):
            state.append(entry, _again(state, owed, as_sent=as_sent, at=wall), now)
            kinds[owed.asked] = (*kinds.get(owed.asked, ()), owed.kind)
        for seq in chosen:
            state.reports[seq][1].fate = "replayed"
        entry.alarm = entry.alarm._replace(pending=len(entry.queue))
    return kinds


def _again(state: State, owed: again.Owed, *, as_sent: bool, at: Micros) -> HeldReport:
    source = state.reports[owed.source][1]
    sent = source.provenance.body if as_sent and source.provenance and owed.kind is not Kind.REASSERT else None
    report = replace(source.report, kind=owed.kind, received=at, webhook=0, attempts=0, refused=False, body=sent)
    return HeldReport(report=report)


def _is_letter(state: State, seq: int) -> bool:
    return seq in state.reports and state.reports[seq][1].outcome is Outcome.DEAD and not state.reports[seq][1].fate


def discard(state: State, seqs: Sequence[int]) -> list[int]:
    found = [seq for seq in sorted(set(seqs)) if _is_letter(state, seq)]
    for seq in found:
        state.reports[seq][1].fate = "discarded"
    return found


def rejects(state: State, after: int, limit: int) -> list[RejectRow]:
    return [row for row in state.rejects if row.id > after][:limit]


def prune(state: State, now: Micros, retention: Retention) -> None:
    for seq, (entry, row) in list(state.reports.items()):
        kept = retention.dead if row.outcome is Outcome.DEAD else retention.delivered
        if row.outcome is not None and row.done < now - kept:
            entry.trail.remove(row)
            del state.reports[seq]
    for key, entry in list(state.alarms.items()):
        if entry.alarm.status is Status.RESOLVED and not entry.trail and entry.last_seen < now - retention.resolved:
            del state.alarms[key]
    state.senders = {id_: sent for id_, sent in state.senders.items() if sent[0] >= now - retention.delivered}
    state.rejects = [row for row in state.rejects if row.received >= now - retention.delivered]


def _answers(entry: HeldAlarm, query: AlarmQuery) -> bool:
    alarm = entry.alarm
    return (
        entry.id > query.after
        and query.integration in (None, entry.integration)
        and query.status in (None, alarm.status)
        and query.fingerprint in (None, alarm.fingerprint)
        and has_text(query.text, alarm.fingerprint, entry.labels)
        and has_labels(query.labels, entry.labels)
    )
