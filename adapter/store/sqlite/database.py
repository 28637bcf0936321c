"""The file of one SQLite store and the connections to it.

One connection writes and checkpoints, with a log (WAL) that is synced at every commit; the others can only read. Files
of other programs and of a newer schema are refused. A file of up to 64 MiB is checked at the start; a damaged file is
recovered, then or when a read or a commit reports the damage.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from adapter.alarm import Priority
from adapter.errors import StoreRefused, StoreUnavailable
from adapter.store.sqlite import recovery
from adapter.store.sqlite.connection import connect
from adapter.store.sqlite.disk import (
    MIB,
    PAGE_SIZE,
    RESERVE,
    DiskReserve,
    StoreLock,
    create,
    free_bytes,
    identity,
    prepare,
    real,
    too_open,
)
from adapter.store.sqlite.recovery import DamagedRow, companions, is_damage, result_code

Connect = Callable[..., sqlite3.Connection]
"""`connect`, or a function that fails on purpose."""

APPLICATION_ID: Final = 0x434F4341  # "COCA"
CHECKED_BYTES: Final = 64 * MIB  # a larger file would delay the start; its damage is noticed when it is read
_CHECKPOINT_PAGES: Final = 4000  # 16 MB of log: small enough to be replayed at a start without being noticed
_LOG_LIMIT: Final = 32 * MIB
_LEAST_PAGES: Final = 64
_LIST_LENGTHS: Final = (1, 10, 50)
_FOLDER: Final = Path(__file__).parent / "schema"
_MAX_RECOVERIES: Final = 5  # in one process; each leaves a copy of the file
_LATEST_DUE: Final = "SELECT max(due_at) FROM alarm WHERE integration = ? AND priority = ? AND head IS NOT NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a test makes smaller, or makes fail."""

    connect: Connect = connect
    reserve: int = RESERVE
    free: Callable[[Path], int] = free_bytes
    log_bound: int = 64 * MIB


DEFAULT: Final = Options()


class Left(NamedTuple):
    """What the process before left."""

    latest_due: int  # of any waiting alarm, in microseconds of its steady clock
    maybe_sent_upto: int  # every report up to this seq may already have been sent


def left(connection: sqlite3.Connection) -> Left:
    integrations = [name for (name,) in connection.execute("SELECT integration FROM sums").fetchall()]
    queues = [(name, priority) for name in integrations for priority in Priority]
    due = [connection.execute(_LATEST_DUE, queue).fetchone()[0] for queue in queues]
    counter = connection.execute("SELECT seq, maybe_sent_upto, claiming FROM counter").fetchone()
    if counter is None:
        raise DamagedRow("the row that ids are given out from is gone")
    upto = counter["seq"] if counter["claiming"] else counter["maybe_sent_upto"]
    return Left(max((latest for latest in due if latest is not None), default=0), upto)


