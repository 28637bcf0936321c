"""The file of one store: opened, checked, recovered when it is damaged, and watched for free space."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Final

from adapter.errors import StoreRefused
from adapter.store.sqlite import open, recovery
from adapter.store.sqlite.disk import DiskReserve
from adapter.store.sqlite.files import sync_folder
from adapter.store.sqlite.recovery import DamagedRow, is_damage, result_code

CHECKED_BYTES: Final = 64 * 2**20  # a larger file would delay the start; its damage is noticed when it is read
_MAX_RECOVERIES: Final = 5  # in one process; each leaves a copy of the file


class Database:
    """Makes connections. `writer` and `failed` run where the writer runs, the rest anywhere."""

    def __init__(
        self, path: Path, *, connect: open.Connect, reserve: DiskReserve, max_pages: int | None, log_bound: int
    ) -> None:
        self._path = path
        self._connect = connect
        self._max_pages = max_pages
        self._failed = False
        self._damaged = False
        self._log = path.with_name(path.name + "-wal")
        self._log_bound = log_bound
        self._next_tending = 0.0
        self.reserve = reserve
        self.generation = 0

    def writer(self) -> sqlite3.Connection:
        """The writing connection to a sound file of the schema we know."""
        recovery.finish(self._path, sync_folder)
        self._path.with_name(self._path.name + ".ballast").unlink(missing_ok=True)  # of version 0.1
        connection = self._recovered() if self._damaged else self._sound()
        self._damaged = False
        if self._failed:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # frees the disk space of the log
        return connection

    def _sound(self) -> sqlite3.Connection:
        try:
            connection = self._open(self._path)
            try:
                if not self._failed and self._path.stat().st_size <= CHECKED_BYTES:
                    check(connection)
            except BaseException:
                connection.close()
                raise
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            return self._recovered()
        return connection

    def _recovered(self) -> sqlite3.Connection:
        recovery.recover(self._path, self._open, sync_folder)
        self.generation += 1
        return self._open(self._path)

    def _open(self, path: Path, version: int = 0) -> sqlite3.Connection:
        connection = open.connect_writer(path, self._connect, self._max_pages)
        try:
            open.migrate(connection, path, version)
        except BaseException:
            connection.close()
            raise
        return connection

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
        self._damaged = self._damaged or (is_damage(error) and self.generation < _MAX_RECOVERIES)

    def warnings(self) -> list[str]:
        """What an operator should know."""
        told = [
            f"the store was damaged; the damaged file was kept as {name}, move it away to clear this warning"
            for name in self.put_aside()
        ]
        if self.reserve.reached:
            told.append("there is little free space left for the store: only resolves are taken until there is more")
        return told

    def put_aside(self) -> list[str]:
        """Damaged files that still lie beside the store; an operator acknowledges them by moving them away."""
        return recovery.set_aside(self._path)


def check(connection: sqlite3.Connection) -> None:
    """Raise what SQLite raises for a damaged file when its structure is not sound."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise DamagedRow(f"quick_check: {found}")


def refused(path: Path, error: Exception) -> StoreRefused:
    """Why a store cannot be opened, in one line."""
    code = result_code(error) if isinstance(error, sqlite3.Error) else 0
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreRefused(f"the store {path} cannot be written to: {error}; check the owner and mode of its folder")
    if code == sqlite3.SQLITE_BUSY:
        return StoreRefused(f"the store {path} is locked by another program, such as a sqlite3 shell; close that first")
    if code == sqlite3.SQLITE_FULL:
        return StoreRefused(f"the store {path} cannot be opened, its disk is full; make room")
    return StoreRefused(f"the store {path} cannot be opened: {error}")
