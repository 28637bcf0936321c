"""Debian's PostgreSQL in a temporary folder, run by an unprivileged user, on a loopback port of its own."""

from __future__ import annotations

import asyncio
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg

from tests.needs import needs


class PostgresServer:
    """One server process; `stop` and `start` as often as a test likes."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.folder = folder
        self.port = _free_port()
        self._settings = settings
        self._names = itertools.count(1)
        self._run("initdb", "-D", f"{folder}/data", "-U", "app", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.folder} {self._settings}"
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-l", f"{self.folder}/log", "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` is a crash: nobody is told, the log is replayed at the next start."""
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-m", mode, "-w", "stop")

    @property
    def running(self) -> bool:
        return (self.folder / "data" / "postmaster.pid").exists()

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://app@127.0.0.1:{self.port}/{database}"

    async def new_database(self) -> str:
        """The DSN of a new, empty database."""
        name = f"test_{next(self._names)}"
        async with self.admin() as connection:
            await connection.execute(f"CREATE DATABASE {name}")
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
            said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise RuntimeError(f"{program} failed: {done.stderr.decode(errors='replace')}{said}")


@contextmanager
def postgres_server(settings: str = "") -> Iterator[PostgresServer]:
    """A running server, removed afterwards."""
    needs("initdb")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
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


def _as_nobody() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
