"""Servers for tests of the client: a scripted server on a raw socket, a CONNECT proxy; and the client itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from adapter.clock import SystemClock
from adapter.coc.client import CocClient
from adapter.coc.endpoint import Endpoint
from adapter.secret import Secret

KEY = "k3yk3yk3yk3yk3yk3yk3yk3yk3yk3y32"
SUCCESS = b'{"error_code":"COC.00000000","error_msg":"success","provider_code":"049","data":null}'


def answer(status: int = 200, body: bytes = SUCCESS, *headers: str, length: int | None = None) -> bytes:
    """An HTTP/1.1 answer as bytes."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True)
class Request:
    """A request as it was received."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection; None when the client has closed it."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    line, *rest = head.rstrip("\r\n").split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (each.partition(":") for each in rest)]
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Request(line, headers, await reader.readexactly(length))


def reset(writer: asyncio.StreamWriter) -> None:
    """Close the connection by RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


Script = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def answering(data: bytes) -> Script:
    """A script that gives the same answer to each request."""

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return script


@dataclass
class ScriptedServer:
    """The port and the received requests."""

    port: int
    requests: list[Request] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def scripted_server(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedServer]:
    """Run `script` for each request of each connection; close all connections at the end."""
    server = ScriptedServer(0)
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while not writer.is_closing() and (request := await read_request(reader)):
                server.requests.append(request)
                await script(request, writer)
        writer.close()

    async with listening(serve, tls) as port:
        server.port = port
        try:
            yield server
        finally:
            for writer in writers:
                writer.transport.abort()


@asynccontextmanager
async def listening(serve: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """asyncio.start_server on a free loopback port; all its connections have ended when this is left."""
    tasks: set[asyncio.Task[None]] = set()

    async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(tracked, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tuple(tasks), return_exceptions=True)


@asynccontextmanager
async def client_of(base: str | int, **changes: Any) -> AsyncIterator[CocClient]:
    """An open client for a base_url, or for plain HTTP on a loopback port."""
    base_url = f"http://127.0.0.1:{base}" if isinstance(base, int) else base
    settings: dict[str, Any] = {"integration_key": Secret(value=KEY), "timeout": 5.0} | changes
    if isinstance(proxy := settings.get("proxy_url"), str):
        settings["proxy_url"] = Secret(value=proxy)
    client = CocClient(Endpoint(base_url=base_url, **settings), SystemClock())
    try:
        yield client
    finally:
        await client.close()


@dataclass
class Proxy:
    """A forward proxy for CONNECT requests; `log` has their heads."""

    port: int
    log: list[str] = field(default_factory=list)


@asynccontextmanager
async def connect_proxy(*, credentials: str = "", refusing: int = 0) -> AsyncIterator[Proxy]:
    """`credentials`: the required Proxy-Authorization; `refusing`: the status of its answer to every CONNECT."""
    proxy = Proxy(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        proxy.log.append(head)
        status = refusing or (407 if credentials and f"Proxy-Authorization: {credentials}" not in head else 200)
        if status != 200:
            writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            writer.close()
            return
        host, _, port = head.split()[1].rpartition(":")
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_pump(reader, server_writer), _pump(server_reader, writer))
        finally:
            server_writer.transport.abort()
            writer.transport.abort()

    async with listening(serve) as port:
        proxy.port = port
        yield proxy


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
