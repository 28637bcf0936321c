"""One listening socket: how many connections, how long a client may take, and no banner.

Every accepted socket counts from the first packet on, TLS handshake included. A client has `header_seconds` for the
handshake and as long again for each request's headers; a connection that has been served may then rest for
`idle_seconds`. When all places are taken, the connection that has been waiting longest without a request gives up its
place, strangers before those who were served, so that slow or silent clients cannot keep others out; only when every
connection is at work is a new one closed. Many that come at once are let in one by one, and strangers and pipelined
requests take turns, so that whoever was served before goes on being served.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from adapter.clock import Clock, SystemClock
from adapter.logs import RepeatFilter, event
from adapter.server.address import parse_listen_address
from adapter.server.connection import Connection
from adapter.server.turns import Turns

_logger: Final = logging.getLogger("adapter.server.listener")
_SWEEP: Final = 0.5
_APART: Final = 0.001  # seconds between two that come, or two that are hung up on, so that others have their turn


async def listen(
    app: web.Application,
    address: str,
    ssl_context: ssl.SSLContext | None,
    *,
    header_seconds: float = 10.0,
    max_connections: int = 1000,
    idle_seconds: float = 330.0,
    drain_seconds: float = 15.0,
    clock: Clock | None = None,
) -> Listener:
    """Serves `app` at `address` (":9876", "localhost:0", ...). OSError when the address cannot be had.

    `idle_seconds` is a little more than Alertmanager's own five minutes, so that it is the client who hangs up.
    `drain_seconds`: what requests in flight are given at close.
    """
    if _drop_banner not in app.on_response_prepare:
        app.on_response_prepare.append(_drop_banner)
    sock = await _bind(address)
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=drain_seconds)
    try:
        await runner.setup()
    except BaseException:
        sock.close()
        raise
    return Listener(runner, sock, ssl_context, header_seconds, max_connections, idle_seconds, clock or SystemClock())


class Listener:
    """A socket being served. `port` is the real one when the address said 0."""

    def __init__(
        self,
        runner: web.AppRunner,
        sock: socket.socket,
        ssl_context: ssl.SSLContext | None,
        header_seconds: float,
        max_connections: int,
        idle_seconds: float,
        clock: Clock,
    ) -> None:
        self.port: int = sock.getsockname()[1]
        self._runner = runner
        self._sock = sock
        self._ssl = ssl_context
        self._header_seconds = header_seconds
        self._max_connections = max_connections
        self._idle_seconds = idle_seconds
        self._quiet = RepeatFilter(clock, every=60.0)
        self._loop = asyncio.get_running_loop()
        self._greeting: dict[asyncio.Task[None], float] = {}  # in the TLS handshake or about to be served, since when
        self._open: dict[Connection, None] = {}
        self._turns = Turns(self._loop)
        assert runner.server is not None
        runner.server.request_handler = self._at_work(runner.server.request_handler)
        self._tasks = [self._loop.create_task(self._accept()), self._loop.create_task(self._sweep())]

    @property
    def connections(self) -> int:
        """Sockets that are open now, those in the TLS handshake included."""
        return len(self._open) + len(self._greeting)

    async def stop_accepting(self) -> None:
        """Closes the listening socket; what is connected goes on being served."""
        for task in self._tasks[:1]:
            task.cancel()
        await asyncio.gather(*self._tasks[:1], return_exceptions=True)
        self._sock.close()

    async def close(self) -> None:
        """Takes no more connections, lets requests in flight finish, runs the application's shutdown and cleanup."""
        await self.stop_accepting()
        for task in (*self._tasks, *self._greeting):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._greeting, return_exceptions=True)
        await self._runner.cleanup()

    async def _accept(self) -> None:
        while True:
            try:
                sock, _ = await self._loop.sock_accept(self._sock)
            except OSError as exc:  # out of file descriptors, or the client has gone already
                if self._quiet.failed("accept") is not None:
                    event(_logger, logging.ERROR, "cannot accept connections", error=exc)
                await asyncio.sleep(0.1)
                continue
            if self.connections >= self._max_connections and not self._make_room():
                if self._quiet.failed("full") is not None:
                    event(
                        _logger, logging.WARNING, "all connections are at work, closing new ones", open=len(self._open)
                    )
                sock.close()
                continue
            sock.setblocking(False)
            task = self._loop.create_task(self._greet(sock))
            self._greeting[task] = self._loop.time()
            task.add_done_callback(self._greeting.pop)
            await asyncio.sleep(_APART)

    async def _greet(self, sock: socket.socket) -> None:
        peer = "unknown"
        try:
            peer = sock.getpeername()[0]
            await self._loop.connect_accepted_socket(
                self._connection, sock, ssl=self._ssl, ssl_handshake_timeout=self._header_seconds if self._ssl else None
            )
        except asyncio.CancelledError:
            sock.close()
            raise
        except OSError as exc:
            sock.close()
            if self._quiet.failed(("handshake", peer)) is not None:
                event(_logger, logging.INFO, "connection refused in the TLS handshake", source=peer, error=exc)

    def _connection(self) -> Connection:
        assert self._runner.server is not None
        return Connection(self._runner.server, self._loop, opened=self._opened, closed=self._closed, turns=self._turns)

    def _at_work(self, handler: Any) -> Any:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            connection = request.protocol
            assert isinstance(connection, Connection)
            if connection.served:  # the last answer has not been waited for
                await self._turns.taken()
            connection.waiting_since = None
            try:
                response: web.StreamResponse = await handler(request)
                connection.welcome = response.status < 400
            finally:
                connection.waiting_since = self._loop.time()
                connection.served = True
                if "Content-Encoding" in request.headers and not request.content.is_eof():
                    # Reading on for politeness, as with plain bodies, would unpack the rest of a bomb.
                    request.content.set_exception(ConnectionError("refused before its end"))
            return response

        return handle

    def _make_room(self) -> bool:
        """Ends the oldest handshake or wait for a request, strangers first; False when all connections are at work."""
        waits: list[tuple[bool, float, Callable[[], object]]] = [
            (connection.welcome, since, connection.hang_up)
            for connection in self._open
            if (since := connection.waiting_since) is not None
        ]
        waits += [(False, since, task.cancel) for task, since in self._greeting.items()]
        if not waits:
            return False
        _, _, end = min(waits, key=lambda wait: wait[:2])
        end()
        return True

    async def _sweep(self) -> None:
        """Hangs up on whoever has taken too long; one pass over all connections, no timer for each."""
        while True:
            await asyncio.sleep(min(_SWEEP, self._header_seconds / 4))
            now = self._loop.time()
            for connection in list(self._open):
                since = connection.waiting_since
                patience = self._idle_seconds if connection.served else self._header_seconds
                if since is not None and now - since > patience:
                    connection.hang_up()
                    await asyncio.sleep(_APART)

    def _opened(self, connection: Connection) -> None:
        self._open[connection] = None

    def _closed(self, connection: Connection) -> None:
        self._open.pop(connection, None)


async def _drop_banner(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)


async def _bind(address: str) -> socket.socket:
    host, port = parse_listen_address(address)
    family: int = socket.AF_INET6
    target: Any = ("", port)
    if host is not None or not socket.has_dualstack_ipv6():
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # noqa: S104
        found.sort(key=lambda entry: entry[0] != socket.AF_INET)  # localhost is 127.0.0.1 where it is both
        family, target = found[0][0], found[0][4]
    both = host is None and family == socket.AF_INET6
    sock = socket.create_server(target, family=family, backlog=512, dualstack_ipv6=both)
    sock.setblocking(False)
    return sock
