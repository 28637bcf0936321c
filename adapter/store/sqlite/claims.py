"""What is due, read from SQLite: the head of an alarm with what delivery must know, mended where it is damaged."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from adapter.alarm import Accepted, Alarm, Kind, Outcome, Report, Status
from adapter.store.contract import Claim
from adapter.store.records import labels_from_json, rebuilt
from adapter.store.sqlite.damage import DamagedRow
from adapter.store.sqlite.settle import checksum, making_checksum

CLAIM_BYTES: Final = 8 * 1024 * 1024  # of alerts in one answer, one at least

_DUE: Final = """SELECT id, due_at FROM alarm WHERE integration = ? AND head IS NOT NULL AND due_at <= ?
    ORDER BY due_at, id LIMIT ?"""
_LATER: Final = """SELECT due_at FROM alarm WHERE integration = ? AND head IS NOT NULL AND due_at > ?
    ORDER BY due_at LIMIT 1"""
# The statements below are put together from these constants alone, which is why S608 is off for them.
REPORT: Final = """report.seq, report.integration, alarm.fingerprint, report.episode, report.kind,
    report.coc_alarm_id, report.raw, report.received, report.webhook, report.attempts, report.refused, report.body"""
ALARM: Final = "status, episode, coc_alarm_id, starts, ends, content, revision, heard, pending"
ACCEPTED: Final = "accepted_body, accepted_status, accepted_at"
_CLAIM: Final = f"""SELECT {REPORT}, report.crc, {ACCEPTED}, accepted_crc, earlier, earlier_episode, doubt_episode
    FROM alarm JOIN report ON report.seq = alarm.head WHERE alarm.id = ?"""  # noqa: S608


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
    report = report_of(row[:12])
    if type(report.fingerprint) is not str or type(report.raw) is not bytes:
        raise TypeError
    sound = checksum(report.raw, report.body) == crc
    if not sound:
        report = _rebuilt(report, connection, alarm)
    claim = Claim(
        report=report,
        accepted=None if body is None else Accepted(body=body, status=status, at=at),
        earlier=Outcome(earlier) if earlier and earlier_episode == report.episode else None,
        maybe_sent=doubt_episode == report.episode or report.seq <= doubtful,
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
        f"SELECT fingerprint, labels, {ALARM} FROM alarm WHERE id = ?",  # noqa: S608
        (id_,),
    ).fetchone()
    try:
        names = labels_from_json(labels)
    except ValueError:
        names = {}
    known = Alarm(fingerprint, Status(alarm[0]), *alarm[1:])
    resolved = report.kind is Kind.OK or (report.kind is Kind.REASSERT and known.status is Status.RESOLVED)
    return replace(report, raw=rebuilt(known, resolved, names), body=None)


def report_of(row: Sequence[Any]) -> Report:
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
