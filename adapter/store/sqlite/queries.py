"""What operators ask of SQLite. Every function runs inside one read transaction."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from pydantic_core import from_json, to_json

from adapter.alarm import Accepted, Alarm, Outcome, Pause, Status
from adapter.clock import SECOND
from adapter.store.records import attempts_from_json, has_labels, has_text, labels_from_json, provenance_from_json
from adapter.store.sqlite.claims import ACCEPTED, ALARM, REPORT, report_of
from adapter.store.views import AlarmQuery, AlarmRow, Counts, RejectRow, ReportRow

# The statements below are put together from these constants alone, which is why S608 is off for them.
_ROW: Final = f"""SELECT {REPORT}, report.outcome, handled, done, attempt_log, provenance, provenance_body,
    CASE WHEN alarm.head = report.seq THEN alarm.due_at END, webhook.receiver, webhook.external_url, webhook.alerts
    FROM report {{}} JOIN alarm ON alarm.id = report.alarm LEFT JOIN webhook ON webhook.id = report.webhook
    WHERE {{}} LIMIT ?"""  # noqa: S608
_TRAIL: Final = _ROW.format(
    "",
    """report.alarm = (SELECT id FROM alarm WHERE integration = ? AND fingerprint = ?)
    ORDER BY report.seq DESC""",
)
_LETTERS: Final = _ROW.format(
    "INDEXED BY report_letter",
    """report.outcome = 'dead' AND report.handled IS NULL AND report.seq > ?
    AND (? IS NULL OR report.integration = ?) ORDER BY report.seq""",
)
_OLDEST: Final = """SELECT received FROM report WHERE outcome IS NULL AND integration = ? ORDER BY seq LIMIT 1"""


def _report_row(row: tuple[Any, ...], tick: int) -> ReportRow:
    outcome, handled, done, attempt_log, provenance, provenance_body, due_at, receiver, external_url, alerts = row[12:]
    sender = {} if receiver is None else {"receiver": receiver, "externalURL": external_url, "alerts": alerts}
    return ReportRow(
        report=report_of(row[:12]),
        outcome=None if outcome is None else Outcome(outcome),
        replayed=handled == "replayed",
        done=0 if outcome is None else done,
        due_in=None if due_at is None else (due_at - tick) / SECOND,
        provenance=provenance_from_json(provenance, provenance_body),
        attempts=attempts_from_json(attempt_log),
        sender=sender,
    )


def trail(connection: sqlite3.Connection, integration: str, fingerprint: str, limit: int, tick: int) -> list[ReportRow]:
    return [_report_row(row, tick) for row in connection.execute(_TRAIL, (integration, fingerprint, limit))]


def dead_letters(
    connection: sqlite3.Connection, integration: str | None, after: int, limit: int, tick: int
) -> list[ReportRow]:
    rows = connection.execute(_LETTERS, (after, integration, integration, limit))
    return [_report_row(row, tick) for row in rows]


def rejects(connection: sqlite3.Connection, after: int, limit: int) -> list[RejectRow]:
    rows = connection.execute(
        "SELECT id, integration, received, reason, head FROM reject WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
    )
    return [
        RejectRow(id=id_, integration=integration, received=received, reason=reason, head=head)
        for id_, integration, received, reason, head in rows
    ]


def counts(connection: sqlite3.Connection) -> dict[str, Counts]:
    found = {}
    for name, pending, open_alarms, dead in connection.execute(
        "SELECT integration, pending, open_alarms, dead FROM sums"
    ).fetchall():
        oldest = connection.execute(_OLDEST, (name,)).fetchone()
        found[name] = Counts(pending=pending, open_alarms=open_alarms, oldest=oldest[0] if oldest else None, dead=dead)
    return found


def pauses(connection: sqlite3.Connection) -> dict[str, Pause]:
    rows = connection.execute("SELECT integration, reason, since, asked_by, detail FROM pause")
    return {name: Pause(reason=reason, since=since, by=by, detail=detail) for name, reason, since, by, detail in rows}


def alarms(connection: sqlite3.Connection, query: AlarmQuery) -> list[AlarmRow]:
    """A page. Text and labels are matched in Python (SQLite folds only ASCII), while the rows stream by."""
    wanted: list[tuple[str, object]] = [("id > ?", query.after)]
    scan = "+" if query.fingerprint is None else ""  # keeps SQLite from sorting all alarms of an integration by id
    if query.integration is not None:
        wanted.append((f"{scan}integration = ?", query.integration))
    if query.status is not None:
        wanted.append(("+status = ?", query.status.value))
    if query.fingerprint is not None:
        wanted.append(("fingerprint = ?", query.fingerprint))
    if query.text or query.labels:
        wanted.append(("matches(fingerprint, labels, ?)", to_json([query.text, query.labels]).decode()))
    where = " AND ".join(condition for condition, _ in wanted)
    rows = connection.execute(
        f"""SELECT id, integration, labels, first_seen, last_seen, repeats, stale, {ACCEPTED}, fingerprint, {ALARM}
            FROM alarm WHERE {where} ORDER BY id LIMIT ?""",  # noqa: S608
        (*(value for _, value in wanted), query.limit),
    )
    return [_alarm_row(row) for row in rows]


def _alarm_row(row: tuple[Any, ...]) -> AlarmRow:
    id_, integration, labels, first_seen, last_seen, repeats, stale, body, status, at, fingerprint, *alarm = row
    return AlarmRow(
        id=id_,
        integration=integration,
        alarm=Alarm(fingerprint, Status(alarm[0]), *alarm[1:]),
        labels=labels_from_json(labels),
        first_seen=first_seen,
        last_seen=last_seen,
        repeats=repeats,
        stale=stale,
        accepted=None if body is None else Accepted(body=body, status=status, at=at),
    )


def register(connection: sqlite3.Connection) -> None:
    """The function that `alarms` calls from SQL."""
    connection.create_function("matches", 3, _matches, deterministic=True)


def _matches(fingerprint: str, labels: str, wanted: str) -> bool:
    text, equal = from_json(wanted)
    known = labels_from_json(labels)
    return has_text(text, fingerprint, known) and has_labels(equal, known)
