"""What is due, read from SQLite: the head of an alarm with what delivery must know."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from adapter.alarm import Accepted, Kind, Outcome, Report
from adapter.store.contract import Claim
from adapter.store.sqlite.recovery import DamagedRow, checksum

CLAIM_BYTES: Final = 8 * 1024 * 1024  # of alerts in one answer, one at least

_DUE: Final = """SELECT id, due_at FROM alarm WHERE integration = ? AND head IS NOT NULL AND due_at <= ?
    ORDER BY due_at, id LIMIT ?"""
_LATER: Final = """SELECT due_at FROM alarm WHERE integration = ? AND head IS NOT NULL AND due_at > ?
    ORDER BY due_at LIMIT 1"""
# The statements below are put together from these constants alone, which is why S608 is off for them.
REPORT: Final = """report.seq, report.integration, alarm.fingerprint, report.episode, report.kind,
    report.coc_alarm_id, report.raw, report.received, report.webhook, report.attempts, report.refused, report.body"""
ALARM: Final = "status, episode, coc_alarm_id, starts, ends, content, revision, last_accepted_at, pending"
ACCEPTED: Final = "accepted_body, accepted_status, accepted_at"
_CLAIM: Final = f"""SELECT {REPORT}, report.crc, {ACCEPTED}, accepted_crc, earlier_outcome, earlier_episode,
    maybe_sent_episode FROM alarm JOIN report ON report.seq = alarm.head WHERE alarm.id = ?"""  # noqa: S608


class Due(NamedTuple):
    """Claims and the alarms they belong to."""

    claims: list[Claim]
    alarms: list[int]
    next_due: int | None  # steady microseconds


def due(connection: sqlite3.Connection, integration: str, limit: int, *, tick: int, busy: set[int]) -> Due:
    """The alarms due by `tick`, longest first. The `busy` are passed over by the index alone."""
    rows = connection.execute(_DUE, (integration, tick, limit + len(busy)))
    chosen = [id_ for id_, _ in rows if id_ not in busy][:limit]
    claims: list[Claim] = []
    size = 0
    maybe_sent_upto = connection.execute("SELECT maybe_sent_upto FROM counter").fetchone()[0] if chosen else 0
    for alarm in chosen:
        if size >= CLAIM_BYTES:
            return Due(claims, chosen[: len(claims)], next_due=0)
        row = connection.execute(_CLAIM, (alarm,)).fetchone()
        try:
            claim = _claim(row, maybe_sent_upto)
        except (TypeError, ValueError) as exc:
            raise DamagedRow("a row of an alarm or its report holds what was never written") from exc
        claims.append(claim)
        size += len(claim.report.raw)
    later = connection.execute(_LATER, (integration, tick)).fetchone() if len(chosen) < limit else None
    return Due(claims, chosen, later[0] if later else None)


def _claim(row: tuple[Any, ...], maybe_sent_upto: int) -> Claim:
    crc, body, status, at, accepted_crc, earlier_outcome, earlier_episode, maybe_sent_episode = row[12:]
    report = report_of(row[:12])
    if type(report.fingerprint) is not str or checksum(report.raw, report.body) != crc:
        raise ValueError
    if body is not None and zlib.crc32(body) != accepted_crc:
        raise ValueError
    return Claim(
        report=report,
        accepted=None if body is None else Accepted(body=body, status=status, at=at),
        earlier=Outcome(earlier_outcome) if earlier_outcome and earlier_episode == report.episode else None,
        maybe_sent=maybe_sent_episode == report.episode or report.seq <= maybe_sent_upto,
    )


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
    names: Iterable[tuple[str]] = connection.execute("SELECT integration FROM sums").fetchall()
    latest = [
        connection.execute("SELECT max(due_at) FROM alarm WHERE integration = ? AND head IS NOT NULL", name).fetchone()[
            0
        ]
        for name in names
    ]
    return max((due_at for due_at in latest if due_at is not None), default=0)
