"""The directories of COC's applications in PostgreSQL: one row each, which every replica reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from adapter.clock import Micros
from adapter.store.postgres.connection import Database, retried
from adapter.store.records import DIRECTORY_COLUMNS

_FETCHED: Final = "SELECT integration, fetched FROM directory"
_NODES: Final = "SELECT nodes FROM directory WHERE integration = $1"
_KEEP: Final = f"""
INSERT INTO directory ({DIRECTORY_COLUMNS}) VALUES ($1, $2, $3)
ON CONFLICT (integration) DO UPDATE SET fetched = excluded.fetched, nodes = excluded.nodes
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class PostgresDirectories:
    """A DirectoryStore."""

    database: Database

    async def directories_fetched(self) -> dict[str, Micros]:
        async with self.database.read() as connection:
            return {row["integration"]: row["fetched"] for row in await connection.fetch(_FETCHED)}

    async def directory(self, integration: str) -> bytes | None:
        async with self.database.read() as connection:
            nodes: bytes | None = await connection.fetchval(_NODES, integration)
        return nodes

    @retried
    async def keep_directory(self, integration: str, fetched: Micros, nodes: bytes) -> None:
        async with self.database.write() as connection:
            await connection.execute(_KEEP, integration, fetched, nodes)
