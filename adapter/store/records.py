"""PURE: rows of SQLite and PostgreSQL -> our records, by column name, and the JSON that some columns hold.

Both schemas use the same column names. Texts of alerts are TEXT in SQLite and bytea in PostgreSQL, whose text refuses
NUL; the functions here take either. The constants are lists for SELECT; they name the tables `alarm`, `report` and
`webhook`. What only one engine has (SQLite's head and due_at, PostgreSQL's key, due and lease) is not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from pydantic_core import from_json, to_json

from adapter.alarm import Accepted, Alarm, Attempt, Kind, Outcome, Pause, Report, Status
from adapter.clock import Micros
from adapter.store.contract import Claim
from adapter.store.replay import Past
from adapter.store.views import AlarmRow, Provenance, RecentRow, Refusal, RejectRow, ReportRow, TrackedAlarm

KEPT_ATTEMPTS: Final = 10

ALARM_COLUMNS: Final = ", ".join(f"alarm.{name}" for name in Alarm._fields)
ACCEPTED_COLUMNS: Final = "alarm.accepted_body, alarm.accepted_status, alarm.accepted_at, alarm.accepted_episode"
ALARM_ROW_COLUMNS: Final = (
    f"alarm.id, alarm.integration, {ALARM_COLUMNS}, alarm.labels, alarm.first_seen, alarm.last_seen, alarm.repeats,"
    f" alarm.stale, alarm.conflicts, {ACCEPTED_COLUMNS}, alarm.fell_back, alarm.earlier_episode, alarm.earlier_outcome"
)
TRACKED_COLUMNS: Final = ", ".join(TrackedAlarm._fields)
REPORT_COLUMNS: Final = (
    "report.seq, report.integration, alarm.fingerprint, report.episode, report.kind, report.coc_alarm_id, report.raw,"
    " report.received, report.webhook, report.attempts, report.refused, report.body"
)
CLAIM_COLUMNS: Final = (
    f"{REPORT_COLUMNS}, {ACCEPTED_COLUMNS}, alarm.earlier_episode, alarm.earlier_outcome, alarm.maybe_sent_episode"
)
REPORT_ROW_COLUMNS: Final = (
    f"{REPORT_COLUMNS}, report.outcome, report.handled, report.done, report.attempt_log, report.provenance,"
    " report.provenance_body, webhook.receiver, webhook.external_url, webhook.alerts"
)
RECENT_COLUMNS: Final = (
    "report.seq, report.integration, alarm.fingerprint, alarm.status, alarm.labels, report.provenance"
)
PAUSE_COLUMNS: Final = "integration, reason, since, asked_by, detail"
DIRECTORY_COLUMNS: Final = "integration, fetched, nodes"
REFUSAL_COLUMNS: Final = "seq, integration, alarm, done, attempt_log"
REJECT_COLUMNS: Final = "id, integration, received, reason, head"


class Row(Protocol):
    """sqlite3.Row or asyncpg.Record."""

    def __getitem__(self, column: str, /) -> Any: ...

    def keys(self) -> Iterable[str]: ...


def alarm_of(row: Row) -> Alarm:
    return Alarm(
        fingerprint=_text(row["fingerprint"]),
        status=Status(row["status"]),
        episode=row["episode"],
        coc_alarm_id=row["coc_alarm_id"],
        starts=row["starts"],
        ends=row["ends"],
        content=row["content"],
        revision=row["revision"],
        last_accepted_at=row["last_accepted_at"],
        pending=row["pending"],
        priority=row["priority"],
        origin=_text(row["origin"]),
        receiver=_text(row["receiver"]),
        reconciled=row["reconciled"],
        changed=row["changed"],
    )


def accepted_of(row: Row) -> Accepted | None:
    body = row["accepted_body"]
    if body is None:
        return None
    return Accepted(body=body, status=row["accepted_status"], at=row["accepted_at"], episode=row["accepted_episode"])


def accepted_columns(accepted: Accepted | None) -> tuple[bytes | None, str | None, Micros | None, int]:
    """In the order of ACCEPTED_COLUMNS."""
    if accepted is None:
        return None, None, None, 0
    return accepted.body, accepted.status, accepted.at, accepted.episode


def alarm_row(row: Row) -> AlarmRow:
    return AlarmRow(
        id=row["id"],
        integration=row["integration"],
        alarm=alarm_of(row),
        labels=labels_from_json(row["labels"]),
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
        repeats=row["repeats"],
        stale=row["stale"],
        conflicts=row["conflicts"],
        accepted=accepted_of(row),
        fell_back=bool(row["fell_back"]),
        dropped=row["earlier_outcome"] == Outcome.DROPPED and row["earlier_episode"] == row["episode"],
    )


def tracked_of(row: AlarmRow) -> TrackedAlarm:
    fields = {name: getattr(row.alarm, name) for name in TrackedAlarm._fields[1:-1]}
    return TrackedAlarm(id=row.id, last_seen=row.last_seen, **fields)


def report_of(row: Row) -> Report:
    return Report(
        seq=row["seq"],
        integration=row["integration"],
        fingerprint=_text(row["fingerprint"]),
        episode=row["episode"],
        kind=Kind(row["kind"]),
        coc_alarm_id=row["coc_alarm_id"],
        raw=row["raw"],
        received=row["received"],
        webhook=row["webhook"],
        attempts=row["attempts"],
        refused=bool(row["refused"]),
        body=row["body"],
    )


def claim_of(row: Row, *, maybe_sent_upto: int = 0, lease_token: int = 0, send_before: float | None = None) -> Claim:
    """`maybe_sent_upto`: every report up to this seq may have been sent before a crash."""
    report = report_of(row)
    return Claim(
        report=report,
        accepted=accepted_of(row),
        earlier=outcome_of(row["earlier_outcome"]) if row["earlier_episode"] == report.episode else None,
        maybe_sent=row["maybe_sent_episode"] == report.episode or report.seq <= maybe_sent_upto,
        token=lease_token,
        send_before=send_before,
    )


def report_row(row: Row, *, due_in: float | None) -> ReportRow:
    """`due_in`: seconds, for the head of its alarm's queue."""
    outcome = outcome_of(row["outcome"])
    receiver = row["receiver"]  # NULL where the webhook is pruned
    sender = {} if receiver is None else {
        "receiver": _text(receiver), "externalURL": _text(row["external_url"]), "alerts": row["alerts"]
    }  # fmt: skip
    return ReportRow(
        report=report_of(row),
        outcome=outcome,
        replayed=row["handled"] == "replayed",
        done=row["done"] if outcome else 0,
        due_in=due_in,
        provenance=provenance_from_json(row["provenance"], row["provenance_body"]),
        attempts=attempts_from_json(row["attempt_log"]),
        sender=sender,
    )


