"""The file of one store: opened, checked, recovered when it is damaged, and watched for room."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Final

from adapter.errors import StoreRefused
from adapter.store import sqlite_open, sqlite_salvage
from adapter.store.sqlite_room import Room
from adapter.store.sqlite_salvage import Salvaged

CHECKED_AT_ONCE: Final = 64 * 2**20  # larger files are checked in the background, after the start

_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Keeper:
    """Makes connections. `writer` and `failed` run where the writer runs, the rest anywhere."""

    def __init__(self, path: Path, *, connect: sqlite_open.Connect, room: Room, max_pages: int | None) -> None:
        self._path = path
        self._connect = connect
        self._max_pages = max_pages
        self._suspect = False
        self._failed = False
        self.room = room
        self.generation = 0
        self.salvaged: Salvaged | None = None

    def writer(self) -> sqlite3.Connection:
        """The writing connection to a sound file of the schema we know."""
        sqlite_salvage.finish(self._path)
        small = self._path.exists() and self._path.stat().st_size <= CHECKED_AT_ONCE
        try:
            connection = self._open(self._path)
            try:
                if self._suspect or (small and not self._failed):
                    check(connection)
            except BaseException:
                connection.close()
                raise
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            connection = self._recovered()
        self._suspect = False
        if self._failed:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # gives back the room of the log
        return connection

    def _open(self, path: Path) -> sqlite3.Connection:
        connection = sqlite_open.connect_writer(path, self._connect, self._max_pages)
        try:
            sqlite_open.migrate(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _recovered(self) -> sqlite3.Connection:
        self.salvaged = sqlite_salvage.recover(self._path, self._open, time.time_ns() // 1000)
        self.generation += 1
        return self._open(self._path)

    def reader(self) -> sqlite3.Connection:
        return sqlite_open.connect_reader(self._path, self._connect)

    def failed(self, error: sqlite3.Error) -> None:
        """What the database said when a commit failed: what to do before the next."""
        self._failed = True
        self._suspect = self._suspect or is_damage(error)
        self.room.failed(error)

    def put_aside(self) -> list[str]:
        """Damaged files that still lie beside the store; an operator acknowledges them by moving them away."""
        files = self._path.parent.glob(f"{self._path.name}.corrupt-*")
        return sorted(file.name for file in files if not file.name.endswith(("-wal", "-shm")))


def is_damage(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in _DAMAGED


def check(connection: sqlite3.Connection) -> None:
    """Raise what SQLite raises for a damaged file when its structure is not sound."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        error = sqlite3.DatabaseError(f"quick_check: {found}")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def refused(path: Path, error: Exception) -> StoreRefused:
    """Why a store cannot be opened, in one line."""
    code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreRefused(f"the store {path} cannot be written to: {error}; check the owner and mode of its folder")
    if code == sqlite3.SQLITE_BUSY:
        return StoreRefused(f"the store {path} is locked by another program, such as a sqlite3 shell; close that first")
    if code == sqlite3.SQLITE_FULL:
        return StoreRefused(f"the store {path} cannot be opened, its disk is full; make room")
    return StoreRefused(f"the store {path} cannot be opened: {error}")