class Database:
    """Opens the connections of one store.

    `writer`, `failed`, `committed` and `after_commit` run in the writer's thread.
    """

    def __init__(self, path: Path, *, max_bytes: int | None, options: Options = DEFAULT) -> None:
        """Prepare and lock the folder; StoreRefused when that cannot be done."""
        max_pages = None if max_bytes is None else max(max_bytes // PAGE_SIZE, _LEAST_PAGES)
        self._name = path.absolute()  # a restart goes by it: links are followed again, in a folder of that name
        self.path = path = real(path)
        self.reserve = DiskReserve(path.parent, max_pages=max_pages, reserve=options.reserve, free=options.free)
        self.generation = 0  # how often the file was replaced
        self.left = Left(0, 0)  # as of the last opening
        self._options = options
        self._max_pages = max_pages
        self._failed = False
        self._damaged = False
        self._log = companions(path)[1]
        self._open_files: dict[Path, os.stat_result] = {}  # as of the last commit
        self._next_checkpoint = 0.0  # monotonic
        prepare(path)
        self._lock = StoreLock(path)

    def close(self) -> None:
        self._lock.release()

    def start(self) -> sqlite3.Connection:
        """The first writing connection; StoreRefused when it cannot be opened safely."""
        try:
            return self.writer()
        except (sqlite3.Error, OSError) as exc:
            raise refused(self.path, exc) from exc

    def writer(self) -> sqlite3.Connection:
        """The writing connection to a sound file of the schema we know. StoreUnavailable when it is another file."""
        for file in (self._name, self.path):
            self._check_file(file)
        recovery.finish(self.path)
        self.path.with_name(self.path.name + ".ballast").unlink(missing_ok=True)  # left by version 0.1
        if self._damaged:
            self._recover()
        try:
            connection = self._sound()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self._recover()
            connection = self._sound()
        if self._failed:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # frees the disk space of the log
        self._open_files = {file: file.stat() for file in (self._name, *companions(self.path))}
        return connection

    def _sound(self) -> sqlite3.Connection:
        """Raises what SQLite raises for a damaged file when it finds that the file is not sound."""
        self._lock.hold_file()
        connection = self._open(self.path)
        with _closed_on_error(connection):
            if not self._failed and self.path.stat().st_size <= CHECKED_BYTES:
                _check(connection)
            self.left = left(connection)
        return connection

    def check_place(self) -> None:
        """StoreUnavailable when what is open is no longer at its path, so that a restart would not find it.

        DamagedRow when one was cut. Neither SQLite's index of the log nor its cache shows that, a new connection does;
        where a checkpoint of another program made the log shorter, it finds no fault.
        """
        if all(self._check_file(file) >= opened.st_size for file, opened in self._open_files.items()):
            return
        try:
            with contextlib.closing(self.reader()) as reader:
                _check(reader)
        except sqlite3.Error as error:
            raise DamagedRow(f"a file was cut while it was served: {error}") from error

    def _check_file(self, file: Path) -> int:
        """Its size."""
        opened = self._open_files.get(file)
        try:
            found = file.stat()
        except OSError:
            found = None
        if opened is not None and (found is None or identity(found) != identity(opened)):
            raise StoreUnavailable(
                f"{file} was moved, removed or replaced while it was served; put it back, or restart to go on with "
                "what is there (what was accepted and waits for COC is still sent while this process runs)"
            )
        return found.st_size if found else 0

    def _recover(self) -> None:
        recovery.recover(self.path, self._open)
        self.generation += 1
        self._damaged = False

    def _open(self, path: Path, version: int = 0) -> sqlite3.Connection:
        connection = connect_writer(path, self._options.connect, self._max_pages)
        with _closed_on_error(connection):
            migrate(connection, path, version)
        return connection

    def reader(self) -> sqlite3.Connection:
        return connect_reader(self.path, self._options.connect)

    def committed(self) -> None:
        """Called before a commit is answered: what is cut after the answer is noticed."""
        with contextlib.suppress(FileNotFoundError):
            for file, before in self._open_files.items():
                found = file.stat()
                if identity(found) == identity(before):
                    self._open_files[file] = found

    def after_commit(self, connection: sqlite3.Connection) -> None:
        """Empty the log when readers have kept SQLite from starting it anew for so long that it grew over its bound."""
        with contextlib.suppress(FileNotFoundError):
            if self._log.stat().st_size > self._options.log_bound and time.monotonic() >= self._next_checkpoint:
                self._next_checkpoint = time.monotonic() + 1.0
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self.committed()

    def failed(self, error: sqlite3.Error) -> None:
        """Called with the error of a commit, before the connection is opened anew."""
        self._failed = True
        self._damaged = self._damaged or (is_damage(error) and self.generation < _MAX_RECOVERIES)

    def warnings(self) -> list[str]:
        """For an operator. The damaged files are acknowledged by moving them away."""
        found = [
            f"the store was damaged; the damaged file was kept as {name}, move it away to clear this warning"
            for name in recovery.set_aside(self.path)
        ]
        found += too_open(self.path)
        if self.reserve.reached:
            found.append("there is little free space left for the store: only resolves are taken until there is more")
        return found

    def bytes_on_disk(self) -> int:
        return sum(file.stat().st_size for file in companions(self.path) if file.exists())


def _check(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise DamagedRow(f"quick_check: {found}")


def connect_writer(path: Path, connect: Connect = connect, max_pages: int | None = None) -> sqlite3.Connection:
    """The one connection that writes and checkpoints."""
    if not path.exists():
        create(path)
    connection: sqlite3.Connection = connect(path, isolation_level=None, timeout=0.25, check_same_thread=False)
    settings = {
        "page_size": PAGE_SIZE,
        "journal_mode": "WAL",
        "synchronous": "FULL",
        "wal_autocheckpoint": _CHECKPOINT_PAGES,
        "journal_size_limit": _LOG_LIMIT,
        "cache_size": -16384,
        "mmap_size": 0,
        "temp_store": "MEMORY",
        "foreign_keys": 0,
    }
    _set_up(connection, settings if max_pages is None else settings | {"max_page_count": max_pages})
    return connection


def connect_reader(path: Path, connect: Connect = connect, mode: str = "mode=ro") -> sqlite3.Connection:
    """A connection that can neither write nor checkpoint."""
    uri = f"{path.resolve().as_uri()}?{mode}"
    connection: sqlite3.Connection = connect(uri, uri=True, isolation_level=None, timeout=0.25, check_same_thread=False)
    _set_up(connection, {"query_only": 1, "cache_size": -8192, "mmap_size": 0, "temp_store": "MEMORY"})
    return connection


def _set_up(connection: sqlite3.Connection, pragmas: dict[str, Any]) -> None:
    connection.row_factory = sqlite3.Row
    with _closed_on_error(connection):
        for name, value in pragmas.items():
            connection.execute(f"PRAGMA {name} = {value}").fetchall()


@contextlib.contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def rows_in(
    connection: sqlite3.Connection, select: str, values: Sequence[object], *before: object
) -> Iterator[sqlite3.Row]:
    """The rows of a SELECT with `IN ({})`, asked for in lists of few lengths so that statements stay prepared.

    `before`: parameters that come before the list.
    """
    for start in range(0, len(values), _LIST_LENGTHS[-1]):
        part = [*values[start : start + _LIST_LENGTHS[-1]]]
        length = next(length for length in _LIST_LENGTHS if length >= len(part))
        part += part[-1:] * (length - len(part))
        yield from connection.execute(select.format(", ".join("?" * length)), (*before, *part))


def write_many(connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]]) -> None:
    """Most lists of a transaction are empty, and preparing a statement for none costs as much as for one."""
    if rows:
        connection.executemany(statement, rows)


