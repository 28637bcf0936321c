"""Reading from SQLite: claims, and what operators ask for. Every function runs inside one read transaction."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from pydantic_core import from_json, to_json

from adapter.alarm import Accepted, Alarm, Kind, Outcome, Pause, Report, Status
from adapter.clock import SECOND
from adapter.store.base import AlarmQuery, AlarmRow, Claim, Counts, RejectRow, ReportRow
from adapter.store.jsonform import (
    attempts_from_json,
    has_labels,
    has_text,
    labels_from_json,
    made_from_json,
    rebuilt,
)
from adapter.store.sqlite_damage import DamagedRow
from adapter.store.sqlite_settle import checksum, making_checksum

CLAIM_BYTES: Final = 8 * 1024 * 1024  # of alerts in one answer, one at least

_DUE: Final = """SELECT id, due_at FROM alarm WHERE integration = ? AND head IS NOT NULL AND due_at <= ?
    ORDER BY due_at, id LIMIT ?"""
_LATER: Final = """SELECT due_at FROM alarm WHERE integration = ? AND head IS NOT NULL AND due_at > ?
    ORDER BY due_at LIMIT 1"""
# The statements below are put together from these constants alone, which is why S608 is off for them.
_REPORT: Final = """report.seq, report.integration, alarm.fingerprint, report.episode, report.kind,
    report.coc_alarm_id, report.raw, report.received, report.webhook, report.attempts, report.refused, report.body"""
_ALARM: Final = "status, episode, coc_alarm_id, starts, ends, content, revision, heard, pending"
_ACCEPTED: Final = "accepted_body, accepted_status, accepted_at"
_CLAIM: Final = f"""SELECT {_REPORT}, report.crc, {_ACCEPTED}, accepted_crc, earlier, earlier_episode, doubt_episode
    FROM alarm JOIN report ON report.seq = alarm.head WHERE alarm.id = ?"""  # noqa: S608
_ROW: Final = f"""SELECT {_REPORT}, report.outcome, fate, done, log, made, made_body,
    CASE WHEN alarm.head = report.seq THEN alarm.due_at END, intake.receiver, intake.external_url, intake.alerts
    FROM report {{}} JOIN alarm ON alarm.id = report.alarm LEFT JOIN intake ON intake.id = report.webhook
    WHERE {{}} LIMIT ?"""  # noqa: S608
_TRAIL: Final = _ROW.format(
    "",
    """report.alarm = (SELECT id FROM alarm WHERE integration = ? AND fingerprint = ?)
    ORDER BY report.seq DESC""",
)
_LETTERS: Final = _ROW.format(
    "INDEXED BY report_letter",
    """report.outcome = 'dead' AND report.fate IS NULL AND report.seq > ?
    AND (? IS NULL OR report.integration = ?) ORDER BY report.seq""",
)
_OLDEST: Final = """SELECT received FROM report WHERE outcome IS NULL AND integration = ? ORDER BY seq LIMIT 1"""


class Due(NamedTuple):
    """Claims and the alarms they belong to; `damaged` are those whose stored alert no longer matches its checksum."""

    claims: list[Claim]
    alarms: list[int]
    damaged: list[int]
    next_due: int | None  # steady microseconds


def due(connection: sqlite3.Connection, integration: str, limit: int, *, tick: int, busy: set[int]) -> Due:
    """The alarms due by `tick`, longest first. The `busy` are passed over by the index alone."""
    rows = connection.execute(_DUE, (integration, tick, limit + len(busy)))
    chosen = [id_ for id_, _ in rows if id_ not in busy][:limit]
    claims: list[Claim] = []
    damaged: list[int] = []
    size = 0
    doubtful = connection.execute("SELECT doubtful FROM counter").fetchone()[0] if chosen else 0
    for alarm in chosen:
        if size >= CLAIM_BYTES:
            return Due(claims, chosen[: len(claims)], damaged, next_due=0)
        row = connection.execute(_CLAIM, (alarm,)).fetchone()
        try:
            claim, sound = _claim(row, connection, alarm, doubtful)
        except (TypeError, ValueError) as exc:
            raise DamagedRow("a row of an alarm or its report holds what was never written") from exc
        claims.append(claim)
        size += len(claim.report.raw)
        if not sound:
            damaged.append(claim.report.seq)
    later = connection.execute(_LATER, (integration, tick)).fetchone() if len(chosen) < limit else None
    return Due(claims, chosen, damaged, later[0] if later else None)


def _claim(row: tuple[Any, ...], connection: sqlite3.Connection, alarm: int, doubtful: int) -> tuple[Claim, bool]:
    crc, body, status, at, accepted_crc, earlier, earlier_episode, doubt_episode = row[12:]
    if body is not None and zlib.crc32(body) != accepted_crc:
        body = _sent_before(connection, alarm)
    report = _report(row[:12])
    if type(report.fingerprint) is not str or type(report.raw) is not bytes:
        raise TypeError
    sound = checksum(report.raw, report.body) == crc
    if not sound:
        report = _rebuilt(report, connection, alarm)
    claim = Claim(
        report=report,
        accepted=None if body is None else Accepted(body=body, status=status, at=at),
        earlier=Outcome(earlier) if earlier and earlier_episode == report.episode else None,
        doubt=doubt_episode == report.episode or report.seq <= doubtful,
    )
    return claim, sound


def _sent_before(connection: sqlite3.Connection, alarm: int) -> bytes:
    """The body of the last delivered report, in place of the alarm's own copy of it that was damaged on disk."""
    row = connection.execute(
        """SELECT log, made, made_body, made_crc FROM report WHERE alarm = ? AND outcome = 'delivered'
           ORDER BY seq DESC LIMIT 1""",
        (alarm,),
    ).fetchone()
    sound = row is not None and row[2] is not None and making_checksum(*row[:3]) == row[3]
    return row[2] if sound else b"{}"


