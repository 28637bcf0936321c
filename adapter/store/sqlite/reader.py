"""A thread that reads: its own read-only connection, opened anew after a failure or when the file was replaced."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from adapter.errors import StoreUnavailable

T = TypeVar("T")


class Reader:
    def __init__(
        self,
        name: str,
        connect: Callable[[], sqlite3.Connection],
        *,
        generation: Callable[[], int],
        on_failure: Callable[[sqlite3.Error, int], None],
    ) -> None:
        """`generation` changes when the file at the path is replaced; `on_failure` gets the one that failed.

        All three run in the thread.
        """
        self._connect = connect
        self._generation = generation
        self._on_failure = on_failure
        self._opened = -1
        self._connection: sqlite3.Connection | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def call(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """`read` inside one read transaction, so that all its statements see the same commit."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, read)
        except RuntimeError as exc:
            raise StoreUnavailable("the store is closed") from exc

    def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = self._ready()
            connection.execute("BEGIN")
            try:
                return read(connection)
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._drop()
            self._on_failure(error, self._opened)
            raise StoreUnavailable(f"the store cannot be read: {error}") from error

    def _ready(self) -> sqlite3.Connection:
        if self._opened != self._generation():
            self._drop()
        if self._connection is None:
            self._opened = self._generation()
            self._connection = self._connect()
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    async def close(self) -> None:
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.interrupt()  # whatever still reads, such as a check of a large file, need not end
            with contextlib.suppress(RuntimeError):
                await asyncio.get_running_loop().run_in_executor(self._pool, self._drop)
        self._pool.shutdown(wait=True)