def migrate(connection: sqlite3.Connection, path: Path, target: int = 0) -> None:
    """Apply the migrations this store lacks up to `target`, 0 for all; refuse a store of a newer version."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    has_tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] > 0
    steps = migrations()
    latest = max(steps)
    if owner not in (0, APPLICATION_ID) or (owner == 0 and has_tables):
        raise StoreRefused(f"{path} is a SQLite database of another program; give the store a file of its own")
    if version < 0:
        raise StoreRefused(f"{path} says that its schema is {version}, which no version wrote; restore a copy")
    if version > latest:
        raise StoreRefused(
            f"{path} was written by a newer version (schema {version}, this one knows {latest}); "
            "run that version, or start with another store"
        )
    for number in range(version + 1, (target or latest) + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {steps[number]}; PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {number}; COMMIT;"
        )


def migrations() -> dict[int, str]:
    """The files schema/NNNN_name.sql, by number."""
    return {int(file.name[:4]): file.read_text("utf-8") for file in sorted(_FOLDER.glob("*.sql"))}


def refused(path: Path, error: Exception) -> StoreRefused:
    """Why a store cannot be opened, in one line."""
    code = result_code(error) if isinstance(error, sqlite3.Error) else 0
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreRefused(f"the store {path} cannot be written to: {error}; check the owner and mode of its folder")
    if code == sqlite3.SQLITE_BUSY:
        return StoreRefused(f"the store {path} is locked by another program, such as a sqlite3 shell; close that first")
    if code == sqlite3.SQLITE_FULL:
        return StoreRefused(f"the store {path} cannot be opened, its disk is full; free some space")
    return StoreRefused(f"the store {path} cannot be opened: {error}")
