"""A wire between a store and its server that breaks at a chosen message: each point of a transaction, one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

from tests.postgres import PostgresServer

Break = Literal["before", "after", "terminate"]
"""The message is not passed on; its answer is not passed back; the server process is terminated before it."""


class BreakingWire:
    """Counts the messages of all clients once `break_at` was called; healthy again after the one that broke."""

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
        """The same database over this wire."""
        return dsn.replace(f":{self._server.port}/", f":{self.port}/")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._server.port)
        except OSError:
            writer.close()
            return
        answers = asyncio.ensure_future(_pump(back, writer))
        try:
            while message := await reader.read(1 << 20):
                self._left -= 1
                if self._left == 0 and await self._break(message, forth, answers):
                    return
                forth.write(message)
                await forth.drain()
        except OSError:
            pass
        finally:
            self._tasks.discard(task)
            answers.cancel()
            for end in (forth, writer):
                end.transport.abort()

    async def _break(self, message: bytes, forth: asyncio.StreamWriter, answers: asyncio.Task[None]) -> bool:
        """True when the connection is to be cut."""
        port = forth.get_extra_info("sockname")[1]
        if self._how == "terminate":
            await self._terminate(port)
            return False
        if self._how == "after":
            answers.cancel()
            forth.write(message)
            await forth.drain()
            await self._at_rest(port)
        return True

    async def _terminate(self, port: int) -> None:
        async with self._server.admin() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE client_port = $1", port
            )

    async def _at_rest(self, port: int) -> None:
        """Until the server is done with what it was sent."""
        async with asyncio.timeout(10), self._server.admin() as connection:
            busy = "SELECT count(*) FROM pg_stat_activity WHERE client_port = $1 AND wait_event IS DISTINCT FROM $2"
            while await connection.fetchval(busy, port, "ClientRead"):
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Once the clients are gone."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)


@asynccontextmanager
async def breaking_wire(server: PostgresServer) -> AsyncIterator[BreakingWire]:
    wire = BreakingWire(server)
    listener = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.port = listener.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        listener.close()
        await wire.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while answer := await reader.read(1 << 20):
            writer.write(answer)
            await writer.drain()
    writer.transport.abort()
