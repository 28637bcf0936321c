"""Damage to a SQLite file: what counts as damage, and how the rows that can still be read get into a new file.

A damaged file is set aside under another name, never deleted. Alarms, pending reports, dead letters, rejects, pauses
and directories are copied; the history of delivered reports stays in the old file. A file whose first page is
unreadable gives nothing.
The new file is completed under another name first. After a crash at any point either the old file is still in place, or
`finish` puts the new one there.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from adapter.alarm import Kind, Outcome, Status
from adapter.alertmanager import unpack
from adapter.store.records import labels_to_json
from adapter.store.sqlite.disk import sync_folder

_PARTIAL: Final = ".salvage"
_COMPLETE: Final = ".recovered"
_SEQ_GAP: Final = 2**20
_HIGHEST_ID: Final = 2**40
_RANGE: Final = 16
_MAX_READS: Final = 4_000_000  # of one table, about half a minute; the rest of it is given up

_COPIED: Final = {  # table -> its key, the column of `counter` with the last one given out
    "integration": ("name", ""),  # before schema 3, where a pause was in columns of it
    "pause": ("integration", ""),
    "directory": ("integration", ""),
    "alarm": ("id", "alarm"),
    "report": ("seq", "seq"),
    "reject": ("id", "reject"),
}
_WANTED: Final = {
    "integration": "pause_reason IS NOT NULL",
    "report": "(outcome IS NULL OR outcome = 'dead')",
}
_TYPES: Final = {"INTEGER": int, "TEXT": str, "BLOB": bytes}
_VALUES: Final[Mapping[str, frozenset[str]]] = {
    "status": frozenset(Status),
    "kind": frozenset(Kind),
    "outcome": frozenset(Outcome),
}

_ORPHANS: Final = """SELECT alarm, integration, episode, coc_alarm_id, received, raw FROM report
    WHERE alarm NOT IN (SELECT id FROM alarm) ORDER BY seq DESC"""
_ADOPT: Final = """INSERT OR IGNORE INTO alarm (id, integration, fingerprint, status, episode, coc_alarm_id, starts,
    ends, content, revision, pending, due_at, labels, first_seen, last_seen, changed)
    VALUES (?, ?, ?, ?, ?, ?, 0, 0, x'', '', 0, 0, ?, ?, ?, ?)"""
# Seen as firing under an unknown revision, so that the next webhook about the alarm owes a report again.
_OWE_AGAIN: Final = """UPDATE alarm SET status = 'firing', ends = 0, revision = ''
    WHERE pending > (SELECT count(*) FROM report WHERE alarm = alarm.id AND outcome IS NULL)
    AND NOT EXISTS (SELECT 1 FROM report WHERE alarm = alarm.id AND outcome IS NULL AND kind = 'ok')"""
_RECOUNT: Final = (
    """UPDATE counter SET seq = max(seq, (SELECT ifnull(max(seq), 0) FROM report)),
           alarm = max(alarm, (SELECT ifnull(max(id), 0) FROM alarm)),
           webhook = max(webhook, (SELECT ifnull(max(id), 0) FROM webhook),
                         (SELECT ifnull(max(webhook), 0) FROM report)),
           reject = max(reject, (SELECT ifnull(max(id), 0) FROM reject))""",
    """UPDATE alarm SET due_at = 0, pending = (SELECT count(*) FROM report WHERE alarm = alarm.id AND outcome IS NULL),
           head = (SELECT min(seq) FROM report WHERE alarm = alarm.id AND outcome IS NULL)""",
    "UPDATE alarm SET priority = 0 WHERE priority <> 0 AND pending <> 1",
    """INSERT OR IGNORE INTO sums (integration) SELECT DISTINCT integration FROM alarm
       UNION SELECT DISTINCT integration FROM report""",
    """UPDATE sums SET
           pending = (SELECT count(*) FROM report WHERE integration = sums.integration AND outcome IS NULL),
           refreshing = (SELECT count(*) FROM alarm WHERE integration = sums.integration AND priority = 1),
           open_alarms = (SELECT count(*) FROM alarm WHERE integration = sums.integration AND status = 'firing'),
           dead = (SELECT count(*) FROM report
                   WHERE integration = sums.integration AND outcome = 'dead' AND handled IS NULL)""",
)
_MAYBE_SENT: Final = "UPDATE counter SET maybe_sent_upto = seq, claiming = 1"


class DamagedRow(sqlite3.DatabaseError):
    """A row holds what was never written; SQLite itself checks only the structure around it."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    sqlite_errorname = "SQLITE_CORRUPT"


def result_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for errors of the Python module itself."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def is_damage(error: sqlite3.Error) -> bool:
    undecodable = isinstance(error, sqlite3.OperationalError) and result_code(error) == 0 and "decode" in str(error)
    return undecodable or result_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def checksum(raw: bytes, body: bytes | None) -> int:
    """What report.crc holds."""
    return zlib.crc32(body, zlib.crc32(raw)) if body else zlib.crc32(raw)


def companions(path: Path) -> tuple[Path, ...]:
    """The database and the files SQLite keeps beside it."""
    return path, _beside(path, "-wal"), _beside(path, "-shm")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def set_aside(path: Path) -> list[str]:
    """Names of the damaged files that still lie beside the store."""
    files = path.parent.glob(f"{path.name}.corrupt-*")
    return sorted(file.name for file in files if not file.name.endswith(("-wal", "-shm")))


