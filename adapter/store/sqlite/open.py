"""Connections to a SQLite store, and bringing its schema up to date."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, Final

from adapter.errors import StoreRefused
from adapter.store.sqlite import queries
from adapter.store.sqlite.disk import PAGE_SIZE
from adapter.store.sqlite.files import sync_folder

Connect = Callable[..., sqlite3.Connection]
"""sqlite3.connect or something that fails on purpose."""

APPLICATION_ID: Final = 0x434F4341  # "COCA"
_CHECKPOINT_PAGES: Final = 4000  # 16 MB of log: small enough to be replayed at a start without being noticed
_LOG_LIMIT: Final = 32 * 2**20


def connect_writer(path: Path, connect: Connect = sqlite3.connect, max_pages: int | None = None) -> sqlite3.Connection:
    """The one connection that writes and checkpoints."""
    new = not path.exists()
    connection: sqlite3.Connection = connect(path, isolation_level=None, timeout=0.25, check_same_thread=False)
    try:
        _pragmas(
            connection,
            page_size=PAGE_SIZE,
            journal_mode="WAL",
            synchronous="FULL",
            wal_autocheckpoint=_CHECKPOINT_PAGES,
            journal_size_limit=_LOG_LIMIT,
            cache_size=-16384,
            mmap_size=0,
            temp_store="MEMORY",
            foreign_keys=0,
        )
        if max_pages is not None:
            _pragmas(connection, max_page_count=max_pages)
    except sqlite3.Error:
        connection.close()
        raise
    if new:
        sync_folder(path.parent)
    return connection


def connect_reader(path: Path, connect: Connect = sqlite3.connect) -> sqlite3.Connection:
    """A connection that can neither write nor checkpoint."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    connection: sqlite3.Connection = connect(uri, uri=True, isolation_level=None, timeout=0.25, check_same_thread=False)
    try:
        _pragmas(connection, query_only=1, cache_size=-8192, mmap_size=0, temp_store="MEMORY")
        queries.register(connection)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _pragmas(connection: sqlite3.Connection, **settings: Any) -> None:
    for name, value in settings.items():
        connection.execute(f"PRAGMA {name} = {value}").fetchall()


def migrate(connection: sqlite3.Connection, path: Path, target: int = 0) -> None:
    """Apply the migrations this store lacks up to `target`, 0 for all; refuse a store of a newer version."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    steps = migrations()
    latest = max(steps)
    if owner not in (0, APPLICATION_ID) or (owner == 0 and _has_tables(connection)):
        raise StoreRefused(f"{path} is a SQLite database of another program; give the store a file of its own")
    if version > latest:
        raise StoreRefused(
            f"{path} was written by a newer version (schema {version}, this one knows {latest}); "
            "run that version, or start with another store"
        )
    for number in range(version + 1, (target or latest) + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {steps[number]}; PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {number}; COMMIT;"
        )


def migrations() -> dict[int, str]:
    """The numbered files migrations/sqlite/NNNN_name.sql."""
    folder = resources.files("adapter.store.sqlite") / "schema"
    found = {}
    for file in folder.iterdir():
        name = re.fullmatch(r"(\d{4})_\w+\.sql", file.name)
        if name:
            found[int(name[1])] = file.read_text("utf-8")
    return found


def _has_tables(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
