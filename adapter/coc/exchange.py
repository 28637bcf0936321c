"""One POST over a connection of aiohttp's pool, without the session around it.

Making a connection (names, TLS, proxies), keeping it and parsing the answer are aiohttp's. What is left out is what a
session does for each request: URL, cookies, redirects, encodings, tracing, a task that writes. A report needs none of
it, and a fresh alarm costs 240 us of CPU instead of 280.

Relied on of aiohttp, beyond its documented interface: `connector.connect(request, traces, timeout)`, and of the
protocol that gives `set_response_params`, `read` and `should_close`. tests/coc/test_exchange.py holds them to it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL


@dataclass(slots=True)
class Answer:
    """What came back, and how far the request got."""

    sent: bool = False  # some of the request may have left
    status: int = 0  # 0: no answer came
    headers: CIMultiDictProxy[str] = field(default_factory=lambda: CIMultiDictProxy(CIMultiDict()))
    body: bytes = b""
    whole: bool = False  # False too when there was more of the body than wanted
    broken: Exception | None = None  # why the rest did not come


class Target(NamedTuple):
    """Where requests go: `request` tells aiohttp which connection is wanted, `line` starts each of them."""

    connector: aiohttp.BaseConnector
    limits: aiohttp.ClientTimeout
    request: aiohttp.ClientRequest
    line: bytes

    @classmethod
    def of(cls, url: URL, session: aiohttp.ClientSession, **connection: object) -> Target:
        """Inside the running loop. `connection` are aiohttp's arguments: ssl, server_hostname, proxy, proxy_headers."""
        assert session.connector is not None, "the session is closed"
        loop = asyncio.get_running_loop()
        request = aiohttp.ClientRequest("POST", url, loop=loop, session=session, **connection)  # type: ignore[arg-type]
        # RFC 9112, 3.2.2: a proxy that is no tunnel is asked with the whole URL.
        whole = request.proxy is not None and not request.is_ssl()
        line = f"POST {url if whole else url.raw_path_qs} HTTP/1.1\r\n".encode("ascii")
        return cls(session.connector, session.timeout, request, line)

    async def post(self, headers: dict[str, str], body: bytes, *, longest: int) -> Answer:
        """Send one request and read at most `longest` bytes of the answer's body. Raises only CancelledError."""
        head = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        answer = Answer()
        try:
            request = b"%b%bContent-Length: %d\r\n\r\n%b" % (self.line, head.encode("ascii"), len(body), body)
            async with asyncio.timeout(self.limits.total):
                await self._exchange(request, answer, longest)
        except HttpProcessingError as exc:
            info = self.request.request_info
            answer.broken = aiohttp.ClientResponseError(info, (), status=exc.code, message=exc.message)
        except Exception as exc:
            answer.broken = exc
        return answer

    async def _exchange(self, request: bytes, answer: Answer, longest: int) -> None:
        connection, protocol, transport = await self._connect()
        body = bytearray()
        try:
            protocol.set_response_params(read_until_eof=True, auto_decompress=False)
            answer.sent = True
            transport.write(request)
            message, content = await protocol.read()
            while message.code < 200 and message.code != 101:
                message, content = await protocol.read()
            answer.status, answer.headers = message.code, message.headers
            while len(body) < longest and not content.at_eof():
                body += await content.read(longest - len(body))
            answer.whole = content.at_eof()
        finally:
            answer.body = bytes(body)
            if answer.whole:
                connection.release()  # to the pool, unless the answer said that it closes
            else:
                connection.close()  # the rest of this answer must not be taken for the next one's

    async def _connect(self) -> tuple[Connection, ResponseHandler, asyncio.Transport]:
        """A connection that can take a request. A kept one that has died meanwhile is replaced once."""
        for _ in range(2):
            try:
                connection = await self.connector.connect(self.request, [], self.limits)
            except TimeoutError as exc:
                raise aiohttp.ConnectionTimeoutError from exc
            protocol, transport = connection.protocol, connection.transport
            # One that should close may hold an answer to no request, such as a 408 for having been idle.
            if not (protocol is None or transport is None or transport.is_closing() or protocol.should_close):
                return connection, protocol, transport
            connection.close()
        raise aiohttp.ServerDisconnectedError
