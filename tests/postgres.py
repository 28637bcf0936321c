"""Debian's PostgreSQL in a temporary folder, run by an unprivileged user, on a loopback port; replicas that use it."""

from __future__ import annotations

import asyncio
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg

from adapter.clock import SystemClock
from adapter.store.postgres.store import PostgresStore, open_postgres
from tests.needs import needs
from tests.stage import free_port

DATABASES = 4  # more than any test needs at a time
_ALONE = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class PostgresServer:
    """One server process; `stop` and `start` as often as a test likes."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        self._settings = settings
        self._turns = itertools.count()
        self._run("initdb", "-D", f"{folder}/data", "-U", "app", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.folder} {self._settings}"
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-l", f"{self.folder}/log", "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` is a crash: the log is replayed at the next start."""
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-m", mode, "-w", "stop")

    @property
    def running(self) -> bool:
        return (self.folder / "data" / "postmaster.pid").exists()

    @property
    def pid(self) -> int:
        """The server's process; each connection is a child of it."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://app@127.0.0.1:{self.port}/{database}"

    async def new_database(self) -> str:
        """The DSN of an empty database. They are few and used in turn: copying the template each time takes longer."""
        name = f"test_{next(self._turns) % DATABASES}"
        async with self.admin() as connection:
            if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name):
                await connection.execute(f"CREATE DATABASE {name}")
        async with self.admin(self.dsn(name)) as connection:
            await connection.execute(_ALONE)
            await connection.execute("DROP SCHEMA IF EXISTS coc_adapter CASCADE")
        return self.dsn(name)

    @asynccontextmanager
    async def admin(self, dsn: str = "") -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """A connection of its own, as superuser, in the adapter's schema where there is one."""
        connection = await asyncpg.connect(dsn or self.dsn())
        try:
            await connection.execute("SET search_path = coc_adapter, public")
            yield connection
        finally:
            await connection.close()

    def _run(self, program: str, *arguments: str) -> None:
        command = [*_as_nobody(), needs(program), *arguments]
        done = subprocess.run(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)
        if done.returncode:
            log = self.folder / "log"
            log_end = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise RuntimeError(f"{program} failed: {done.stderr.decode(errors='replace')}{log_end}")


@contextmanager
def postgres_server(settings: str = "", parent: str = "/tmp") -> Iterator[PostgresServer]:
    """A running server, removed afterwards."""
    needs("initdb")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=parent))
    try:
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            os.chown(folder, user.pw_uid, user.pw_gid)
        server = PostgresServer(folder, settings)
        server.start()
        try:
            yield server
        finally:
            if server.running:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def eventually_connects(dsn: str, seconds: float = 20.0) -> None:
    """Wait until the server answers."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await (await asyncpg.connect(dsn)).close()
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)
            else:
                return


@asynccontextmanager
async def replicas(
    dsn: str, count: int, *, lease: float = 25.0, backlog: int = 10**6
) -> AsyncIterator[list[PostgresStore]]:
    """Stores on one database, named replica-0 and so on."""
    async with AsyncExitStack() as stack:
        stores = []
        for number in range(count):
            clock = SystemClock()
            store = await open_postgres(dsn, backlog=backlog, clock=clock, lease=lease, replica=f"replica-{number}")
            stack.push_async_callback(store.close)
            stores.append(store)
        yield stores


async def wrong_queues(server: PostgresServer, dsn: str) -> int:
    """How many alarms say that another number of reports is pending than there is."""
    statement = """SELECT count(*) FROM alarm a
        WHERE pending <> (SELECT count(*) FROM report r WHERE r.alarm = a.id AND outcome IS NULL)"""
    async with server.admin(dsn) as connection:
        return int(await connection.fetchval(statement))


@contextmanager
def transaction_pooler(server: PostgresServer) -> Iterator[int]:
    """PgBouncer that hands out its two server connections transaction by transaction; its port."""
    port = free_port()
    config = server.folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port} user=app\n"
        f"[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\nunix_socket_dir=\nauth_type=any\n"
        "pool_mode=transaction\ndefault_pool_size=2\nserver_reset_query=\n"
    )
    command = [*_as_nobody(), needs("pgbouncer"), "-q", str(config)]
    with (server.folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=server.folder, stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


def _as_nobody() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
