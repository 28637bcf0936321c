"""One connection: aiohttp's protocol, telling when it waits for a request, taking turns with the others, and answering
garbage in one fixed way.

aiohttp parses whatever the transport has read, 256 KiB at once, in one go. Of chunks of one byte that is 40,000, and
nobody else has a turn before the last of them. So what comes is handed on in small pieces for a short time, and what
is left waits for its turn, and the transport with it. Strangers wait before their first piece already.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from adapter.server.turns import TURN, Turns

_LINGER: Final = 2.0  # seconds in which the rest of a refused body is read and dropped, so that the answer arrives
_AHEAD: Final = 32 * 1024  # bytes that aiohttp unpacks in one go, and half of what it keeps for who reads the body
_PIECE: Final = 2048  # bytes: a few hundred chunks of one byte
_LARGEST_PIECE: Final = 4 * _PIECE  # while what came before it was parsed in no time
_logger: Final = logging.getLogger("adapter.server.connection")


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

    __slots__ = ("_closed", "_left", "_opened", "_turns", "served", "waiting_since", "welcome")

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        *,
        opened: Callable[[Connection], None],
        closed: Callable[[Connection], None],
        turns: Turns,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            lingering_time=_LINGER,
            read_bufsize=_AHEAD,
        )
        self._opened, self._closed = opened, closed
        self._left = memoryview(b"")  # read by the transport and not handed on yet
        self._turns = turns
        self.waiting_since: float | None = loop.time()
        self.served = self.welcome = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._closed(self)
        self._left = memoryview(b"")
        self._turns.leave(self._hand_on)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not data:  # how aiohttp goes on with what it has kept
            super().data_received(data)
            return
        if self.served and self.waiting_since is not None:
            self.served = False
            self.waiting_since = self._loop.time()
        if self._left or not self.welcome:
            self._left = memoryview(bytes(self._left) + data)  # TLS may bring more than was read before the pause
            self._pause_transport_reading()
            self._ask()
        else:
            self._left = memoryview(data)
            self._hand_on(time.perf_counter() + TURN)

    @property
    def _held_back(self) -> bool:
        """aiohttp has enough for now, and says when it has not."""
        return self._reading_paused or self._buffer_paused

    def _ask(self) -> None:
        if not self._held_back:
            self._turns.ask(self._hand_on)

    def _hand_on(self, until: float) -> None:
        size, now = _PIECE, time.perf_counter()
        while self._left and not self._held_back and now <= until:
            piece, self._left = bytes(self._left[:size]), self._left[size:]
            super().data_received(piece)
            began, now = now, time.perf_counter()
            size = _PIECE if now - began > TURN / 8 else min(2 * size, _LARGEST_PIECE)
        if self._left:
            self._pause_transport_reading()
        if not self._held_back:
            self._resume_transport_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """aiohttp calls this for each chunk that is read, and would call its parser each time, paused or not."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def _resume_transport_reading(self) -> None:
        """aiohttp wants more: first what is left, then the transport."""
        if self._left:
            self._ask()
        else:
            super()._resume_transport_reading()

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
