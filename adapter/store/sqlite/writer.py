"""The one thread that writes: operations are queued, put into one transaction, and answered after its commit.

An operation that fails is undone by itself, the others of its commit are kept. When the database itself fails (full,
I/O error, read-only, busy, corrupt) everything of that commit is undone and answered with StoreUnavailable, and the
connection is opened anew, with growing pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from adapter.errors import StoreError, StoreUnavailable
from adapter.store.sqlite.connection import in_words
from adapter.store.sqlite.recovery import result_code

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

Connect = Callable[[], sqlite3.Connection]

BATCH_SECONDS: Final = 0.01  # how long operations are gathered into one commit
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0


@dataclass(slots=True)
class _Operation:
    run: Callable[[sqlite3.Connection], Any]
    then: Callable[[Any], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


def is_outage(error: Exception) -> bool:
    """Whether the database failed (full, I/O, read-only, busy, corrupt), not the operation."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    operation = isinstance(error, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.ProgrammingError)
    return not operation and result_code(error) != sqlite3.SQLITE_ERROR


def _schema_changed(error: sqlite3.Error) -> bool:
    """Whether a table lacks what a statement names, or refuses a row by what another program gave it."""
    return isinstance(error, sqlite3.OperationalError | sqlite3.IntegrityError)


class Writer:
    """Owns the writing connection. Private methods run in its thread."""

    def __init__(
        self,
        connect: Connect,
        *,
        connection: sqlite3.Connection,
        on_commit: Callable[[float], None],
        on_failure: Callable[[sqlite3.Error], None],
        between: Callable[[sqlite3.Connection], None],
    ) -> None:
        """`connection` is the first one and `connect` opens the next.

        `on_commit` gets the seconds that each commit took, `on_failure` the error of one that failed, and `between` the
        connection after the answers to a commit are given; all in the thread.
        """
        self._connect = connect
        self._on_commit = on_commit
        self._on_failure = on_failure
        self._between = between
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = connection
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    async def call(self, run: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `run(connection, ...)` once it is committed."""
        return await self.commit(lambda connection: run(connection, *args, **kwargs), lambda result: result)

    async def commit(self, run: Callable[[sqlite3.Connection], T], then: Callable[[T], R]) -> R:
        """The result of `then(run(connection))`; `then` runs in the loop after the commit, even when cancelled."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        future: asyncio.Future[R] = self._loop.create_future()
        self._queue.put(_Operation(run, then, future))
        return await future

    def submit(self, run: Callable[[sqlite3.Connection], None]) -> None:
        """As `call`, from any thread and without an answer."""

        def put() -> None:
            future = self._loop.create_future()
            future.add_done_callback(lambda done: done.exception())
            self._queue.put(_Operation(run, lambda result: result, future))

        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(put)

    async def close(self) -> None:
        """After the commits under way."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            self._commit(batch)
            self._answer(batch)
            self._after_commit()
        self._drop()

    def _commit(self, batch: list[_Operation]) -> None:
        """Run what is queued as one transaction, behind the first of the batch."""
        started = time.monotonic()
        try:
            connection = self._ready()
            connection.execute("BEGIN IMMEDIATE")
            self._run(connection, batch[0])
            while time.monotonic() - started < BATCH_SECONDS and (operation := self._next()) is not None:
                batch.append(operation)
                self._run(connection, operation)
            before = time.monotonic()
            connection.execute("COMMIT")
            self._on_commit(time.monotonic() - before)
            self._pause = _FIRST_PAUSE
        except Exception as error:
            self._fail(batch, error)

    def _next(self) -> _Operation | None:
        """What is queued behind a first operation, up to the end."""
        with contextlib.suppress(queue.Empty):
            operation = self._queue.get_nowait()
            if operation is None:
                self._queue.put(None)
            return operation
        return None

    def _after_commit(self) -> None:
        if self._connection is not None:
            try:
                self._between(self._connection)
            except (sqlite3.Error, OSError) as error:  # a dying disk raises either, which must not end the thread
                self._fail([], error)

    def _run(self, connection: sqlite3.Connection, operation: _Operation) -> None:
        connection.execute("SAVEPOINT operation")
        try:
            operation.result = operation.run(connection)
        except Exception as error:
            if is_outage(error):
                raise
            operation.error = error
            if isinstance(error, sqlite3.Error):
                kind = StoreUnavailable if _schema_changed(error) else StoreError
                operation.error = kind(f"the store refused it: {in_words(error, connection)}")
            if not connection.in_transaction:  # a trigger has rolled all of it back
                raise operation.error from error
            connection.execute("ROLLBACK TO operation")
        connection.execute("RELEASE operation")

    def _ready(self) -> sqlite3.Connection:
        if self._connection is None:
            if time.monotonic() < self._not_before:
                raise StoreUnavailable("the store failed a moment ago and is being opened again")
            self._connection = self._connect()
        return self._connection

    def _fail(self, batch: list[_Operation], error: Exception) -> None:
        if isinstance(error, sqlite3.Error):
            self._drop()
            self._on_failure(error)
            self._not_before = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        if not isinstance(error, StoreUnavailable):
            error = StoreUnavailable(f"the store cannot commit: {error}")
        for operation in batch:
            operation.error = operation.error or error

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.rollback()
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _answer(self, batch: list[_Operation]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed and no caller waits any more
            self._loop.call_soon_threadsafe(_resolve, batch)


def _resolve(batch: list[_Operation]) -> None:
    for operation in batch:
        error = operation.error
        if error is None:
            try:
                operation.result = operation.then(operation.result)
            except Exception as failure:
                error = failure
        if operation.future.done():
            continue
        if error is None:
            operation.future.set_result(operation.result)
        else:
            operation.future.set_exception(error)