def recover(path: Path, create: Callable[[Path, int], sqlite3.Connection]) -> None:
    """Copy what can be read into a new file and set the old one aside.

    `create` opens a file and brings it to a schema version, 0 for the latest.
    """
    finish(path)
    partial = _beside(path, _PARTIAL)
    # Rows are copied between equal schemas and migrated in the new file.
    with contextlib.closing(_read_only(path)) as old:
        version = _number(old, "user_version", "pragma_user_version") or 0
        with contextlib.closing(create(partial, version)) as new:
            new.execute("BEGIN IMMEDIATE")
            _copy_ids(old, new)
            known = {name for (name,) in new.execute("SELECT name FROM sqlite_schema")}
            for table in [table for table in _COPIED if table in known]:
                _copy(old, new, table)
            new.execute("COMMIT")
    with contextlib.closing(create(partial, 0)) as new:
        new.execute("BEGIN IMMEDIATE")
        _complete(new)
        new.execute("COMMIT")
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    partial.rename(_beside(path, _COMPLETE))
    sync_folder(path.parent)
    finish(path)


def finish(path: Path) -> None:
    """Complete a recovery that a crash cut short; drop one that was not complete."""
    for file in companions(_beside(path, _PARTIAL)):
        file.unlink(missing_ok=True)
    if not _beside(path, _COMPLETE).exists():
        return
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = _beside(path, f".corrupt-{stamp}-{time.time_ns() % 1_000_000:06}")
    for file, target in zip(companions(path), companions(aside), strict=True):
        if file.exists():
            file.rename(target)
    sync_folder(path.parent)
    _beside(path, _COMPLETE).rename(path)
    sync_folder(path.parent)


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)


def _copy_ids(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Ids go on where they were; behind a gap where that is unknown, so that no claim under way meets a new report."""
    seq, *others = [_number(old, column) for column in ("seq", "alarm", "webhook", "reject")]
    if seq is None:
        seq = (_number(old, "max(seq)", "report") or 0) + _SEQ_GAP
    ids = (seq, *(id_ or 0 for id_ in others))
    new.execute("UPDATE counter SET seq = ?, alarm = ?, webhook = ?, reject = ?", ids)


def _number(old: sqlite3.Connection, column: str, table: str = "counter") -> int | None:
    """An id or a version, when it can be read and is none that was never given out."""
    with contextlib.suppress(sqlite3.Error, ValueError, TypeError):
        value = int(old.execute(f"SELECT {column} FROM {table}").fetchone()[0])  # noqa: S608
        return value if 0 <= value < _HIGHEST_ID else None
    return None


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> None:
    key, counter = _COPIED[table]
    columns = {row[1]: (_TYPES[row[2]], bool(row[3])) for row in new.execute(f"PRAGMA table_info({table})")}
    names = ", ".join(columns)
    insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
    select = f"SELECT {key}, {names} FROM {table} NOT INDEXED WHERE {_WANTED.get(table, 'TRUE')}"  # noqa: S608
    last = max(_number(old, counter) or 0, _number(old, f"max({key})", table) or 0) if counter else 0
    for values in _rows(old, select, key, last) if counter else _few_rows(old, select):
        if _is_sound(columns, dict(zip(columns, values[1:], strict=True))):
            new.execute(insert, values[1:])


def _rows(old: sqlite3.Connection, select: str, key: str, last: int) -> Iterator[tuple[Any, ...]]:
    """By ranges of ids: one that fails is halved behind its last readable row, down to the unreadable rows.

    Ranges are short because a damaged page may hold a wrong id, and a range ends without an error at one behind it.
    """
    statement = f"{select} AND {key} BETWEEN ? AND ? ORDER BY {key}"
    starts = iter(range(0, last + 1, _RANGE))
    ranges: list[tuple[int, int]] = []
    for _ in range(_MAX_READS):
        if not ranges:
            start = next(starts, None)
            if start is None:
                return
            ranges.append((start, start + _RANGE - 1))
        low, high = ranges.pop()
        try:
            for row in old.execute(statement, (low, high)):
                low = max(low, row[0] + 1)
                yield row
        except sqlite3.Error:
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]


def _few_rows(old: sqlite3.Connection, select: str) -> Iterator[tuple[Any, ...]]:
    with contextlib.suppress(sqlite3.Error):
        yield from old.execute(select)


def _is_sound(columns: Mapping[str, tuple[type, bool]], row: Mapping[str, Any]) -> bool:
    """Whether every column holds what we could have written, and the checksums match."""
    for name, (type_, required) in columns.items():
        value = row[name]
        if (value is None and required) or (value is not None and type(value) is not type_):
            return False
        if value is not None and value not in _VALUES.get(name, (value,)):
            return False
    if row.get("accepted_body") is not None and zlib.crc32(row["accepted_body"]) != row["accepted_crc"]:
        return False
    return "raw" not in row or checksum(row["raw"], row["body"]) == row["crc"]


def _complete(new: sqlite3.Connection) -> None:
    """Add what the copied rows need: an alarm for every report, heads, counts. All that waits may have been sent."""
    for alarm, integration, episode, coc_alarm_id, received, raw in new.execute(_ORPHANS).fetchall():
        with contextlib.suppress(ValueError, KeyError):
            alert, _ = unpack(raw)
            labels = labels_to_json(alert["labels"])
            values = (alarm, integration, alert["fingerprint"], alert["status"], episode, coc_alarm_id, labels)
            new.execute(_ADOPT, (*values, received, received, received))
    new.execute("DELETE FROM report WHERE alarm NOT IN (SELECT id FROM alarm)")
    new.execute(_OWE_AGAIN)
    recount(new)
    new.execute(_MAYBE_SENT)


def recount(connection: sqlite3.Connection) -> None:
    """Derive the last ids given out, the queue of each alarm and the sums of each integration from the other rows."""
    for statement in _RECOUNT:
        connection.execute(statement)
