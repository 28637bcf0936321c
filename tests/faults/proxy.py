"""A TCP proxy between a store and PostgreSQL that breaks the connection at a chosen message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

from tests.postgres import PostgresServer

Break = Literal["before", "after", "terminate"]
"""Drop the message; drop its answer; terminate the server process before the message."""


class BreakingProxy:
    """Counts the messages of all clients after `break_at`; passes everything on after the one that broke."""

    def __init__(self, server: PostgresServer) -> None:
        self.port = 0
        self._server = server
        self._left = 0
        self._how: Break = "before"
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def broke(self) -> bool:
        return self._left <= 0

    def break_at(self, message: int, how: Break) -> None:
        self._left, self._how = message, how

    def dsn(self, dsn: str) -> str:
        """The DSN of the same database over this proxy."""
        return dsn.replace(f":{self._server.port}/", f":{self.port}/")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        except OSError:
            writer.close()
            return
        answers = asyncio.ensure_future(_pump(server_reader, writer))
        try:
            while message := await reader.read(1 << 20):
                self._left -= 1
                if self._left == 0 and await self._break(message, server_writer, answers):
                    return
                server_writer.write(message)
                await server_writer.drain()
        except OSError:
            pass
        finally:
            self._tasks.discard(task)
            answers.cancel()
            for end in (server_writer, writer):
                end.transport.abort()

    async def _break(self, message: bytes, server_writer: asyncio.StreamWriter, answers: asyncio.Task[None]) -> bool:
        """Break the connection; True when it must be closed."""
        port = server_writer.get_extra_info("sockname")[1]
        if self._how == "terminate":
            await self._terminate(port)
            return False
        if self._how == "after":
            answers.cancel()
            server_writer.write(message)
            await server_writer.drain()
            await self._until_idle(port)
        return True

    async def _terminate(self, port: int) -> None:
        async with self._server.admin() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE client_port = $1", port
            )

    async def _until_idle(self, port: int) -> None:
        """Wait until the server has processed everything."""
        async with asyncio.timeout(10), self._server.admin() as connection:
            busy = "SELECT count(*) FROM pg_stat_activity WHERE client_port = $1 AND wait_event IS DISTINCT FROM $2"
            while await connection.fetchval(busy, port, "ClientRead"):
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Wait until all clients have disconnected."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)


@asynccontextmanager
async def breaking_proxy(server: PostgresServer) -> AsyncIterator[BreakingProxy]:
    proxy = BreakingProxy(server)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()
        await proxy.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while answer := await reader.read(1 << 20):
            writer.write(answer)
            await writer.drain()
    writer.transport.abort()
