"""Connections to one PostgreSQL database: a pool, one shape of transaction, and what each failure means.

Rules for changes here, all of them for transaction poolers and for failovers:
1. No session state: no LISTEN, no SET without LOCAL, no session lock, no named prepared statement. Every statement
   runs inside a transaction, because a pooler may move the next one to another server process.
2. A commit is never cancelled, only abandoned: PostgreSQL answers a cancelled wait for its standby with success.
3. A connection that failed in any unclear way is thrown away, not given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar
from urllib.parse import parse_qsl, urlsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from adapter.clock import Clock
from adapter.errors import AdapterError, StoreRefused, StoreUnavailable, one_line

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

P = ParamSpec("P")
T = TypeVar("T")

SCHEMA: Final = "coc_adapter"
POOL_SIZE: Final = 10
CONNECT_SECONDS: Final = 5.0
ACQUIRE_SECONDS: Final = 8.0  # below Alertmanager's peer timeout of 15 s, after which its twin sends too
STATEMENT_SECONDS: Final = 8.0
COMMIT_SECONDS: Final = 8.0
CLOSE_SECONDS: Final = 10.0
TRIES: Final = 3  # of a transaction that met another one

TROUBLE: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)

_LIMITS: Final = (
    f"SET LOCAL search_path = {SCHEMA}; SET LOCAL synchronous_commit = on;"
    f" SET LOCAL statement_timeout = {STATEMENT_SECONDS * 1000:.0f}; SET LOCAL lock_timeout = 4000;"
    " SET LOCAL idle_in_transaction_session_timeout = 15000"
)
_WRITE: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; " + _LIMITS
_READ: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; " + _LIMITS
# statement_timeout would cancel the wait for a standby, see rule 2.
_COMMIT: Final = "SET LOCAL statement_timeout = 0; COMMIT"


class TryAgain(StoreUnavailable):
    """Nothing was changed, and the same transaction may well succeed at once (deadlock, serialization)."""


class CommitUnknown(StoreUnavailable):
    """The connection was lost during the commit: it may have happened or not."""


def retried(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Call it again when it raises TryAgain, up to TRIES times in all."""

    @wraps(method)
    async def repeat(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(TRIES - 1):
            with suppress(TryAgain):
                return await method(*args, **kwargs)
        return await method(*args, **kwargs)

    return repeat


def columns(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    """Rows, one at least, as the arrays that `unnest` makes rows of."""
    return [list(column) for column in zip(*rows, strict=True)]


class Database:
    """A pool of connections. Reconnects by itself; after `close` every transaction is StoreUnavailable."""

    def __init__(self, pool: asyncpg.Pool[Any], clock: Clock, on_commit: Callable[[float], None]) -> None:
        self._pool = pool
        self._clock = clock
        self._on_commit = on_commit
        self._closed = False
        self._transactions = 0  # under way, or waiting for a connection
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    async def connect(
        cls, dsn: str, *, clock: Clock, on_commit: Callable[[float], None] = lambda seconds: None
    ) -> Self:
        """StoreUnavailable when no server that takes writes answers, StoreRefused for a URL that cannot be used."""
        pool = None
        try:
            hosts = _hosts(dsn)
            pool = await asyncpg.create_pool(
                dsn,
                min_size=0,
                max_size=POOL_SIZE,
                statement_cache_size=0,
                target_session_attrs=SessionAttribute.read_write,
                timeout=CONNECT_SECONDS,
                command_timeout=STATEMENT_SECONDS + 2,
                reset=_nothing_to_reset,
            )
            async with pool.acquire(timeout=ACQUIRE_SECONDS):
                return cls(pool, clock, on_commit)
        except asyncpg.ClientConfigurationError as exc:
            raise StoreRefused(f"the store's URL cannot be used: {_reason(exc)}") from exc
        except ValueError:  # which quotes what was read, half a password perhaps
            advice = "a user or password in it is written with %2F for /, %3F for ?, %23 for # and so on"
            raise StoreRefused(f"the store's URL cannot be read; {advice}") from None
        except TROUBLE as exc:
            if pool is not None:
                pool.terminate()
            raise StoreUnavailable(f"PostgreSQL at {hosts} cannot be used: {_reason(exc)}") from exc

    def write(self) -> AbstractAsyncContextManager[Connection]:
        """A durable transaction: rolled back by any exception in the block, else committed at its end.

        A block that found nothing to write may execute ROLLBACK itself.
        """
        return self._transaction(_WRITE)

    def read(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction that only reads."""
        return self._transaction(_READ)

    @asynccontextmanager
    async def _transaction(self, begin: str) -> AsyncIterator[Connection]:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        self._transactions += 1
        self._idle.clear()
        try:
            async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
                try:
                    await connection.execute(begin)
                    yield connection
                    if begin is _READ:
                        await connection.execute("COMMIT")
                    elif connection.is_in_transaction():
                        await self._commit(connection)
                except BaseException as exc:
                    await _roll_back(connection, exc)
                    raise
        except TROUBLE as exc:
            raise await self._meaning(exc) from exc
        finally:
            self._transactions -= 1
            if not self._transactions:
                self._idle.set()

    async def _commit(self, connection: Connection) -> None:
        warnings: list[str] = []

        def warned(_: object, message: Any) -> None:
            if message.severity_en == "WARNING":
                warnings.append(str(message))

        connection.add_log_listener(warned)
        started = self._clock.monotonic()
        commit = asyncio.ensure_future(connection.execute(_COMMIT))
        commit.add_done_callback(lambda done: done.exception())  # where it is abandoned
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                tag = await asyncio.shield(commit)
        except TROUBLE as exc:
            _drop(connection)
            raise CommitUnknown(f"the commit was not confirmed: {_reason(exc)}") from exc
        connection.remove_log_listener(warned)
        self._on_commit(self._clock.monotonic() - started)
        if tag != "COMMIT":
            raise StoreUnavailable(f"PostgreSQL answered {tag} to COMMIT")
        if warnings:
            raise CommitUnknown(f"the commit is not on the standby: {warnings[0]}")

    async def _meaning(self, exc: Exception) -> Exception:
        """The error to raise instead; what only a mistake of ours can cause stays as it is."""
        if isinstance(exc, asyncpg.DeadlockDetectedError | asyncpg.SerializationError):
            return TryAgain(f"PostgreSQL: {_reason(exc)}")
        if isinstance(exc, asyncpg.ReadOnlySQLTransactionError):
            # A failover made this server a standby: connect anew, to the one that takes writes.
            await self._pool.expire_connections()
            return StoreUnavailable("the PostgreSQL server takes no writes; looking for the one that does")
        if isinstance(exc, asyncpg.PostgresError) and (exc.sqlstate or "")[:2] in {"22", "23", "42"}:
            return exc
        return StoreUnavailable(f"PostgreSQL: {_reason(exc)}")

    async def close(self) -> None:
        """Wait for the transactions under way; those that take longer than CLOSE_SECONDS are cut off."""
        self._closed = True
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._idle.wait()
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()


def place_of(dsn: str) -> str:
    """The DSN without user, password and options. ValueError where one of them is not percent-encoded."""
    parts = urlsplit(dsn)
    if "@" in parts.path + parts.fragment:
        raise ValueError("the user or password ends the host")
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _hosts(dsn: str) -> str:
    """Every host of the DSN with its port."""
    options = dict(parse_qsl(urlsplit(dsn).query))
    hosts = urlsplit(place_of(dsn)).netloc or options.get("host", "localhost")
    port = options.get("port", "5432")
    return ", ".join(host if ":" in host.rpartition("]")[2] else f"{host}:{port}" for host in hosts.split(","))


async def _nothing_to_reset(_: object) -> None:
    """There is no session state (rule 1), so the round trip of asyncpg's reset is saved."""


async def _roll_back(connection: Connection, exc: BaseException) -> None:
    """Leave a usable connection behind, or none."""
    if isinstance(exc, asyncpg.PostgresError | AdapterError):  # the server's answer, or a decision of ours
        with suppress(*TROUBLE):
            await connection.execute("ROLLBACK", timeout=2)
            return
    _drop(connection)


def _drop(connection: Connection) -> None:
    # One that is gone already answers with InterfaceError, which must not hide why it went.
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


def _reason(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    return one_line(str(exc), 300) or type(exc).__name__