def _rebuilt(report: Report, connection: sqlite3.Connection, id_: int) -> Report:
    """The alarm is reported with what its row still knows; the damaged bytes stay in the file for a person."""
    fingerprint, labels, *alarm = connection.execute(
        f"SELECT fingerprint, labels, {_ALARM} FROM alarm WHERE id = ?",  # noqa: S608
        (id_,),
    ).fetchone()
    try:
        names = labels_from_json(labels)
    except ValueError:
        names = {}
    known = Alarm(fingerprint, Status(alarm[0]), *alarm[1:])
    resolved = report.kind is Kind.OK or (report.kind is Kind.REASSERT and known.status is Status.RESOLVED)
    return replace(report, raw=rebuilt(known, resolved, names), body=None)


def _report(row: Sequence[Any]) -> Report:
    seq, integration, fingerprint, episode, kind, coc_alarm_id, raw, received, webhook, attempts, refused, body = row[
        :12
    ]
    return Report(
        seq=seq,
        integration=integration,
        fingerprint=fingerprint,
        episode=episode,
        kind=Kind(kind),
        coc_alarm_id=coc_alarm_id,
        raw=raw,
        received=received,
        webhook=webhook,
        attempts=attempts,
        refused=bool(refused),
        body=body,
    )


def _report_row(row: tuple[Any, ...], tick: int) -> ReportRow:
    outcome, fate, done, log, made, made_body, due_at, receiver, external_url, alerts = row[12:]
    sender = {} if receiver is None else {"receiver": receiver, "externalURL": external_url, "alerts": alerts}
    return ReportRow(
        report=_report(row[:12]),
        outcome=None if outcome is None else Outcome(outcome),
        replayed=fate == "replayed",
        done=0 if outcome is None else done,
        due_in=None if due_at is None else (due_at - tick) / SECOND,
        made=made_from_json(made, made_body),
        attempts=attempts_from_json(log),
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
        "SELECT name, pending, open_alarms, dead FROM integration"
    ).fetchall():
        oldest = connection.execute(_OLDEST, (name,)).fetchone()
        found[name] = Counts(pending=pending, open_alarms=open_alarms, oldest=oldest[0] if oldest else None, dead=dead)
    return found


def pauses(connection: sqlite3.Connection) -> dict[str, Pause]:
    rows = connection.execute(
        """SELECT name, pause_reason, pause_since, pause_by, pause_detail FROM integration
           WHERE pause_reason IS NOT NULL"""
    )
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
        f"""SELECT id, integration, labels, first_seen, last_seen, repeats, stale, {_ACCEPTED}, fingerprint, {_ALARM}
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


def last_due(connection: sqlite3.Connection) -> int:
    """The latest due time of any waiting alarm, by one look into the index per integration."""
    names: Iterable[tuple[str]] = connection.execute("SELECT name FROM integration").fetchall()
    latest = [
        connection.execute("SELECT max(due_at) FROM alarm WHERE integration = ? AND head IS NOT NULL", name).fetchone()[
            0
        ]
        for name in names
    ]
    return max((due_at for due_at in latest if due_at is not None), default=0)
