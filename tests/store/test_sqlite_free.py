"""How much a SQLite store can still take: what `store_free_bytes` tells Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapter.store.contract import Retention
from adapter.store.sqlite.start import Options
from adapter.store.sqlite.store import SqliteStore
from tests.builders import DAY, NOON, delivered, firing
from tests.fakes import FakeClock

MIB = 2**20
AT_ONCE = Retention(delivered=0, dead=0, resolved=0)


@asynccontextmanager
async def store(folder: Path, *, free: int, **more: Any) -> AsyncIterator[SqliteStore]:
    """On a disk with so much room."""
    opened = await SqliteStore.open(
        folder / "adapter.db", backlog=100_000, clock=FakeClock(), options=Options(free=lambda path: free), **more
    )
    try:
        yield opened
    finally:
        await opened.close()


async def free_bytes(opened: SqliteStore) -> int:
    await opened.size()
    found: int = opened.describe()["free_bytes"]
    return found


async def test_it_is_unknown_until_somebody_looked(tmp_path: Path) -> None:
    async with store(tmp_path, free=500 * MIB) as opened:
        assert opened.describe()["free_bytes"] is None


async def test_it_is_what_the_disk_has(tmp_path: Path) -> None:
    async with store(tmp_path, free=500 * MIB) as opened:
        assert await free_bytes(opened) == 500 * MIB


async def test_a_smaller_limit_of_the_file_counts_instead(tmp_path: Path) -> None:
    async with store(tmp_path, free=500 * MIB, max_bytes=4 * MIB) as opened:
        before = await free_bytes(opened)
        assert 3 * MIB < before <= 4 * MIB
        for batch in range(5):
            await opened.accept(firing(*(f"a{batch}x{number}" for number in range(100))))
        assert await free_bytes(opened) < before


async def test_room_that_a_drained_backlog_left_inside_the_file_is_room(tmp_path: Path) -> None:
    async with store(tmp_path, free=500 * MIB) as opened:
        for batch in range(10):
            await opened.accept(firing(*(f"a{batch}x{number}" for number in range(100))))
        while claims := (await opened.claim("default", 1000)).claims:
            await opened.settle([delivered(claim) for claim in claims])
        await opened.maintain(NOON + DAY, AT_ONCE)
        assert await free_bytes(opened) > 500 * MIB
