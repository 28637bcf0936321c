"""Listens on one address: limits the number of connections and how long a client may take to send a request.

Every accepted socket counts, from its TLS handshake on. A client has `header_seconds` for the handshake, as long again
for the headers of each request, and as long for the check of its password; a connection that has been served may then
stay idle for `idle_seconds`. When all `max_connections` are taken, one that waits is closed in favour of the new one:
one of the source with most of them, of these one that was never served or was refused, of these the one that has
waited longest. A new connection is refused only when a request is being handled on every other one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NoReturn

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler
from multidict import CIMultiDictProxy

from adapter.clock import SystemClock
from adapter.logs import RepeatFilter, event
from adapter.server.address import parse_listen_address, source_of
from adapter.server.body import drop_body

_logger: Final = logging.getLogger("adapter.server.listener")
RESERVED_FILES: Final = 256
_POST: Final = b"POST "
_SWEEP_SECONDS: Final = 0.5
_REST_SECONDS: Final = 0.001  # between two connections that are opened or closed, so that the others are served
_MOST_AT_ONCE: Final = 16  # connections that are opened without a rest, for the rests that a busy loop has missed
_READ_AHEAD: Final = 16 * 1024  # bytes, half of what aiohttp buffers before it is read


def most_connections(wanted: int, listeners: int) -> int:
    """How many of `wanted` connections each of `listeners` may hold, so that other open files are never lacking.

    Raises the soft limit of open files to the hard one first. RESERVED_FILES are for COC, the store and files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a kernel's own bound may be lower
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    most = min(wanted, max(1, (soft - RESERVED_FILES) // listeners))
    if most < wanted:
        event(
            _logger, logging.WARNING, "holding fewer connections than webhook.max_connections: raise the limit of open "
            "files (ulimit -n)", limit=soft, connections=most,
        )  # fmt: skip
    return most


async def listen(
    app: web.Application,
    address: str,
    ssl_context: Callable[[], ssl.SSLContext | None] = lambda: None,
    *,
    header_seconds: float = 10.0,
    max_connections: int = 1000,
    idle_seconds: float = 330.0,
    drain_seconds: float = 15.0,
    on_malformed_post: Callable[[str], None] = lambda source: None,
) -> Listener:
    """Serves `app` at `address` (":9876", "localhost:0", ...). OSError when it is not possible to listen there.

    `ssl_context` is asked for each new connection, so that a renewed certificate needs no restart.
    `idle_seconds` is a little more than Alertmanager's own five minutes, so that the client closes first.
    `drain_seconds`: how long `close` waits for requests in flight. `on_malformed_post` is called with the source of a
    POST that is answered 400 before any middleware, for its headers cannot be read.
    """
    app.middlewares.insert(0, _handle)
    app.middlewares.append(_work)
    app.on_response_prepare.append(_finish_headers)
    sock = await _bind(address)
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=drain_seconds)
    try:
        await runner.setup()
    except BaseException:
        sock.close()
        raise
    assert runner.server is not None
    runner.server.request_factory = _ignoring_expectations(runner.server.request_factory)
    return Listener(runner, sock, ssl_context, header_seconds, max_connections, idle_seconds, on_malformed_post)


class Listener:
    """A socket being served. `port` is the real one when the address said 0."""

    def __init__(
        self,
        runner: web.AppRunner,
        sock: socket.socket,
        ssl_context: Callable[[], ssl.SSLContext | None],
        header_seconds: float,
        max_connections: int,
        idle_seconds: float,
        on_malformed_post: Callable[[str], None],
    ) -> None:
        self.port: int = sock.getsockname()[1]
        self._runner, self._sock, self._ssl_context = runner, sock, ssl_context
        self._header_seconds, self._idle_seconds, self._max_connections = header_seconds, idle_seconds, max_connections
        self._on_malformed_post = on_malformed_post
        self._repeats = RepeatFilter(SystemClock(), every=60.0)
        self._loop = asyncio.get_running_loop()
        self._open: dict[Connection, asyncio.Task[None]] = {}  # and the task of its TLS handshake
        self._resting_until = 0.0  # loop time
        self._rest = self._loop.call_soon(self._loop.add_reader, sock, self._accept)
        self._sweeping = self._loop.create_task(self._sweep())

    @property
    def connections(self) -> int:
        """Sockets that are open now, those in the TLS handshake included."""
        return len(self._open)

    async def close(self) -> None:
        """Accepts no more connections, waits for requests in flight, runs the application's shutdown and cleanup."""
        self._rest.cancel()
        self._loop.remove_reader(self._sock)
        tasks = (self._sweeping, *self._open.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._sock.close()
        await self._runner.cleanup()

    def _accept(self) -> None:
        """Opens the connections that wait, with rests between them."""
        while self._resting_until <= (now := self._loop.time()):
            try:
                sock, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno in (errno.EMFILE, errno.ENFILE):
                    self._close_longest_wait()
                if self._repeats.failed("accept") is not None:
                    event(_logger, logging.ERROR, "cannot accept connections", error=exc)
                self._resting_until = now + 0.1
                break
            self._resting_until = max(self._resting_until, now - _MOST_AT_ONCE * _REST_SECONDS) + _REST_SECONDS
            self._open_connection(sock, peer[0])
        self._loop.remove_reader(self._sock)
        self._rest = self._loop.call_at(self._resting_until, self._loop.add_reader, self._sock, self._accept)

    def _open_connection(self, sock: socket.socket, peer: str) -> None:
        if self.connections >= self._max_connections and not self._close_longest_wait():
            if self._repeats.failed("full") is not None:
                message = "all connections are at work, closing new ones"
                event(_logger, logging.WARNING, message, open=self.connections)
            sock.close()
            return
        sock.setblocking(False)
        assert self._runner.server is not None
        connection = Connection(
            self._runner.server, self._loop, self._open, self._repeats, source_of(peer), self._on_malformed_post
        )
        task = self._open[connection] = self._loop.create_task(self._start(connection, sock))
        task.add_done_callback(partial(self._started, connection, sock))

    async def _start(self, connection: Connection, sock: socket.socket) -> None:
        """The TLS handshake, if any, after which aiohttp serves the connection."""
        peer, context = "unknown", self._ssl_context()
        try:
            peer = sock.getpeername()[0]
            await self._loop.connect_accepted_socket(
                lambda: connection, sock, ssl=context, ssl_handshake_timeout=self._header_seconds if context else None
            )
        except OSError as exc:
            self._open.pop(connection, None)
            sock.close()
            if self._repeats.failed(("handshake", peer)) is not None:
                event(_logger, logging.INFO, "connection refused in the TLS handshake", source=peer, error=exc)

    def _started(self, connection: Connection, sock: socket.socket, task: asyncio.Task[None]) -> None:
        if task.cancelled():  # perhaps before its first step
            self._open.pop(connection, None)
            sock.close()

    def _close_longest_wait(self) -> bool:
        """Closes the connection that has waited longest of the source with most; False when all are at work."""
        waiting = [connection for connection in self._open if connection.waiting_since is not None]
        if waiting:
            held = Counter(connection.source for connection in waiting)
            min(waiting, key=lambda each: (-held[each.source], each.trusted, each.waiting_since)).abort()
        return bool(waiting)

    async def _sweep(self) -> None:
        """Closes connections that took too long; one pass over all of them instead of a timer for each."""
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self._header_seconds / 4))
            now = self._loop.time()
            for connection in list(self._open):
                since = connection.waiting_since
                patience = self._idle_seconds if connection.idle else self._header_seconds
                if since is not None and now - since > patience:
                    connection.abort()
                    await asyncio.sleep(_REST_SECONDS)


