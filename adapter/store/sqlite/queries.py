"""What an operator asks of SQLite, and does: counts, alarms, trails, rejects, pauses; dead letters sent again."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from pydantic_core import to_json

from adapter.alarm import Kind, Pause
from adapter.clock import SECOND, Clock, Micros
from adapter.errors import StoreRefused
from adapter.store.last_seen import SeenLater
from adapter.store.records import (
    PAUSE_COLUMNS,
    RECENT_COLUMNS,
    REFUSAL_COLUMNS,
    REJECT_COLUMNS,
    REPORT_ROW_COLUMNS,
    past_of,
    pause_of,
    recent_row,
    refusal_of,
    reject_row,
    report_row,
)
from adapter.store.replay import Owed, kinds_by_letter, replayed
from adapter.store.sqlite.alarms import alarms, recent_alarms, tallies
from adapter.store.sqlite.database import connect_reader, migrations
from adapter.store.sqlite.reader import Reader
from adapter.store.sqlite.recovery import checksum, companions
from adapter.store.sqlite.writer import Writer
from adapter.store.views import (
    BOUNDS,
    AlarmQuery,
    AlarmRow,
    Bounds,
    Counts,
    Page,
    RecentRow,
    Refusal,
    RejectRow,
    ReportRow,
    Tally,
)

T = TypeVar("T")

# Statements are put together from constants alone, which is why S608 is off for them.
_REPORTS: Final = f"""SELECT {REPORT_ROW_COLUMNS}, CASE WHEN alarm.head = report.seq THEN alarm.due_at END AS due_at
    FROM report {{}} JOIN alarm ON alarm.id = report.alarm LEFT JOIN webhook ON webhook.id = report.webhook
    WHERE {{}} LIMIT ?"""  # noqa: S608
_TRAIL: Final = _REPORTS.format(
    "",
    """report.alarm = (SELECT id FROM alarm WHERE integration = ? AND fingerprint = ?)
    AND report.seq < ? ORDER BY report.seq DESC""",
)
_LETTERS: Final = _REPORTS.format(
    "INDEXED BY report_letter",
    """report.outcome = 'dead' AND report.handled IS NULL AND report.seq > ?
    AND (? IS NULL OR report.integration = ?) ORDER BY report.seq""",
)
_BY_SEQ: Final = _REPORTS.format("", "report.seq IN (SELECT value FROM json_each(?)) ORDER BY report.seq")
_RECENT: Final = f"""SELECT {RECENT_COLUMNS} FROM report JOIN alarm ON alarm.id = report.alarm WHERE report.seq IN (
    SELECT max(seq) FROM (SELECT seq, alarm FROM report ORDER BY seq DESC LIMIT ?) GROUP BY alarm)
    ORDER BY report.seq DESC"""  # noqa: S608
_LAST: Final = 2**63 - 1
_COUNTS: Final = "SELECT integration, pending, refreshing, open_alarms, dead FROM sums"
_OLDEST: Final = "SELECT received FROM report WHERE outcome IS NULL AND integration = ? ORDER BY seq LIMIT 1"
_REFUSALS: Final = f"""SELECT {REFUSAL_COLUMNS} FROM report INDEXED BY report_letter
    WHERE outcome = 'dead' AND handled IS NULL AND seq > ? AND (? IS NULL OR integration = ?)
    ORDER BY seq LIMIT ?"""  # noqa: S608
_REJECTS: Final = f"""SELECT {REJECT_COLUMNS} FROM reject WHERE id > ? AND id < ?
    AND (? IS NULL OR integration = ?) ORDER BY id {{}} LIMIT ?"""  # noqa: S608
_PAUSES: Final = f"SELECT {PAUSE_COLUMNS} FROM pause"  # noqa: S608
_RESUME: Final = "DELETE FROM pause WHERE integration = ? AND NOT (? AND reason = 'operator')"
_PAUSE: Final = f"INSERT INTO pause ({PAUSE_COLUMNS}) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # noqa: S608
_LETTER: Final = "SELECT alarm FROM report WHERE seq = ? AND outcome = 'dead' AND handled IS NULL"
_HANDLED: Final = "UPDATE report SET handled = ? WHERE seq = ?"
_PAST: Final = "SELECT seq, kind, coc_alarm_id, outcome FROM report WHERE alarm = ? AND seq >= ?"
_AGAIN: Final = """INSERT INTO report (seq, integration, alarm, episode, kind, coc_alarm_id, received, webhook, crc,
    body, raw) SELECT ?, integration, alarm, episode, ?, coc_alarm_id, ?, 0, ?, ?, raw FROM report WHERE seq = ?"""
_NO_REFRESH: Final = """UPDATE sums SET refreshing = refreshing - 1 WHERE integration = (SELECT integration FROM alarm
    WHERE id = ? AND priority = 1 AND pending > 0)"""
_QUEUE: Final = """UPDATE alarm SET pending = pending + ?, priority = 0,
    due_at = CASE WHEN head IS NULL THEN ? ELSE due_at END, head = coalesce(head, ?) WHERE id = ?"""
_SUMS: Final = """UPDATE sums SET pending = pending + ?, dead = dead - ?
    WHERE integration = (SELECT integration FROM alarm WHERE id = ?)"""


@dataclass(frozen=True, slots=True)
class SqliteQueries:
    """The OperatorStore, and pauses."""

    writer: Writer
    reader: Reader
    check_place: Callable[[], None]
    seen: SeenLater
    clock: Clock
    tick: Callable[[], int]

    async def counts(self) -> dict[str, Counts]:
        return await self.reader.call(_counts)

    async def alarms(self, query: AlarmQuery) -> list[AlarmRow]:
        return await self.reader.call(alarms, query, self.seen)

    async def recent_alarms(self, query: AlarmQuery, bounds: Bounds = BOUNDS) -> Page:
        return await self.reader.call(recent_alarms, query, self.seen, bounds)

    async def tallies(self, integration: str | None, bounds: Bounds = BOUNDS) -> dict[str, Tally]:
        return await self.reader.call(tallies, integration, bounds)

    async def trail(
        self, integration: str, fingerprint: str, limit: int = 50, before: int | None = None
    ) -> list[ReportRow]:
        return await self.reader.call(self._reports, _TRAIL, integration, fingerprint, before or _LAST, limit)

    async def dead_letters(self, integration: str | None, after: int, limit: int) -> list[ReportRow]:
        return await self.reader.call(self._reports, _LETTERS, after, integration, integration, limit)

    async def recent(self, reports: int) -> list[RecentRow]:
        return await self.reader.call(_recent, reports)

    async def reports(self, seqs: Sequence[int]) -> list[ReportRow]:
        return await self.reader.call(self._reports, _BY_SEQ, to_json(list(seqs)).decode(), len(seqs))

    def _reports(self, connection: sqlite3.Connection, statement: str, *parameters: object) -> list[ReportRow]:
        tick = self.tick()
        return [
            report_row(row, due_in=None if row["due_at"] is None else (row["due_at"] - tick) / SECOND)
            for row in connection.execute(statement, parameters)
        ]

    async def refusals(self, integration: str | None, after: int, limit: int) -> list[Refusal]:
        return await self.reader.call(_refusals, integration, after, limit)

    async def rejects(
        self, after: int, limit: int, *, integration: str | None = None, before: int | None = None
    ) -> list[RejectRow]:
        return await self.reader.call(_rejects, after, limit, integration, before)

    async def pauses(self) -> dict[str, Pause]:
        return await self.reader.call(_pauses)

    async def set_pause(self, integration: str, pause: Pause | None, *, automatic: bool = False) -> Pause | None:
        change = partial(_set_pause, integration=integration, pause=pause, automatic=automatic)
        return await (self.writer.call(change) if automatic else self._change(change))

    async def replay(self, seqs: Sequence[int], *, as_sent: bool) -> dict[int, tuple[Kind, ...]]:
        return await self._change(partial(_replay, seqs=seqs, as_sent=as_sent, now=self.clock.now(), tick=self.tick()))

    async def discard(self, seqs: Sequence[int]) -> list[int]:
        return await self._change(partial(_discard, seqs=seqs))

    async def _change(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """What a person asked for, unless a restart would not find it."""

        def checked(connection: sqlite3.Connection) -> T:
            self.check_place()
            return change(connection)

        return await self.writer.call(checked)


def counts_of_file(path: Path) -> dict[str, Counts]:
    """Read without a lock, and without making a log where there is none; StoreRefused where it cannot be read."""
    if not path.exists():
        return {}
    mode = "mode=ro" if companions(path)[1].exists() else "immutable=1"
    try:
        with contextlib.closing(connect_reader(path, mode=mode)) as connection:
            if connection.execute("PRAGMA user_version").fetchone()[0] != max(migrations()):
                raise StoreRefused(f"{path} was written by another version; only serve brings it to this one")
            return _counts(connection)
    except sqlite3.Error as exc:
        raise StoreRefused(f"{path} cannot be read: {exc}") from exc


def _counts(connection: sqlite3.Connection) -> dict[str, Counts]:
    counts = {}
    for name, pending, refreshing, open_alarms, dead in connection.execute(_COUNTS).fetchall():
        row = connection.execute(_OLDEST, (name,)).fetchone()
        counts[name] = Counts(
            pending=pending, open_alarms=open_alarms, oldest=row[0] if row else None, dead=dead, refreshing=refreshing
        )
    return counts


def _recent(connection: sqlite3.Connection, reports: int) -> list[RecentRow]:
    return [recent_row(row) for row in connection.execute(_RECENT, (reports,))]


def _refusals(connection: sqlite3.Connection, integration: str | None, after: int, limit: int) -> list[Refusal]:
    return [refusal_of(row) for row in connection.execute(_REFUSALS, (after, integration, integration, limit))]


def _rejects(
    connection: sqlite3.Connection, after: int, limit: int, integration: str | None, before: int | None
) -> list[RejectRow]:
    values = (after, _LAST if before is None else before, integration, integration, limit)
    statement = _REJECTS.format("" if before is None else "DESC")
    return [reject_row(row) for row in connection.execute(statement, values)]


def _pauses(connection: sqlite3.Connection) -> dict[str, Pause]:
    return {row["integration"]: pause_of(row) for row in connection.execute(_PAUSES)}


def _set_pause(connection: sqlite3.Connection, integration: str, pause: Pause | None, automatic: bool) -> Pause | None:
    connection.execute("INSERT INTO sums (integration) VALUES (?) ON CONFLICT DO NOTHING", (integration,))
    connection.execute(_RESUME, (integration, automatic))
    if pause is not None:
        connection.execute(_PAUSE, (integration, pause.reason, pause.since, pause.by, pause.detail))
    return _pauses(connection).get(integration)


def _letters(connection: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, list[int]]:
    """Those that are dead letters and wait for a person, by alarm."""
    letters: dict[int, list[int]] = {}
    for seq in sorted(set(seqs)):
        row = connection.execute(_LETTER, (seq,)).fetchone()
        if row is not None:
            letters.setdefault(row["alarm"], []).append(seq)
    return letters


def _handle(connection: sqlite3.Connection, alarm: int, letters: Sequence[int], handled: str, *, owed: int) -> None:
    """Take the letters of an alarm off the list; `owed` new reports are pending."""
    connection.executemany(_HANDLED, [(handled, seq) for seq in letters])
    connection.execute(_SUMS, (owed, len(letters), alarm))


def _discard(connection: sqlite3.Connection, seqs: Sequence[int]) -> list[int]:
    by_alarm = _letters(connection, seqs)
    for alarm, letters in by_alarm.items():
        _handle(connection, alarm, letters, "discarded", owed=0)
    return sorted(seq for letters in by_alarm.values() for seq in letters)


def _replay(
    connection: sqlite3.Connection, seqs: Sequence[int], *, as_sent: bool, now: Micros, tick: int
) -> dict[int, tuple[Kind, ...]]:
    """`now` is wall time, `tick` the steady one."""
    replays: list[Owed] = []
    for alarm, letters in _letters(connection, seqs).items():
        owed = replayed(letters, [past_of(row) for row in connection.execute(_PAST, (alarm, letters[0]))])
        last = connection.execute("UPDATE counter SET seq = seq + ? RETURNING seq", (len(owed),)).fetchone()["seq"]
        first = last - len(owed) + 1
        for seq, report in enumerate(owed, start=first):
            _owe_again(connection, report, seq, now, as_sent=as_sent and report.kind is not Kind.REASSERT)
        connection.execute(_NO_REFRESH, (alarm,))
        connection.execute(_QUEUE, (len(owed), tick, first, alarm))
        _handle(connection, alarm, letters, "replayed", owed=len(owed))
        replays += owed
    return kinds_by_letter(replays)


def _owe_again(connection: sqlite3.Connection, owed: Owed, seq: int, now: Micros, *, as_sent: bool) -> None:
    raw, body = connection.execute("SELECT raw, provenance_body FROM report WHERE seq = ?", (owed.source,)).fetchone()
    body = body if as_sent else None
    connection.execute(_AGAIN, (seq, owed.kind.value, now, checksum(raw, body), body, owed.source))
