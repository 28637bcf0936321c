"""One connection: aiohttp's protocol, telling when it waits for a request, and answering garbage in one fixed way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, NoReturn

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

_LINGER: Final = 2.0  # seconds in which the rest of a refused body is read and dropped, so that the answer arrives
_logger: Final = logging.getLogger("adapter.web.connection")


def _fixed(status: str, text: str) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text)}\r\n"
        f"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{text}"
    ).encode()


_BAD_REQUEST: Final = _fixed("400 Bad Request", "bad request\n")
_DEFECT: Final = _fixed("500 Internal Server Error", "internal error, see the adapter's log\n")


class Connection(web.RequestHandler):
    """`opened` and `closed` are told of it.

    waiting_since: loop time, None while a handler runs. served: the wait is the pause after an answer, and nothing of
    the next request has come yet. welcome: the last answer was no refusal.
    """

    __slots__ = ("_closed", "_opened", "served", "waiting_since", "welcome")

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        *,
        opened: Callable[[Connection], None],
        closed: Callable[[Connection], None],
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            lingering_time=_LINGER,
        )
        self._opened, self._closed = opened, closed
        self.waiting_since: float | None = loop.time()
        self.served = self.welcome = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.served and self.waiting_since is not None:
            self.served = False
            self.waiting_since = self._loop.time()
        super().data_received(data)

    def hang_up(self) -> None:
        transport = self.transport
        self._closed(self)
        self.force_close()
        if transport is not None:
            transport.abort()  # whoever is slow to send may be slow to read as well

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> NoReturn:
        """Garbage on the wire, or a defect: one fixed answer, nothing of what was sent."""
        if status >= 500:
            self.log_exception(exc_info=exc)
        if self.transport is not None and not self.transport.is_closing() and request.writer.output_size == 0:
            self.transport.write(_DEFECT if status >= 500 else _BAD_REQUEST)
            self.transport.close()  # what is written still goes out
        raise ConnectionError("answered already")  # how aiohttp is told that there is nothing left to send

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """aiohttp's words about a client hold what it has sent; only a defect of our own is worth a line."""
        exc = kw.get("exc_info")
        if not isinstance(exc, ConnectionError | web.RequestPayloadError | HttpProcessingError):
            _logger.error("%s", "a connection failed; this is a defect of the adapter", exc_info=exc)
