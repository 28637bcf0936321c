"""One POST over a connection of aiohttp's pool, without the session around it.

Making a connection (names, TLS, proxies), keeping it and parsing the answer are aiohttp's. What is left out is what a
session does for each request: URL, cookies, redirects, encodings, tracing, a task that writes. Together that is a
quarter of what a report costs in all, and a report needs none of it.

Relied on of aiohttp, beyond its documented interface: `connector.connect(request, traces, timeout)`, and of the
protocol that gives `set_response_params`, `read` and `should_close`. tests/coc/test_exchange.py holds them to it.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage
from multidict import CIMultiDictProxy
from yarl import URL


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


class Answer(NamedTuple):
    """What came back. `broken`: why the rest of the body did not; `whole` is False when there was more than wanted."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    whole: bool
    broken: Exception | None


class Exchange:
    """One request and its answer, of which at most `longest` bytes of the body are read.

    `sent`: some of the request may have left. `stale`: the kept connection was closed before any of it could.
    """

    def __init__(self, *, longest: int) -> None:
        self.sent = False
        self.stale = False
        self._message: RawResponseMessage | None = None
        self._parts: list[bytes] = []
        self._room = longest

    async def run(self, target: Target, headers: dict[str, str], body: bytes) -> Answer:
        """Raises what a session would: TimeoutError, OSError and aiohttp's own."""
        broken: Exception | None = None
        try:
            async with asyncio.timeout(target.limits.total):
                await self._run(target, _request(target.line, headers, body))
        except HttpProcessingError as exc:
            broken = aiohttp.ClientResponseError(target.request.request_info, (), status=exc.code, message=exc.message)
        except (aiohttp.ClientError, OSError) as exc:
            broken = exc
        if self._message is None:
            assert broken is not None
            raise broken
        return Answer(self._message.code, self._message.headers, b"".join(self._parts), self._room > 0, broken)

    async def _run(self, target: Target, request: bytes) -> None:
        try:
            connection = await target.connector.connect(target.request, [], target.limits)
        except TimeoutError as exc:
            raise aiohttp.ConnectionTimeoutError from exc
        ended = False
        try:
            protocol, transport = connection.protocol, connection.transport
            # Such a connection may hold an answer to no request, such as a 408 for having been idle.
            if protocol is None or transport is None or transport.is_closing() or protocol.should_close:
                self.stale = True
                raise aiohttp.ServerDisconnectedError
            protocol.set_response_params(read_until_eof=True, auto_decompress=False)
            self.sent = True
            transport.write(request)
            ended = await self._read(protocol)
        finally:
            if ended:
                connection.release()  # to the pool, unless the answer said that it closes
            else:
                connection.close()  # the rest of this answer must not be taken for the next one's

    async def _read(self, protocol: ResponseHandler) -> bool:
        """Whether the answer was read to its end."""
        message, content = await protocol.read()
        while message.code < 200 and message.code != 101:
            message, content = await protocol.read()
        self._message = message
        while self._room and not content.at_eof():
            self._parts.append(await content.read(self._room))
            self._room -= len(self._parts[-1])
        return content.at_eof()


def _request(line: bytes, headers: dict[str, str], body: bytes) -> bytes:
    head = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (line, head.encode("ascii"), len(body), body)
