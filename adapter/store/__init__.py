"""Opens a store by its URL. Nothing outside this package names a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adapter.clock import Clock
from adapter.errors import StoreRefused
from adapter.store.contract import Store
from adapter.store.memory import MemoryStore
from adapter.store.sqlite.store import SqliteStore
from adapter.store.url import store_problem


async def open_store(
    url: str,
    *,
    backlog: int,
    clock: Clock,
    on_commit: Callable[[float], None] = lambda seconds: None,
    max_bytes: int | None = None,
    lease: float = 25.0,
    reread: Callable[[], str] | None = None,
) -> Store:
    """Open `sqlite:PATH`, `memory:` or `postgresql://...`; StoreRefused says in one line why it cannot be done.

    `backlog` bounds the pending reports of all integrations together. `on_commit` is called with the seconds that each
    durable commit took, from any thread. `max_bytes` bounds the SQLite file. `lease` is how many seconds a replica may
    hold a claim. `reread` reads the URL again, after PostgreSQL refused a login by it.
    """
    if problem := store_problem(url):
        raise StoreRefused(f"{problem}; use sqlite:PATH, postgresql://... or memory:")
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        return MemoryStore(backlog=backlog, clock=clock)
    if scheme == "sqlite":
        return await SqliteStore.open(
            Path(rest), backlog=backlog, clock=clock, on_commit=on_commit, max_bytes=max_bytes
        )
    with needs_asyncpg():
        from adapter.store.postgres.store import open_postgres
    return await open_postgres(url, backlog=backlog, clock=clock, on_commit=on_commit, lease=lease, reread=reread)


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
