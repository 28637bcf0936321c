"""A load generator: each of its keep-alive connections sends the next webhook when the last one is answered."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

from bench.sink import cut

_PATIENCE: Final = 60.0  # seconds for one answer
_PAUSE: Final = 0.05  # before a webhook that was refused with 503 is sent again


@dataclass(slots=True, kw_only=True)
class LoadResult:
    """The result of a run. Times are monotonic seconds, latencies are seconds from sending to the whole answer."""

    started: float = 0.0
    ended: float = 0.0
    latencies: list[float] = field(default_factory=list)


class Client(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    @classmethod
    async def connect(cls, port: int) -> Client:
        _, client = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but ancestry

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if (reply := cut(self._buffer)) is not None and self._answer is not None:
            head, body, self._buffer = reply
            if not self._answer.done():
                self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the connection was closed before the answer"))

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; return (status, body) of the answer."""
        if self._transport.is_closing():
            raise ConnectionError("the connection is closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        async with asyncio.timeout(_PATIENCE):
            return await self._answer

    def close(self) -> None:
        self._transport.close()


def post(body: bytes, path: str = "/webhook") -> bytes:
    """A whole request as bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


async def ask(port: int, path: str) -> Any:
    """One GET on a connection of its own; return the JSON of the answer."""
    client = await Client.connect(port)
    try:
        status, body = await client.send(get(path))
    finally:
        client.close()
    if status != 200:
        raise RuntimeError(f"GET {path} was answered {status}")
    return json.loads(body)


async def drive(port: int, bodies: Iterable[bytes], connections: int) -> LoadResult:
    """Send every body once over the connections. After a 503 it is sent again; any other refusal ends the run."""
    clients = [await Client.connect(port) for _ in range(connections)]
    queue, load = iter(bodies), LoadResult(started=time.monotonic())
    try:
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(_send_all(client, queue, load))
    finally:
        for client in clients:
            client.close()
    load.ended = time.monotonic()
    return load


async def _send_all(client: Client, queue: Iterator[bytes], load: LoadResult) -> None:
    for body in queue:
        request = post(body)
        while True:
            sent = time.monotonic()
            status, text = await client.send(request)
            if status == 200:
                load.latencies.append(time.monotonic() - sent)
                break
            if status != 503:
                raise RuntimeError(f"a webhook was answered {status}: {text[:200]!r}")
            await asyncio.sleep(_PAUSE)
