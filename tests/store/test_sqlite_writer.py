"""The writing thread by itself: whatever breaks around it, whoever waits for it gets an answer."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapter.errors import StoreRefused, StoreUnavailable
from adapter.store.sqlite.writer import Writer

PATIENCE = 10.0


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path / "a.db", isolation_level=None, check_same_thread=False)


@asynccontextmanager
async def a_writer(
    path: Path,
    again: Callable[[], sqlite3.Connection] | None = None,
    tend: Callable[[sqlite3.Connection], None] = lambda connection: None,
) -> AsyncIterator[Writer]:
    """`again` makes every connection after the first."""
    writer = Writer(
        again or (lambda: connect(path)),
        connection=connect(path),
        on_commit=lambda seconds: None,
        on_failure=lambda error: None,
        tend=tend,
    )
    try:
        yield writer
    finally:
        await asyncio.wait_for(writer.close(), PATIENCE)


async def asked(writer: Writer) -> int:
    return await asyncio.wait_for(
        writer.call(lambda db: int(db.execute("SELECT 1").fetchone()[0]), lambda result: result), PATIENCE
    )


async def test_a_disk_that_fails_between_two_commits_does_not_end_the_thread(tmp_path: Path) -> None:
    def tend(connection: sqlite3.Connection) -> None:
        raise OSError(5, "Input/output error")

    async with a_writer(tmp_path, tend=tend) as writer:
        assert await asked(writer) == 1
        assert await asked(writer) == 1


async def test_a_file_that_is_refused_when_it_is_opened_anew_is_an_unavailable_store(tmp_path: Path) -> None:
    sound = False

    def again() -> sqlite3.Connection:
        if not sound:
            raise StoreRefused("a database of another program")
        return connect(tmp_path)

    def fail(connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    async with a_writer(tmp_path, again) as writer:
        with pytest.raises(StoreUnavailable):
            await writer.call(fail, lambda result: result)
        async with asyncio.timeout(PATIENCE):
            while True:
                with pytest.raises(StoreUnavailable) as refusal:
                    await asked(writer)
                if "another program" in str(refusal.value):
                    break
        sound = True
        assert await asked(writer) == 1
