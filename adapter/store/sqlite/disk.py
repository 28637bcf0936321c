"""Room to drain: what is kept aside so that a full disk, or a full file, can still be settled to emptiness.

A log-structured write needs room even to delete. So a ballast file is given up when the disk is full, intake stops
before that, and a file with a size limit keeps some of its pages for settlements. Every method runs in the writer's
thread; it looks at the disk at each call, because one webhook can be 16 MiB.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Final

from adapter.errors import StoreUnavailable
from adapter.store.sqlite.files import sync_folder
from adapter.store.sqlite.recovery import result_code

MIB: Final = 2**20
BALLAST: Final = 16 * MIB
RESERVE: Final = 32 * MIB


class Level(IntEnum):
    """How much may still be added."""

    OPEN = 0
    TIGHT = 1  # only the `ok` of alarms that fire: a lost alarm heals at the next repeat, a lost ok does not
    FULL = 2  # nothing: what is left is for settling


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write there."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class DiskReserve:
    def __init__(
        self,
        path: Path,
        *,
        max_pages: int | None,
        ballast: int = BALLAST,
        reserve: int = RESERVE,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._folder = path.parent
        self._ballast = path.with_name(path.name + ".ballast")
        self._ballast_bytes = ballast
        self._reserve = reserve
        self._max_pages = max_pages
        self._free = free
        self._held = False
        self.level = Level.OPEN

    def look(self, connection: sqlite3.Connection) -> Level:
        """How much may be added now; takes the ballast back when the disk has room for it."""
        try:
            free = self._free(self._folder)
        except OSError as exc:
            raise StoreUnavailable(f"the store's folder {self._folder} cannot be looked at: {exc.strerror}") from exc
        if not self._held and free >= self._ballast_bytes + self._reserve:
            self._held = self._take()
        disk = Level.OPEN if free >= self._reserve and self._held else Level.TIGHT if self._held else Level.FULL
        self.level = max(disk, self._pages(connection))
        return self.level

    def keep(self, connection: sqlite3.Connection, other: int) -> None:
        """StoreUnavailable when the pages just added are more than may be; `other` of them are not an `ok`."""
        if self._pages(connection) > (Level.OPEN if other > 0 else Level.TIGHT):
            raise StoreUnavailable("the store's file is at its size limit; alerts are taken again when it has drained")

    def refuse(self, level: Level, other: int) -> None:
        """StoreUnavailable when this level does not allow what a webhook adds; `other` of it is not an `ok`."""
        if level is Level.FULL or (level is Level.TIGHT and other > 0):
            raise StoreUnavailable(
                f"less than {self._reserve // MIB} MiB are free for the store in {self._folder}; "
                "alerts are taken again when there is room"
            )

    def failed(self, error: sqlite3.Error) -> None:
        """Give the ballast up when the database failed for want of room."""
        with contextlib.suppress(OSError):
            if (
                result_code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
                and self._free(self._folder) < self._reserve
            ):
                self._ballast.unlink(missing_ok=True)
                self._held = False

    def start(self) -> None:
        """Take the ballast if there is room for it; without, the store starts and only drains."""
        if self._ballast.exists() and self._ballast.stat().st_blocks * 512 >= self._ballast_bytes:
            self._held = True
        elif self._free(self._folder) >= self._ballast_bytes + self._reserve:
            self._held = self._take()

    def _take(self) -> bool:
        try:
            descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._ballast_bytes)
            finally:
                os.close(descriptor)
            sync_folder(self._folder)
        except OSError:
            return False
        return True

    def left(self, connection: sqlite3.Connection) -> int:
        """Bytes that can still be kept: what the disk and the file's own limit allow, and pages that were freed."""
        size, used, freed = (_pragma(connection, name) for name in ("page_size", "page_count", "freelist_count"))
        grow = self._free(self._folder)
        if self._max_pages is not None:
            grow = min(grow, max(0, self._max_pages - used) * size)
        return grow + freed * size

    def _pages(self, connection: sqlite3.Connection) -> Level:
        """By the file's own limit: an eighth of it is kept, and half of that for `ok`s."""
        if self._max_pages is None:
            return Level.OPEN
        left = self._max_pages - _pragma(connection, "page_count") + _pragma(connection, "freelist_count")
        kept = self._max_pages // 8
        return Level.OPEN if left > kept else Level.TIGHT if left > kept // 2 else Level.FULL


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    found: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return found
