"""The file of one store: opened, checked, recovered when it is damaged, and watched for room."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Final

from adapter.errors import StoreRefused
from adapter.store.sqlite import damage, open, recovery
from adapter.store.sqlite.check import check_all, check_structure
from adapter.store.sqlite.damage import DamagedRow, is_damage, is_damaged_row
from adapter.store.sqlite.disk import DiskReserve, Level
from adapter.store.sqlite.recovery import Salvaged

CHECKED_AT_ONCE: Final = 64 * 2**20  # larger files are checked in the background, after the start
_MOST_RECOVERIES: Final = 5  # by damaged rows, in one process: a bound, should salvage ever let such a row through


class Database:
    """Makes connections. `writer` and `failed` run where the writer runs, the rest anywhere."""

    def __init__(
        self, path: Path, *, connect: open.Connect, room: DiskReserve, max_pages: int | None, log_bound: int
    ) -> None:
        self._path = path
        self._connect = connect
        self._max_pages = max_pages
        self._suspect = False  # of damage: check before going on
        self._certain = False  # of damage that a check of the structure does not see
        self._failed = False
        self._log = path.with_name(path.name + "-wal")
        self._log_bound = log_bound
        self._next_tending = 0.0
        self.room = room
        self.generation = 0
        self.bad_payload = 0  # rows whose checksum is wrong
        self.salvaged: Salvaged | None = None

    def writer(self) -> sqlite3.Connection:
        """The writing connection to a sound file of the schema we know."""
        recovery.finish(self._path)
        small = self._path.exists() and self._path.stat().st_size <= CHECKED_AT_ONCE
        try:
            connection = self._open(self._path)
            try:
                if self._certain:
                    raise DamagedRow("a row holds what was never written")
                if small and (self._suspect or not self._failed):
                    self.bad_payload = check_all(connection)
                elif self._suspect:
                    check_structure(connection)
            except BaseException:
                connection.close()
                raise
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            connection = self._recovered()
        self._suspect = self._certain = False
        if self._failed:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # gives back the room of the log
        return connection

    def _open(self, path: Path) -> sqlite3.Connection:
        connection = open.connect_writer(path, self._connect, self._max_pages)
        try:
            open.migrate(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _recovered(self) -> sqlite3.Connection:
        self.salvaged = recovery.recover(self._path, self._open, time.time_ns() // 1000)
        self.generation += 1
        return self._open(self._path)

    def reader(self) -> sqlite3.Connection:
        return open.connect_reader(self._path, self._connect)

    def tend(self, connection: sqlite3.Connection) -> None:
        """Empty the log when readers have kept SQLite from starting it anew for so long that it grew over its bound."""
        if self._log.exists() and self._log.stat().st_size > self._log_bound and time.monotonic() > self._next_tending:
            self._next_tending = time.monotonic() + 1.0
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def failed(self, error: sqlite3.Error) -> None:
        """What the database said when a commit failed: what to do before the next."""
        self._failed = True
        self._suspect = self._suspect or is_damage(error)
        self._certain = is_damaged_row(error) and self.generation < _MOST_RECOVERIES
        self.room.failed(error)

    def warnings(self) -> list[str]:
        """What an operator should know."""
        told = [
            f"the store was damaged; {name} holds what it was, move it away when you have seen to it"
            for name in self.put_aside()
        ]
        if self.bad_payload:
            told.append(f"{self.bad_payload} rows of the store hold bytes that were damaged on disk")
        if self.room.level is not Level.OPEN:
            taken = "only resolves are taken" if self.room.level is Level.TIGHT else "nothing is taken"
            told.append(f"there is little room left for the store: {taken} until there is more")
        return told

    def put_aside(self) -> list[str]:
        """Damaged files that still lie beside the store; an operator acknowledges them by moving them away."""
        files = self._path.parent.glob(f"{self._path.name}.corrupt-*")
        return sorted(file.name for file in files if not file.name.endswith(("-wal", "-shm")))


def refused(path: Path, error: Exception) -> StoreRefused:
    """Why a store cannot be opened, in one line."""
    code = damage.code(error) if isinstance(error, sqlite3.Error) else 0
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreRefused(f"the store {path} cannot be written to: {error}; check the owner and mode of its folder")
    if code == sqlite3.SQLITE_BUSY:
        return StoreRefused(f"the store {path} is locked by another program, such as a sqlite3 shell; close that first")
    if code == sqlite3.SQLITE_FULL:
        return StoreRefused(f"the store {path} cannot be opened, its disk is full; make room")
    return StoreRefused(f"the store {path} cannot be opened: {error}")
