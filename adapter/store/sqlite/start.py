"""What a store of one process starts from: its folder locked, its file sound, and what the process before left."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from adapter.clock import Micros
from adapter.store.sqlite import claims, files, open, shutdown_marker
from adapter.store.sqlite.database import Database, refused
from adapter.store.sqlite.disk import MIB, PAGE_SIZE, RESERVE, DiskReserve, free_bytes
from adapter.store.sqlite.recovery import is_damage

_LEAST_PAGES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a test makes smaller, or makes fail."""

    connect: open.Connect = sqlite3.connect
    reserve: int = RESERVE
    free: Callable[[Path], int] = free_bytes
    log_bound: int = 64 * MIB


DEFAULT: Final = Options()


class Start(NamedTuple):
    keeper: Database
    connection: sqlite3.Connection  # that writes
    lock: int  # of the folder: a descriptor
    last_due: Micros  # of any waiting alarm, on the steady clock of the process before
    maybe_sent_upto: int  # up to which seq what waits may have been sent


async def start(path: Path, max_bytes: int | None, options: Options) -> Start:
    """StoreRefused when the store cannot be opened safely."""
    files.prepare(path)
    lock = files.lock(path)
    max_pages = None if max_bytes is None else max(max_bytes // PAGE_SIZE, _LEAST_PAGES)
    reserve = DiskReserve(path.parent, max_pages=max_pages, reserve=options.reserve, free=options.free)
    keeper = Database(path, connect=options.connect, reserve=reserve, max_pages=max_pages, log_bound=options.log_bound)
    try:
        return await asyncio.to_thread(_first_look, keeper, lock)
    except BaseException as exc:
        os.close(lock)
        if isinstance(exc, sqlite3.Error | OSError):
            raise refused(path, exc) from exc
        raise


def _first_look(keeper: Database, lock: int, *, again: bool = True) -> Start:
    connection = keeper.writer()
    try:
        last_due, maybe_sent_upto = claims.last_due(connection), shutdown_marker.left(connection)
        return Start(keeper, connection, lock, last_due, maybe_sent_upto)
    except BaseException as exc:
        connection.close()
        if not again or not isinstance(exc, sqlite3.Error) or not is_damage(exc):
            raise
        keeper.failed(exc)
    return _first_look(keeper, lock, again=False)