def recent_row(row: Row) -> RecentRow:
    provenance = provenance_from_json(row["provenance"], None)
    return RecentRow(
        seq=row["seq"],
        integration=row["integration"],
        fingerprint=_text(row["fingerprint"]),
        status=Status(row["status"]),
        labels=labels_from_json(row["labels"]),
        rule=provenance.rule if provenance else None,
        rendered=provenance is not None,
        fell_back=provenance is not None and bool(provenance.fallbacks),
    )


def pause_of(row: Row) -> Pause:
    return Pause(reason=row["reason"], since=row["since"], by=row["asked_by"], detail=row["detail"])


def past_of(row: Row) -> Past:
    return Past(row["seq"], Kind(row["kind"]), row["coc_alarm_id"], outcome_of(row["outcome"]))


def refusal_of(row: Row) -> Refusal:
    """Of the columns REFUSAL_COLUMNS."""
    return refusal(row["seq"], row["integration"], row["alarm"], row["done"], attempts_from_json(row["attempt_log"]))


def refusal(seq: int, integration: str, alarm: int, at: Micros, attempts: Sequence[Attempt]) -> Refusal:
    status, code, message = (attempts[-1].status, attempts[-1].code, attempts[-1].message) if attempts else (0, "", "")
    return Refusal(seq, integration, alarm, at, status, code, message)


def reject_row(row: Row) -> RejectRow:
    return RejectRow(
        id=row["id"],
        integration=row["integration"],
        received=row["received"],
        reason=_text(row["reason"]),
        head=row["head"],
    )


def outcome_of(text: str | None) -> Outcome | None:
    return Outcome(text) if text else None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def attempts_to_json(before: str | None, attempts: Sequence[Attempt]) -> str | None:
    """Column `attempt_log`: the last ten of those already written and these."""
    if not attempts:
        return before
    rows = from_json(before) if before else []
    rows += [[a.at, a.seconds, a.reason, a.status, a.code, a.message, a.ambiguous] for a in attempts[-KEPT_ATTEMPTS:]]
    return to_json(rows[-KEPT_ATTEMPTS:]).decode()


def attempts_from_json(text: str | None) -> tuple[Attempt, ...]:
    names = ("at", "seconds", "reason", "status", "code", "message", "ambiguous")
    return tuple(Attempt(**dict(zip(names, row, strict=True))) for row in from_json(text)) if text else ()


def provenance_to_json(provenance: Provenance) -> str:
    """Column `provenance`: all but the body, which `provenance_body` holds as bytes."""
    return to_json(
        [provenance.rule, provenance.mapping, provenance.revision, provenance.fallbacks, provenance.clipped]
    ).decode()


def provenance_from_json(text: str | None, body: bytes | None) -> Provenance | None:
    if not text:
        return None
    rule, mapping, revision, fallbacks, clipped = from_json(text)
    return Provenance(
        rule=rule,
        mapping=mapping,
        revision=revision,
        fallbacks=tuple((name, reason) for name, reason in fallbacks),
        clipped=tuple(clipped),
        body=body,
    )


def labels_to_json(labels: Mapping[str, str]) -> str:
    return to_json(labels).decode()


def labels_from_json(text: str | bytes) -> dict[str, str]:
    labels: dict[str, str] = from_json(text)
    return labels
