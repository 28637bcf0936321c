"""PURE: explains what COC was sent about one alarm and why, in sentences that a person on call can act on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from adapter.alarm import Outcome, Pause, Status
from adapter.alertmanager import unpack
from adapter.clock import SECOND, Micros, moment
from adapter.mapping.render.request import Reason
from adapter.mapping.rules.language import WHEN
from adapter.store.views import AlarmRow, Provenance, ReportRow


def explain(
    alarm: AlarmRow | None,
    reports: Sequence[ReportRow],
    *,
    pause: Pause | None,
    breaker: str | None,
    now: Micros,
    standing: Sequence[str] = (),
) -> list[str]:
    """Sentences, the most important first. `reports` newest first, as a store's `trail` gives them.

    `breaker`: its state; None where the integration is not in adapter.yml. `standing`: what reconciling says of the
    alarm.
    """
    if alarm is None:
        return [
            "Never received: no webhook of this integration carried such an alert, or it was resolved so long ago that "
            "it is forgotten.",
            "Look at Alertmanager's route and silences, at the rejects (/api/v1/rejects), and whether webhooks were "
            "truncated (max_alerts).",
        ]
    lines = [_state(alarm)]
    if breaker is None:
        lines.append(
            f"Integration {alarm.integration!r} is not in adapter.yml, so nothing is sent about it: `coc-adapter "
            f"integrations move {alarm.integration} NEW` gives its alarms to another one, `discard` ends them."
        )
    pending = [row for row in reports if row.outcome is None]
    if pending:
        lines.append(_waiting(pending[-1], len(pending), pause, breaker))
    done = [row for row in reports if row.outcome is not None]
    if done:
        lines.append(_last(done[0]))
    lines += _evidence(reports)
    lines += standing
    lines += _silences(alarm, now)
    if alarm.conflicts:
        lines.append(
            f"{alarm.conflicts} times an alert came under this fingerprint with other labels than the one before. "
            "Alertmanager makes it of all labels: two alerts of another sender share it and are one alarm here, or it "
            "changes the labels of one."
        )
    return lines


def _state(row: AlarmRow) -> str:
    alarm = row.alarm
    firing = alarm.status is Status.FIRING
    moment = alarm.starts if firing else alarm.ends
    since = f"firing since {when(moment)}" if firing else f"resolved at {when(moment)}"
    if not moment:
        since = f"{alarm.status.value}, without a time"
    if row.accepted is None:
        return f"Alertmanager says {since}; COC has accepted nothing about it yet."
    return f"Alertmanager says {since}; COC has it as {row.accepted.status!r} since {when(row.accepted.at)}."


def _waiting(head: ReportRow, count: int, pause: Pause | None, breaker: str | None) -> str:
    kind = head.report.kind.value
    article = "an" if kind[0] in "aou" else "a"
    what = f"{count} report{'s' if count > 1 else ''} waiting, first {article} {kind!r} (id {head.report.seq})"
    if pause is not None:
        why = f"the integration is paused since {when(pause.since)} by {pause.by}: {pause.reason}"
        then = "it is probed every 60 s" if pause.automatic else "resume it with `coc-adapter integrations resume`"
        return f"{what}: {why}{f' ({pause.detail})' if pause.detail else ''}; {then}."
    if head.attempts:
        last = head.attempts[-1]
        words = " ".join(part for part in (str(last.status or ""), last.code, last.message) if part)
        due = f"next try in {head.due_in:.0f} s" if head.due_in and head.due_in > 0.5 else "next try at once"
        if breaker == "open":
            due = "COC does not answer, probes go on every few seconds"
        return f"{what}: tried {_times(head.report.attempts)}, last at {when(last.at)}: {last.reason} {words}; {due}."
    return f"{what}: not tried yet{', COC does not answer just now' if breaker == 'open' else ''}."


def _last(row: ReportRow) -> str:
    kind, source = row.report.kind.value, row.provenance
    rule = _rule(source)
    refused = source is not None and Reason.REFUSED in (reason for _, reason in source.fallbacks)
    head = f"Last settled: {kind!r} (id {row.report.seq}) at {when(row.done)}: "
    if row.outcome is Outcome.DELIVERED and refused:
        return f"{head}delivered, COC accepted the built-in body after it had refused the one made by {rule}."
    if row.outcome is Outcome.DELIVERED:
        return f"{head}delivered, COC accepted it, made by {rule}{_marks(source.fallbacks) if source else ''}."
    if row.outcome is Outcome.UNNEEDED:
        return f"{head}unneeded, the fields COC goes by are as COC has them; made by {rule}."
    if row.outcome is Outcome.DROPPED:
        return f"{head}dropped, {rule} says it is not to be reported."
    if row.outcome is Outcome.DEAD:
        last = row.attempts[-1] if row.attempts else None
        words = f"{last.status} {last.code} {last.message}" if last else "it could not be sent"
        then = "it was replayed" if row.replayed else f"mend and run `coc-adapter dead-letters replay {row.report.seq}`"
        what = f" (first the body made by {rule}, then the built-in one)" if refused else ""
        return f"{head}dead letter, COC refused it for good: {words}{what}; {then}."
    if row.outcome is Outcome.DISCARDED:
        return f"{head}discarded, COC never took the alarm it would close, or a person discarded it."
    tried = f"after it was tried {_times(row.report.attempts)}" if row.report.attempts else "before it was tried"
    return f"{head}superseded by a newer report {tried}."


def _evidence(reports: Sequence[ReportRow]) -> list[str]:
    """What reconciling did last about the alarm, and why."""
    for row in reports:
        if b'"evidence":' in row.report.raw:
            with suppress(ValueError, KeyError):  # bytes that a disk has changed
                if evidence := unpack(row.report.raw)[1].get("evidence"):
                    return [str(evidence)]
    return []


def _rule(source: Provenance | None) -> str:
    if source is None or not source.rule:
        return "no rule"
    return f"rule {source.rule!r} of {source.mapping} (revision {source.revision})"


def _marks(fallbacks: Sequence[tuple[str, str]]) -> str:
    fields = [field for field, _ in fallbacks if field != WHEN]
    failed = [reason for field, reason in fallbacks if field == WHEN]
    marks = f", fallback for {', '.join(fields)}" if fields else ""
    if failed:
        marks += f"; the condition of a rule before it failed ({failed[0]}), after which no rule may drop the alert"
    return marks


def _silences(row: AlarmRow, now: Micros) -> Iterator[str]:
    if row.repeats:
        yield (
            f"Alertmanager repeated it {_times(row.repeats)}, last seen {when(row.last_seen)}: nothing had changed, so "
            "nothing was sent."
        )
    elif row.alarm.status is Status.FIRING and now - row.last_seen > 86_400 * SECOND:
        yield f"Last seen {when(row.last_seen)}: Alertmanager may have lost it, a silence may hide it."
    if row.stale:
        resolves = "1 resolve was" if row.stale == 1 else f"{row.stale} resolves were"
        yield f"{resolves} older than the newest start, and ignored as stale."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def when(micros: Micros) -> str:
    """UTC to the second, or `never`."""
    if not micros:
        return "never"
    return moment(micros).strftime("%Y-%m-%d %H:%M:%S UTC")
