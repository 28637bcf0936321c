"""Opens a store by its URL. Nothing outside this package names a backend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from adapter.clock import Clock
from adapter.errors import StoreRefused
from adapter.store.contract import Store
from adapter.store.memory import MemoryStore
from adapter.store.sqlite.queries import counts_of_file
from adapter.store.sqlite.store import SqliteStore
from adapter.store.url import POSTGRES, store_problem
from adapter.store.views import Counts


async def open_store(
    url: str,
    *,
    backlog: int,
    clock: Clock,
    integrations: Collection[str] = (),
    on_commit: Callable[[float], None] = lambda seconds: None,
    max_bytes: int | None = None,
    lease: float = 25.0,
    reread: Callable[[], str] | None = None,
) -> Store:
    """Open `sqlite:PATH`, `memory:` or `postgresql://...`; StoreRefused says in one line why it cannot be done.

    `backlog` bounds the pending news of `integrations` together, see `Backlog`; the store may hold others.
    `on_commit` is called with the seconds that each durable commit took, from any thread. `max_bytes` bounds the SQLite
    file. `lease` is how many seconds a replica may hold a claim. `reread` reads the URL again, after PostgreSQL refused
    a login by it.
    """
    if problem := store_problem(url):
        raise StoreRefused(f"{problem}; use sqlite:PATH, postgresql://... or memory:")
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        return MemoryStore(backlog=backlog, clock=clock, integrations=integrations)
    if scheme == "sqlite":
        return await SqliteStore.open(
            Path(rest),
            backlog=backlog,
            integrations=integrations,
            clock=clock,
            on_commit=on_commit,
            max_bytes=max_bytes,
        )
    with needs_asyncpg():
        from adapter.store.postgres.store import open_postgres
    return await open_postgres(
        url, backlog=backlog, integrations=integrations, clock=clock, on_commit=on_commit, lease=lease, reread=reread
    )


async def read_counts(url: str, clock: Clock) -> dict[str, Counts]:
    """What a store holds, by integration; nothing where there is none yet.

    It may be served meanwhile; nothing is locked, created or migrated. StoreError when it cannot be read.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        return await asyncio.to_thread(counts_of_file, Path(rest))
    if scheme in POSTGRES:
        with needs_asyncpg():
            from adapter.store.postgres.counts import counts_of_database
        return await counts_of_database(url, clock)
    return {}


@contextmanager
def needs_asyncpg() -> Iterator[None]:
    """StoreRefused where the import inside fails because the extra `postgres` is not installed."""
    try:
        yield
    except ModuleNotFoundError as exc:
        if exc.name != "asyncpg":
            raise
        raise StoreRefused(
            'a PostgreSQL store needs asyncpg; install it with: pip install "coc-adapter[postgres]"'
        ) from exc
