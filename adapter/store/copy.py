"""`store copy`: everything of one store into another, empty one, in one transaction, while nobody serves either."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from adapter.clock import Clock
from adapter.errors import StoreRefused
from adapter.store.copy_form import TABLES, Copied, Rows
from adapter.store.copy_sqlite import SqliteEnd


class End(Protocol):
    """One store, taken so that nobody else can serve or change it; what is written is kept when `finish` returns."""

    def rows(self, table: str) -> AsyncIterator[Rows]:
        """All rows of the table by id, some at a time."""
        ...

    async def ids(self) -> dict[str, int]:
        """The last id given out, by table."""
        ...

    async def empty(self) -> bool: ...

    async def write(self, table: str, rows: Rows) -> None: ...

    async def figures(self) -> Copied: ...

    async def finish(self, ids: dict[str, int]) -> Copied:
        """Make sums and queues whole, go on with these ids, commit."""
        ...


async def copy_store(source_url: str, target_url: str, clock: Clock) -> Copied:
    """StoreRefused when the source is being served, the target is not empty, or not everything arrived."""
    if source_url == target_url:
        raise StoreRefused("the source and the target are the same store")
    async with _take(source_url, clock, "source") as source, _take(target_url, clock, "target") as target:
        if not await target.empty():
            raise StoreRefused("the target is not empty: give an empty database or a path where there is none yet")
        for table in TABLES:
            async for rows in source.rows(table):
                await target.write(table, rows)
        before, after = await source.figures(), await target.figures()
        if before != after:
            raise StoreRefused(f"not everything arrived, nothing was kept: {before} became {after}")
        return await target.finish(await source.ids())


def _take(url: str, clock: Clock, role: str) -> AbstractAsyncContextManager[End]:
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        path = Path(rest)
        if role == "source" and not path.exists():
            raise StoreRefused(f"the source {path} does not exist")
        return SqliteEnd.take(path, clock)
    if scheme in ("postgresql", "postgres"):
        try:
            from adapter.store.copy_postgres import PostgresEnd
        except ModuleNotFoundError as exc:
            raise StoreRefused(
                'a PostgreSQL store needs asyncpg; install it with: pip install "coc-adapter[postgres]"'
            ) from exc
        return PostgresEnd.take(url, clock, role)
    raise StoreRefused(f"no store is called {scheme}:...; use sqlite:PATH or postgresql://...")
