"""The directories of COC's applications in SQLite: one row each."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from adapter.clock import Micros
from adapter.store.records import DIRECTORY_COLUMNS
from adapter.store.sqlite.reader import Reader
from adapter.store.sqlite.writer import Writer

_FETCHED: Final = "SELECT integration, fetched FROM directory"
_NODES: Final = "SELECT nodes FROM directory WHERE integration = ?"
_KEEP: Final = f"INSERT OR REPLACE INTO directory ({DIRECTORY_COLUMNS}) VALUES (?, ?, ?)"  # noqa: S608


@dataclass(frozen=True, slots=True)
class SqliteDirectories:
    """A DirectoryStore."""

    writer: Writer
    reader: Reader
    check_place: Callable[[], None]

    async def directories_fetched(self) -> dict[str, Micros]:
        return await self.reader.call(_fetched)

    async def directory(self, integration: str) -> bytes | None:
        return await self.reader.call(_nodes, integration)

    async def keep_directory(self, integration: str, fetched: Micros, nodes: bytes) -> None:
        await self.writer.call(self._keep, integration, fetched, nodes)

    def _keep(self, connection: sqlite3.Connection, integration: str, fetched: Micros, nodes: bytes) -> None:
        self.check_place()
        connection.execute(_KEEP, (integration, fetched, nodes))


def _fetched(connection: sqlite3.Connection) -> dict[str, Micros]:
    return {row["integration"]: row["fetched"] for row in connection.execute(_FETCHED)}


def _nodes(connection: sqlite3.Connection, integration: str) -> bytes | None:
    row = connection.execute(_NODES, (integration,)).fetchone()
    return row["nodes"] if row else None
