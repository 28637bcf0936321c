"""PURE: explains what COC was sent about one alarm and why, in sentences that a person on call can act on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from adapter.admin.sentences import TEXTS
from adapter.alarm import Outcome, Pause, Status
from adapter.alertmanager import unpack
from adapter.clock import SECOND, Micros, moment
from adapter.mapping.render.request import Reason
from adapter.mapping.rules.language import WHEN
from adapter.store.views import AlarmRow, Provenance, ReportRow


class Sentence(NamedTuple):
    """A sentence, or a part of one: `code` names its wording in `sentences.TEXTS`, `args` are what stands in it."""

    code: str
    args: Mapping[str, str | int | Sentence]
    text: str


def say(code: str, **args: str | int | Sentence) -> Sentence:
    words = {name: value.text if isinstance(value, Sentence) else value for name, value in args.items()}
    return Sentence(code, args, TEXTS[code].format(**words))


_NOTHING = Sentence("nothing", {}, "")


def explain(
    alarm: AlarmRow | None,
    reports: Sequence[ReportRow],
    *,
    pause: Pause | None,
    breaker: str | None,
    now: Micros,
    standing: Sequence[str] = (),
) -> list[Sentence]:
    """The most important first. `reports` newest first, as a store's `trail` gives them.

    `breaker`: its state; None where the integration is not in adapter.yml. `standing`: what reconciling says of the
    alarm.
    """
    if alarm is None:
        return [say("never_received"), say("where_to_look")]
    told = [_state(alarm)]
    if breaker is None:
        told.append(say("orphan", integration=alarm.integration))
    pending = [row for row in reports if row.outcome is None]
    if pending:
        told.append(_waiting(pending[-1], len(pending), pause, breaker))
    done = [row for row in reports if row.outcome is not None]
    if done:
        told.append(_last(done[0]))
    told += [Sentence("reconciling", {}, text) for text in (*_evidence(reports), *standing)]
    told += _silences(alarm, now)
    if alarm.conflicts:
        told.append(say("conflicts", count=alarm.conflicts))
    return told


def _state(row: AlarmRow) -> Sentence:
    alarm = row.alarm
    firing = alarm.status is Status.FIRING
    moment = alarm.starts if firing else alarm.ends
    state = say("firing" if firing else "resolved", at=when(moment))
    if not moment:
        state = say("untimed", status=alarm.status.value)
    if row.accepted is None:
        return say("state", state=state)
    return say("state_at_coc", state=state, status=row.accepted.status, at=when(row.accepted.at))


def _waiting(head: ReportRow, count: int, pause: Pause | None, breaker: str | None) -> Sentence:
    article = "" if head.report.kind.value[0] in "aou" else "_a"
    number = "one" if count == 1 else "some"
    what = say(f"{number}_waiting{article}", count=count, kind=head.report.kind.value, id=head.report.seq)
    if pause is not None:
        detail = say("detail", detail=pause.detail) if pause.detail else _NOTHING
        then = say("probed" if pause.automatic else "resume")
        since = when(pause.since)
        return say("waiting_paused", what=what, since=since, by=pause.by, reason=pause.reason, detail=detail, then=then)
    if head.attempts:
        last = head.attempts[-1]
        answer = " ".join(part for part in (str(last.status or ""), last.code, last.message) if part)
        due = say("next_try", seconds=round(head.due_in)) if head.due_in and head.due_in > 0.5 else say("next_at_once")
        if breaker == "open":
            due = say("next_probe")
        tried, at = _times(head.report.attempts), when(last.at)
        return say("waiting_tried", what=what, tried=tried, at=at, verdict=last.reason, answer=answer, due=due)
    return say("waiting_silent" if breaker == "open" else "waiting_untried", what=what)


def _last(row: ReportRow) -> Sentence:
    source = row.provenance
    refused = source is not None and Reason.REFUSED in (reason for _, reason in source.fallbacks)
    head = say("settled", kind=row.report.kind.value, id=row.report.seq, at=when(row.done))
    rule = _rule(source)
    match row.outcome:
        case Outcome.DELIVERED if refused:
            return say("delivered_built_in", head=head, rule=rule)
        case Outcome.DELIVERED:
            return say("delivered", head=head, rule=rule, marks=_marks(source.fallbacks if source else ()))
        case Outcome.UNNEEDED | Outcome.DROPPED:
            return say(row.outcome.value, head=head, rule=rule)
        case Outcome.DEAD:
            return _dead(row, head, say("twice_refused", rule=rule) if refused else _NOTHING)
        case Outcome.DISCARDED:
            return say("discarded", head=head)
    if row.report.attempts:
        return say("superseded_tried", head=head, tried=_times(row.report.attempts))
    return say("superseded", head=head)


def _dead(row: ReportRow, head: Sentence, twice: Sentence) -> Sentence:
    last = row.attempts[-1] if row.attempts else None
    answer = say("answer", status=last.status, error=last.code, message=last.message) if last else say("unsendable")
    then = say("replayed") if row.replayed else say("replay", id=row.report.seq)
    return say("dead", head=head, answer=answer, twice=twice, then=then)


def _evidence(reports: Sequence[ReportRow]) -> list[str]:
    """What reconciling did last about the alarm, and why."""
    for row in reports:
        if b'"evidence":' in row.report.raw:
            with suppress(ValueError, KeyError):  # bytes that a disk has changed
                if evidence := unpack(row.report.raw)[1].get("evidence"):
                    return [str(evidence)]
    return []


def _rule(source: Provenance | None) -> Sentence:
    if source is None or not source.rule:
        return say("no_rule")
    return say("rule", rule=source.rule, mapping=source.mapping or "", revision=source.revision)


def _marks(fallbacks: Sequence[tuple[str, str]]) -> Sentence:
    fields = ", ".join(field for field, _ in fallbacks if field != WHEN)
    failed = next((reason for field, reason in fallbacks if field == WHEN), "")
    fell_back = say("fell_back", fields=fields) if fields else _NOTHING
    return say("condition_failed", fell_back=fell_back, reason=failed) if failed else fell_back


def _silences(row: AlarmRow, now: Micros) -> Iterator[Sentence]:
    last_seen = when(row.last_seen)
    if row.repeats:
        yield say("repeated", repeated=_times(row.repeats), at=last_seen)
    elif row.alarm.status is Status.FIRING and now - row.last_seen > 86_400 * SECOND:
        yield say("unseen", at=last_seen)
    if row.stale:
        yield say("stale_one" if row.stale == 1 else "stale_some", count=row.stale)


def _times(count: int) -> Sentence:
    return say("once") if count == 1 else say("times", count=count)


def when(micros: Micros) -> str:
    """UTC to the second, or `never`."""
    if not micros:
        return "never"
    return moment(micros).strftime("%Y-%m-%d %H:%M:%S UTC")
