"""A connection that keeps its last statement, for the error that names the tables it was about."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from adapter.store.tables import place_of


class Connection(sqlite3.Connection):
    statement = ""

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        self.statement = statement
        return super().execute(statement, *parameters)

    def executemany(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        self.statement = statement
        return super().executemany(statement, *parameters)


def connect(path: Path | str, **settings: Any) -> sqlite3.Connection:
    return sqlite3.connect(path, factory=Connection, **settings)


def in_words(error: sqlite3.Error, connection: sqlite3.Connection | None) -> str:
    """The error, with the tables of the statement that met it."""
    return f"{error}{place_of(getattr(connection, 'statement', ''))}"
