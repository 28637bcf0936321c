"""Where a store can be opened, crashed and opened again: one class per backend, for the contract suite."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

from adapter.store import open_store
from adapter.store.contract import Store
from adapter.store.memory import MemoryStore
from tests.fakes import FakeClock
from tests.postgres import PostgresServer

_SHIFT = "UPDATE alarm SET due = due - $1::float8 * interval '1 s' WHERE lease_until IS NULL"
_RELEASE = "UPDATE alarm SET due = now(), lease_until = now() WHERE lease_until IS NOT NULL"
_KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"


class Place(Protocol):
    """One backend under test, empty at first. `leave` closes the stores that it opened."""

    clock: FakeClock
    """The clock given to the stores."""

    async def open(self, *, backlog: int = 1000, **more: Any) -> Store: ...

    async def crash(self, store: Store) -> Store:
        """Kill the process, and open what it left, with its leases over."""
        ...

    async def restart(self, store: Store) -> Store:
        """Close the store and open it again."""
        ...

    async def advance(self, store: Store, seconds: float) -> None:
        """Let time pass for the store's delays."""
        ...

    async def leave(self) -> None: ...


class MemoryPlace:
    def __init__(self) -> None:
        self.clock = FakeClock()

    async def open(self, *, backlog: int = 1000, **more: Any) -> Store:
        return MemoryStore(backlog=backlog, clock=self.clock, **more)

    async def crash(self, store: Store) -> Store:
        assert isinstance(store, MemoryStore)
        store.restart(killed=True)
        return store

    async def restart(self, store: Store) -> Store:
        assert isinstance(store, MemoryStore)
        store.restart(killed=False)
        return store

    async def advance(self, store: Store, seconds: float) -> None:
        self.clock.pass_time(seconds)

    async def leave(self) -> None:
        pass


class SqlitePlace:
    """A crash copies the files under the running store, which is what power loss leaves of them at that instant."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.folder = folder / "0"
        self._crashes = 0
        self._backlog = 1000
        self._opened: list[Store] = []

    @property
    def path(self) -> Path:
        return self.folder / "adapter.db"

    async def open(self, *, backlog: int = 1000, **more: Any) -> Store:
        self._backlog = backlog
        store = await open_store(f"sqlite:{self.path}", backlog=backlog, clock=self.clock, **more)
        self._opened.append(store)
        return store

    async def crash(self, store: Store) -> Store:
        self._crashes += 1
        left = self.folder.parent / str(self._crashes)
        left.mkdir()
        for name in ("adapter.db", "adapter.db-wal"):
            if (self.folder / name).exists():
                shutil.copyfile(self.folder / name, left / name)
        await store.close()
        self.folder = left
        return await self.open(backlog=self._backlog)

    async def restart(self, store: Store) -> Store:
        await store.close()
        return await self.open(backlog=self._backlog)

    async def advance(self, store: Store, seconds: float) -> None:
        self.clock.pass_time(seconds)

    async def leave(self) -> None:
        for store in self._opened:
            await store.close()


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
