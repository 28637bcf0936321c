"""Connections to one PostgreSQL database: a pool, one shape of transaction, and what each failure means.

Rules for changes here, all of them for transaction poolers and for failovers:
1. No session state: no LISTEN, no SET without LOCAL, no session lock, no named prepared statement. Every statement
   runs inside a transaction, because a pooler may move the next one to another server process.
2. A commit is never cancelled, only given up: PostgreSQL answers a cancelled wait for its standby with success, and a
   repeat of the webhook would then find it done. Its backend goes on, so it counts against the pool until it answers.
3. A connection that failed in any unclear way is thrown away, not given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from adapter.clock import Clock
from adapter.errors import AdapterError, StoreRefused, StoreUnavailable
from adapter.store.postgres.login import TROUBLE, Login, hosts_of, reason, refusal
from adapter.store.tables import place_of

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Proxy = PoolConnectionProxy[asyncpg.Record]

P = ParamSpec("P")
T = TypeVar("T")

SCHEMA: Final = "coc_adapter"
POOL_SIZE: Final = 10
CONNECT_SECONDS: Final = 5.0
ACQUIRE_SECONDS: Final = 8.0  # below Alertmanager's peer timeout of 15 s, after which its twin sends too
STATEMENT_SECONDS: Final = 8.0
COMMIT_SECONDS: Final = 8.0
COMMIT_ANSWERED_SECONDS: Final = 30 * 86_400.0  # no limit; a machine that is gone is noticed by keepalive
CLOSE_SECONDS: Final = 10.0
CANCEL_SECONDS: Final = 2.0
TRIES: Final = 3  # of a transaction that met another one

_SCHEMA_CHANGED: Final = ("42", "23", "22001", "22003")  # also by a constraint or a narrower type of another program
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


class SchemaChanged(StoreUnavailable):
    """A right was revoked, or a table is not as this adapter made it."""


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


class Connection:
    """A connection during one transaction. Keeps its last statement, for the error that names its tables."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.statement = ""

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        self.statement = statement
        return await self.proxy.fetch(statement, *arguments)

    async def fetchval(self, statement: str, *arguments: object) -> Any:
        self.statement = statement
        return await self.proxy.fetchval(statement, *arguments)

    async def execute(self, statement: str, *arguments: object, seconds: float | None = None) -> str:
        """`seconds`: until it counts as unanswered, where not as for others."""
        self.statement = statement
        return await self.proxy.execute(statement, *arguments, timeout=seconds)

    async def copy_records(self, table: str, columns: Sequence[str], records: Sequence[Sequence[object]]) -> None:
        self.statement = f"COPY INTO {table}"
        await self.proxy.copy_records_to_table(table, records=records, columns=columns, schema_name=SCHEMA)


