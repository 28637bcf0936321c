"""A damaged file is put aside, never deleted, and whatever of it can still be read starts a new one.

Kept are the alarms, the pending reports and the dead letters; the history of what was delivered stays in the old
file. Rows are read by ranges of their ids: a range that cannot be read is halved until only the unreadable rows are
left out. The new file is made complete under another name first, so that a crash at any point leaves either the old
file to begin again with, or the new one to finish with.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapter.clock import Micros
from adapter.store.sqlite import remake, shutdown_marker
from adapter.store.sqlite.damage import sound_alarm, sound_report
from adapter.store.sqlite.files import PAGE_SIZE, companions, sync_folder

_CHUNK: Final = 256
_GAP: Final = 2**32
_FAILURES: Final = 20_000  # failed reads after which the rest of a table is given up


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was saved, for the operator."""

    old: str  # name of the file put aside
    at: float  # when, seconds since the epoch
    alarms: int
    pending: int
    dead: int


def finish(path: Path) -> str | None:
    """Complete a recovery that a crash cut short; the name of the old file when one was put aside."""
    for what in ("salvage", "salvage-old"):
        for file in companions(_made(path, what)):
            file.unlink(missing_ok=True)
    new = _made(path, "recovered")
    if not new.exists():
        return None
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = path.with_name(f"{path.name}.corrupt-{stamp}-{time.time_ns() % 1_000_000:06}")
    for file, target in zip(companions(path), companions(aside), strict=True):
        if file.exists():
            file.rename(target)
    sync_folder(path.parent)
    new.rename(path)
    sync_folder(path.parent)
    return aside.name


def recover(path: Path, create: Callable[[Path], sqlite3.Connection], now: Micros) -> Salvaged:
    """Salvage into a new file and put the old one aside; `create` makes an empty store at a path."""
    partial = _made(path, "salvage")
    finish(path)
    new = create(partial)
    try:
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        new.execute("BEGIN IMMEDIATE")
        with contextlib.closing(_readable(path, partial)) as old:
            _copy_all(old, new)
        remake.make_whole(new, now)
        shutdown_marker.salvaged(new)
        alarms, pending, dead = _count(new)
        new.execute("COMMIT")
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        new.close()
    partial.rename(_made(path, "recovered"))
    sync_folder(path.parent)
    aside = finish(path)
    return Salvaged(aside or "", time.time(), alarms, pending, dead)


def _made(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}.{what}")


def _readable(path: Path, fresh: Path) -> sqlite3.Connection:
    """The old file; when even its list of tables is gone or an older one, a copy of it with the list of a fresh store.

    Migrations put every table at the same place in every file, and only add columns behind those there are.
    """
    old = _open_old(path)
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_open_old(fresh)) as model:
        tables = "SELECT name, rootpage, sql FROM sqlite_schema"
        if old.execute(tables).fetchall() == model.execute(tables).fetchall():
            return old
    old.close()
    copy = _made(path, "salvage-old")
    for file, target in zip(companions(path)[:2], companions(copy)[:2], strict=True):
        target.unlink(missing_ok=True)
        if file.exists():
            shutil.copyfile(file, target)
    with copy.open("r+b") as first:
        page = _list_of_tables(fresh)
        page[28:32] = (copy.stat().st_size // PAGE_SIZE).to_bytes(4)
        page[32:40] = bytes(8)  # no list of free pages
        first.write(page)
    return _open_old(copy)


def _list_of_tables(fresh: Path) -> bytearray:
    """The first page of a fresh store with the tables alone: the indexes would not fit into it, and are not read."""
    file = bytearray(fresh.read_bytes())
    file[18:20] = b"\1\1"  # without a log, which memory cannot have
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        model.deserialize(bytes(file))
        tables = model.execute("SELECT * FROM sqlite_schema WHERE type = 'table'").fetchall()
        model.execute("PRAGMA writable_schema = ON")
        model.execute("DELETE FROM sqlite_schema")
        model.executemany("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", tables)
        page = bytearray(model.serialize()[:PAGE_SIZE])
    page[18:20] = b"\2\2"
    return page


def _open_old(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


def _copy_all(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    _copy_ids(old, new)
    for table, sound in _TABLES.items():
        names = [row[1] for row in new.execute(f"PRAGMA table_info({table})")]
        marks = ", ".join("?" * len(names))
        insert = f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608
        select = f"SELECT {', '.join(names)} FROM {table}"  # noqa: S608
        for values in _rows(old, select, table):
            if sound(dict(zip(names, values, strict=True))):
                with contextlib.suppress(sqlite3.IntegrityError):
                    new.execute(insert, values)


def _copy_ids(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Ids go on where they were; with a gap where that is unknown, so that no claim under way meets a new report."""
    ids: tuple[int, ...] = (_GAP, 0, 0, 0)
    with contextlib.suppress(sqlite3.Error, ValueError, TypeError):
        found = old.execute("SELECT seq, alarm, webhook, reject FROM counter").fetchone()
        ids = tuple(int(id_) for id_ in found)
    new.execute("UPDATE counter SET seq = ?, alarm = ?, webhook = ?, reject = ?", ids)


def _rows(old: sqlite3.Connection, select: str, table: str) -> Iterator[tuple[Any, ...]]:
    if table == "integration":
        with contextlib.suppress(sqlite3.Error):
            yield from old.execute(f"{select} WHERE pause_reason IS NOT NULL")
        return
    key = "seq" if table == "report" else "id"
    wanted = " AND (outcome IS NULL OR outcome = 'dead')" if table == "report" else ""
    statement = f"{select} NOT INDEXED WHERE {key} BETWEEN ? AND ?{wanted}"
    failures = 0
    ranges = [(start, start + _CHUNK - 1) for start in range(_last(old, table, key), -1, -_CHUNK)]
    while ranges and failures < _FAILURES:
        low, high = ranges.pop()
        try:
            yield from old.execute(statement, (low, high)).fetchall()
        except (sqlite3.Error, OverflowError):
            failures += 1
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]


def _last(old: sqlite3.Connection, table: str, key: str) -> int:
    """The start of the last range, also when the end of the table cannot be read."""
    counter = {"report": "seq", "alarm": "alarm", "intake": "webhook", "reject": "reject"}
    found = [0]
    for query in (
        f"SELECT {counter.get(table, 'id')} FROM counter",  # noqa: S608
        f"SELECT max({key}) FROM {table}",  # noqa: S608
    ):
        with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
            found.append(int(old.execute(query).fetchone()[0]))
    return max(min(last, 2**40) for last in found) // _CHUNK * _CHUNK


_TABLES: Final[dict[str, Callable[[dict[str, Any]], bool]]] = {
    "integration": lambda row: type(row["name"]) is str,
    "alarm": sound_alarm,
    "report": sound_report,
    "reject": lambda row: type(row["head"]) is bytes and type(row["reason"]) is str,
}


def _count(new: sqlite3.Connection) -> tuple[int, int, int]:
    row = new.execute(
        """SELECT (SELECT count(*) FROM alarm), (SELECT count(*) FROM report WHERE outcome IS NULL),
                  (SELECT count(*) FROM report WHERE outcome = 'dead' AND fate IS NULL)"""
    ).fetchone()
    return tuple(row)