class Connection(web.RequestHandler):
    """aiohttp's connection, which also says since when it waits, and answers a malformed request in one fixed way.

    waiting_since: loop time since when it waits for a request, None while one is handled. idle: nothing of the next
    request has arrived. trusted: the last request was not refused. packed: bodies come as they were sent. posts: the
    first request, or the one after an idle moment, is a POST.
    """

    packed = True
    __slots__ = ("_on_malformed_post", "_open", "_repeats", "idle", "posts", "source", "trusted", "waiting_since")

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        open_: dict[Connection, asyncio.Task[None]],
        repeats: RepeatFilter,
        source: str,
        on_malformed_post: Callable[[str], None],
    ) -> None:
        """`open_` holds the connection while it is open, and the task that makes the TLS handshake."""
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            lingering_time=0,  # _handle reads the rest of a refused body
            read_bufsize=_READ_AHEAD,
            auto_decompress=False,  # read_body does; aiohttp refuses encodings before any middleware has seen them
        )
        self._open, self._repeats, self.source = open_, repeats, source
        self._on_malformed_post = on_malformed_post
        self.waiting_since: float | None = loop.time()
        self.idle = self.trusted = self.posts = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.waiting_since = self._loop.time()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._open.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.waiting_since is not None and data.startswith(_POST):
            self.posts = True
        if data and self.idle and self.waiting_since is not None:
            self.idle = False
            self.waiting_since = self._loop.time()
        super().data_received(data)

    def abort(self) -> None:
        """Closes at once, without waiting for a client that may be slow to read too."""
        handshake = self._open.pop(self, None)
        if handshake is not None:
            handshake.cancel()
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> NoReturn:
        """Answers a malformed request, or a bug of ours, with one fixed text that repeats nothing of what was sent."""
        if status >= 500:
            self.log_exception(exc_info=exc)
        elif self.posts:
            self._on_malformed_post(self.source)
        if self.transport is not None and not self.transport.is_closing() and request.writer.output_size == 0:
            self.transport.write(_INTERNAL_ERROR if status >= 500 else _BAD_REQUEST)
            self.transport.close()  # what is written is still sent
        raise ConnectionError("answered already")  # tells aiohttp that there is nothing left to send

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Logs bugs only: aiohttp's message about a malformed request repeats what the client has sent."""
        exc = kw.get("exc_info")
        if not isinstance(exc, ConnectionError | web.RequestPayloadError | HttpProcessingError):
            self._repeats.bug(_logger, "a connection failed (a bug in the adapter)", exc)


