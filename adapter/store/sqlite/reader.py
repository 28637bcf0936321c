"""A thread with a read-only connection of its own, opened anew after a failure and when the file is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from adapter.errors import StoreUnavailable
from adapter.store.sqlite.connection import in_words

if TYPE_CHECKING:
    from adapter.store.sqlite.database import Database

T = TypeVar("T")
P = ParamSpec("P")


class Reader:
    def __init__(self, name: str, database: Database, on_failure: Callable[[sqlite3.Error, int], None]) -> None:
        """`on_failure` gets the generation of the file that could not be read. It runs in the thread."""
        self._database = database
        self._on_failure = on_failure
        self._opened = -1
        self._closed = False
        self._connection: sqlite3.Connection | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def call(self, read: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `read(connection, ...)`, all of whose statements see the same commit."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._read, lambda connection: read(connection, *args, **kwargs))

    def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = self._ready()
            connection.execute("BEGIN")
            try:
                return read(connection)
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            words = in_words(error, self._connection)
            self._drop()
            self._on_failure(error, self._opened)
            raise StoreUnavailable(f"the store cannot be read: {words}") from error

    def _ready(self) -> sqlite3.Connection:
        if self._opened != self._database.generation:
            self._drop()
        if self._connection is None:
            self._opened = self._database.generation
            self._connection = self._database.reader()
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    async def close(self) -> None:
        self._closed = True
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.interrupt()  # what still reads is not waited for
            with contextlib.suppress(RuntimeError):
                await asyncio.get_running_loop().run_in_executor(self._pool, self._drop)
        self._pool.shutdown(wait=True)
