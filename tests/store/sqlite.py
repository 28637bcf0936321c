"""SQLite stores for tests: with small limits, and over connections that fail once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from adapter.errors import StoreUnavailable
from adapter.store.sqlite.database import Options
from adapter.store.sqlite.disk import MIB
from adapter.store.sqlite.store import SqliteStore
from tests.fakes import FakeClock

T = TypeVar("T")


async def open_at(path: Path, **options: Any) -> SqliteStore:
    return await SqliteStore.open(path, backlog=10_000_000, clock=FakeClock(), options=small_options(**options))


def small_options(**options: Any) -> Options:
    """A reserve that fits into a test."""
    return Options(**({"reserve": MIB} | options))


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Call again while the store is unavailable, as delivery does."""
    for _ in range(100):
        try:
            return await call()
        except StoreUnavailable:
            await asyncio.sleep(0.06)
    return await call()


def broken(countdown: list[int], code: int) -> type[sqlite3.Connection]:
    """A connection class that fails with `code` once, when `countdown[0]` statements have run; zero means never."""
    return type("Broken", (_Broken,), {"countdown": countdown, "code": code})


class _Broken(sqlite3.Connection):
    countdown: ClassVar[list[int]] = [0]
    code = sqlite3.SQLITE_FULL

    def _fail(self) -> None:
        self.countdown[0] -= 1
        if self.countdown[0] == 0:
            error = sqlite3.OperationalError(f"made to fail with {self.code}")
            error.sqlite_errorcode = self.code
            raise error

    def execute(self, *args: Any) -> sqlite3.Cursor:  # type: ignore[override]
        self._fail()
        return super().execute(*args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:  # type: ignore[override]
        self._fail()
        return super().executemany(*args)