def _fixed(status: str, text: str) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text)}\r\n"
        f"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{text}"
    ).encode()


_BAD_REQUEST: Final = _fixed("400 Bad Request", "bad request\n")
_INTERNAL_ERROR: Final = _fixed("500 Internal Server Error", "internal error, see the adapter's log\n")


@web.middleware
async def _handle(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost middleware: notes on the connection whether a request waits, and reads the rest of a refused body.

    Before the other middlewares have let the request pass (a password may wait to be verified), and while the rest of
    a body is read, the connection may be closed in favour of a new one.
    """
    connection = request.protocol
    assert isinstance(connection, Connection)
    connection.waiting_since, connection.idle = asyncio.get_running_loop().time(), False
    response: web.StreamResponse | None = None
    try:
        response = await handler(request)
        return response
    except web.HTTPException as exc:
        response = exc
        raise
    finally:
        connection.waiting_since, connection.idle = asyncio.get_running_loop().time(), True
        connection.posts = False
        if response is not None:
            connection.trusted = response.status < 400
            await drop_body(request, response)


@web.middleware
async def _work(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Innermost middleware: notes on the connection that a request is handled."""
    assert isinstance(request.protocol, Connection)
    request.protocol.waiting_since = None
    return await handler(request)


async def _finish_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Of every response, also of those that aiohttp makes itself."""
    response.headers.pop("Server", None)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")


def _ignoring_expectations(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """`make`, but without an `Expect` other than 100-continue.

    aiohttp refuses it before any middleware, on known paths and others, so that it is answered without credentials and
    not counted.
    """

    def make_request(message: RawRequestMessage, *rest: Any) -> web.BaseRequest:
        if message.headers.get("Expect", "100-continue").lower() != "100-continue":
            headers = message.headers.copy()
            headers.popall("Expect")
            message = message._replace(headers=CIMultiDictProxy(headers))
        return make(message, *rest)

    return make_request


async def _bind(address: str) -> socket.socket:
    host, port = parse_listen_address(address)
    if host is None and socket.has_dualstack_ipv6():
        sock = socket.create_server(("", port), family=socket.AF_INET6, backlog=512, dualstack_ipv6=True)
    else:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)  # noqa: S104
        family, *_, target = min(found, key=lambda entry: entry[0] != socket.AF_INET)  # localhost may be both
        sock = socket.create_server(target, family=family, backlog=512)
    sock.setblocking(False)
    return sock