class Database:
    """A pool of connections. Reconnects by itself; after `close` every transaction is StoreUnavailable."""

    def __init__(self, pool: asyncpg.Pool[Any], login: Login, clock: Clock, on_commit: Callable[[float], None]) -> None:
        self.log_in_by = login.want
        self._pool = pool
        self._clock = clock
        self._on_commit = on_commit
        self._closed = False
        self._given_up: dict[Proxy, asyncio.Task[str]] = {}  # commits that were not answered yet
        self._outlasting: set[asyncio.Task[None]] = set()
        self._transactions = 0  # under way, or waiting for a connection
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    async def connect(
        cls,
        dsn: str,
        *,
        clock: Clock,
        on_commit: Callable[[float], None] = lambda seconds: None,
        reread: Callable[[], str] | None = None,
    ) -> Self:
        """StoreUnavailable when no server that takes writes answers, StoreRefused for a URL that cannot be used.

        `reread`: reads the URL again, whose password may have changed.
        """
        pool = None
        login = Login(dsn, reread or (lambda: dsn))
        try:
            hosts = hosts_of(dsn)
            pool = await asyncpg.create_pool(
                min_size=0,
                max_size=POOL_SIZE,
                connect=login.connect,
                statement_cache_size=0,
                target_session_attrs=SessionAttribute.read_write,
                timeout=CONNECT_SECONDS,
                command_timeout=STATEMENT_SECONDS + 2,
                reset=_nothing_to_reset,
            )
            async with pool.acquire(timeout=ACQUIRE_SECONDS):
                return cls(pool, login, clock, on_commit)
        except asyncpg.ClientConfigurationError as exc:
            raise StoreRefused(f"the store's URL cannot be used: {reason(exc)}") from exc
        except ValueError:  # which quotes what was read, half a password perhaps
            advice = "a user or password in it is written with %2F for /, %3F for ?, %23 for # and so on"
            raise StoreRefused(f"the store's URL cannot be read; {advice}") from None
        except TROUBLE as exc:
            if pool is not None:
                pool.terminate()
            raise StoreUnavailable(f"PostgreSQL at {hosts} cannot be used: {reason(exc)}") from exc

    async def login_refused(self, dsn: str) -> str | None:
        return await refusal(dsn, CONNECT_SECONDS)

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
        if len(self._given_up) == POOL_SIZE:
            raise StoreUnavailable(f"{POOL_SIZE} commits wait for PostgreSQL to confirm them, or for its standby")
        connection = None
        self._transactions += 1
        self._idle.clear()
        try:
            connection = Connection(await self._pool.acquire(timeout=ACQUIRE_SECONDS))
            await connection.execute(begin)
            yield connection
            if begin is _READ:
                await connection.execute("COMMIT")
            elif connection.proxy.is_in_transaction():
                await self._commit(connection.proxy)
        except BaseException as exc:
            if connection is not None and connection.proxy not in self._given_up:
                await _roll_back(connection.proxy, exc)
            if isinstance(exc, TROUBLE):
                raise await self._meaning(exc, connection.statement if connection else "") from exc
            raise
        finally:
            if connection is not None and connection.proxy not in self._given_up:
                await self._pool.release(connection.proxy)
            self._transactions -= 1
            if not self._transactions:
                self._idle.set()

    async def _commit(self, connection: Proxy) -> None:
        warnings: list[str] = []

        def warned(_: object, message: Any) -> None:
            if message.severity_en == "WARNING":
                warnings.append(str(message))

        connection.add_log_listener(warned)
        started = self._clock.monotonic()
        commit = asyncio.create_task(connection.execute(_COMMIT, timeout=COMMIT_ANSWERED_SECONDS))
        commit.add_done_callback(lambda done: done.cancelled() or done.exception())  # where it is given up
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                tag = await asyncio.shield(commit)
        except BaseException as exc:
            if commit.done():
                _drop(connection)
            else:
                self._give_up(connection, commit)
            if not isinstance(exc, TROUBLE):
                raise
            raise CommitUnknown(f"the commit was not confirmed: {reason(exc)}") from exc
        connection.remove_log_listener(warned)
        self._on_commit(self._clock.monotonic() - started)
        if tag != "COMMIT":
            raise StoreUnavailable(f"PostgreSQL answered {tag} to COMMIT")
        if warnings:
            raise CommitUnknown(f"the commit is not on the standby: {warnings[0]}")

    def _give_up(self, connection: Proxy, commit: asyncio.Task[str]) -> None:
        """Keep the connection until the commit is answered: PostgreSQL does not notice that nobody waits for it."""

        async def outlast() -> None:
            await asyncio.wait((commit,))
            with suppress(*TROUBLE):
                await connection.close(timeout=CANCEL_SECONDS)
            del self._given_up[connection]
            await self._pool.release(connection)

        self._given_up[connection] = commit
        task = asyncio.create_task(outlast(), name="commit given up")
        self._outlasting.add(task)
        task.add_done_callback(self._outlasting.discard)

    async def _meaning(self, exc: Exception, statement: str) -> Exception:
        """The error to raise instead; what only a mistake of ours can cause stays as it is."""
        state = (exc.sqlstate or "") if isinstance(exc, asyncpg.PostgresError) else ""
        message = f"PostgreSQL: {reason(exc)}" + (place_of(statement) if state else "")
        # A key is not unique where an alarm came while one of its fingerprint was moved to its integration.
        if isinstance(exc, asyncpg.DeadlockDetectedError | asyncpg.SerializationError | asyncpg.UniqueViolationError):
            return TryAgain(message)
        if isinstance(exc, asyncpg.ReadOnlySQLTransactionError):
            # A failover made this server a standby: connect anew, to the one that takes writes.
            await self._pool.expire_connections()
            return StoreUnavailable("the PostgreSQL server takes no writes; looking for the one that does")
        if state.startswith(_SCHEMA_CHANGED):
            return SchemaChanged(message)
        return exc if state.startswith("22") else StoreUnavailable(message)

    async def close(self, *, cancel: bool = False) -> None:
        """Wait for the transactions under way; those that take longer than CLOSE_SECONDS are cut off.

        `cancel`: at the server too, the commits that were given up; where nothing was acknowledged by them.
        """
        self._closed = True
        if cancel and self._given_up:
            for commit in self._given_up.values():
                commit.cancel()
            await asyncio.wait(self._outlasting, timeout=2 * CANCEL_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._idle.wait()
                if not self._given_up:
                    await self._pool.close()
                    return
        self._pool.terminate()


async def _nothing_to_reset(_: object) -> None:
    """There is no session state (rule 1), so the round trip of asyncpg's reset is saved."""


async def _roll_back(connection: Proxy, exc: BaseException) -> None:
    """Leave a usable connection behind, or none."""
    if isinstance(exc, asyncpg.PostgresError | AdapterError):  # the server's answer, or a decision of ours
        with suppress(*TROUBLE):
            await connection.execute("ROLLBACK", timeout=2)
            return
    _drop(connection)


def _drop(connection: Proxy) -> None:
    # One that is gone already answers with InterfaceError, which must not hide why it went.
    with suppress(asyncpg.InterfaceError):
        connection.terminate()
