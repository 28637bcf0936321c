"""The intake transaction in memory: plan everything first, since nothing can be rolled back."""

from __future__ import annotations

from collections import Counter

from adapter.alarm import Kind, News, Outcome, Report, Status
from adapter.store.backlog import Added, refuse_over
from adapter.store.contract import Intake, Receipt
from adapter.store.memory_state import HeldAlarm, HeldReport, State
from adapter.store.plan import Change, changes


def accept(state: State, intake: Intake, *, bound: int, now: float) -> Receipt:
    """Apply one webhook. `now` is monotonic seconds."""
    name = intake.integration
    known = {
        a.fingerprint: state.alarms[name, a.fingerprint].alarm
        for a in intake.webhook.alerts
        if (name, a.fingerprint) in state.alarms
    }
    made = changes(known, intake)
    webhook = state.webhook + 1
    planned = _plan(state, made, intake, webhook)
    added = Added()
    added.count(made, superseding=sum(old is not None for _, old in planned))
    refuse_over(bound, state.pending.total(), added)

    owes = any(new is not None for new, _ in planned) or bool(intake.webhook.rejects)
    news = Counter({News.REJECTED: len(intake.webhook.rejects)})
    for change, (new, old) in zip(made, planned, strict=True):
        news[change.step.news] += 1
        _apply(state, change, new, old, intake, now)
    if owes:
        group = intake.webhook.group
        state.webhook = webhook
        state.senders[webhook] = (
            intake.received,
            {"receiver": group.receiver, "externalURL": group.externalURL, "alerts": len(intake.webhook.alerts)},
        )
    state.keep(name, intake.received, intake.webhook.rejects)
    return Receipt(
        webhook=webhook if owes else 0,
        news=dict(news),
        owed=tuple((new.report.fingerprint, new.report.kind) for new, _ in planned if new is not None),
        superseded=sum(old is not None for _, old in planned),
        pending=state.pending[name],
        open_alarms=state.open[name],
    )


def _plan(
    state: State, made: list[Change], intake: Intake, webhook: int
) -> list[tuple[HeldReport | None, HeldReport | None]]:
    """For each change the report it owes and the untried update that this one replaces."""
    plan: list[tuple[HeldReport | None, HeldReport | None]] = []
    newest: dict[str, HeldReport] = {}
    for change in made:
        alarm, owed = change.step.alarm, change.step.owed
        if alarm is None or owed is None:
            plan.append((None, None))
            continue
        fingerprint = alarm.fingerprint
        last = newest.get(fingerprint) or _last_pending(state, intake.integration, fingerprint)
        replaces = owed is Kind.UPDATE and last is not None and _untried_update(state, last)
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
        newest[fingerprint] = HeldReport(report=report)
        plan.append((newest[fingerprint], last if replaces else None))
    return plan


def _last_pending(state: State, integration: str, fingerprint: str) -> HeldReport | None:
    entry = state.alarms.get((integration, fingerprint))
    return entry.queue[-1] if entry and entry.queue else None


def _untried_update(state: State, row: HeldReport) -> bool:
    return row.report.kind is Kind.UPDATE and row.report.attempts == 0 and row.report.seq not in state.in_flight


def _apply(
    state: State, change: Change, new: HeldReport | None, old: HeldReport | None, intake: Intake, now: float
) -> None:
    step = change.step
    if step.alarm is None:
        return
    key = intake.integration, step.alarm.fingerprint
    entry = state.alarms.get(key)
    if entry is None:
        state.alarm += 1
        entry = state.alarms[key] = HeldAlarm(
            id=state.alarm,
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
    state.open[intake.integration] += (step.alarm.status is Status.FIRING) - was_open
    entry.alarm = step.alarm._replace(last_accepted_at=entry.alarm.last_accepted_at)
    if new is not None:
        entry.labels = dict(change.alert.labels)
        due = entry.due
        if old is not None:
            state.leave(entry, old, Outcome.SUPERSEDED, intake.received)
            if old.report.seq and old.report.seq <= state.doubtful:
                entry.doubt = old.report.episode
        state.append(entry, new, now)
        if old is not None:
            entry.due = due  # a flapping alarm keeps its place in the line
    entry.alarm = entry.alarm._replace(pending=len(entry.queue))
