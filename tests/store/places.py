"""Where a store can be opened, crashed and opened again: one class per backend, for the contract suite."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

from adapter.store import open_store
from adapter.store.contract import Store
from adapter.store.memory import MemoryStore
from tests.fakes import FakeClock


class Place(Protocol):
    """One backend under test, empty at first. Whatever it opened is closed by `leave`."""

    clock: FakeClock
    """The clock given to the stores."""

    async def open(self, *, backlog: int = 1000, **more: Any) -> Store: ...

    async def crash(self, store: Store) -> Store:
        """Let the process die without a word, and open what it left, with the leases of the dead one over."""
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
        return MemoryStore(backlog=backlog, clock=self.clock)

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
