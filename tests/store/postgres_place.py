"""PostgreSQL under the contract suite: a new database of the test's server for each test."""

from __future__ import annotations

from typing import Any

from adapter.store import open_store
from adapter.store.contract import Store
from tests.fakes import FakeClock
from tests.postgres import PostgresServer

_SHIFT = "UPDATE alarm SET due = due - $1::float8 * interval '1 s' WHERE lease_until IS NULL"
_RELEASE = "UPDATE alarm SET due = now(), lease_until = now() WHERE lease_until IS NOT NULL"
_KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"


class PostgresPlace:
    """A Place. The server's clock cannot be moved, so `advance` moves what waits for it towards now."""

    def __init__(self, server: PostgresServer, dsn: str = "") -> None:
        self.clock = FakeClock()
        self.server = server
        self.dsn = dsn
        self._backlog = 1000
        self._opened: list[Store] = []

    async def open(self, *, backlog: int = 1000, **more: Any) -> Store:
        self._backlog = backlog
        self.dsn = self.dsn or await self.server.new_database()
        store = await open_store(self.dsn, backlog=backlog, clock=self.clock, **more)
        self._opened.append(store)
        return store

    async def crash(self, store: Store) -> Store:
        """Cuts every connection of the dead process; its leases are over."""
        await self.kill_backends()
        async with self.server.admin(self.dsn) as connection:
            await connection.execute(_RELEASE)
        return await self.open(backlog=self._backlog)

    async def restart(self, store: Store) -> Store:
        await store.close()
        return await self.open(backlog=self._backlog)

    async def kill_backends(self) -> None:
        async with self.server.admin() as connection:
            await connection.execute(_KILL, self.dsn.rpartition("/")[2])

    async def advance(self, store: Store, seconds: float) -> None:
        self.clock.pass_time(seconds)
        async with self.server.admin(self.dsn) as connection:
            await connection.execute(_SHIFT, seconds)

    async def leave(self) -> None:
        for store in self._opened:
            await store.close()
