"""Reads request bodies within limits: bytes after decompression, seconds, and what all of them may hold together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Final, TypeVar

from aiohttp import ClientError, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from adapter.errors import AdapterError
from adapter.server.encoding import NotAccepted, Unpacker, charset_of, is_plain, is_utf_8, to_utf_8

T = TypeVar("T")

HEAD_BYTES: Final = 64 * 1024
_COPIES: Final = 2  # of a body, while its buffer grows
_PIECES: Final = 16  # chunks, or blocks of unpacked data, that are read in one go
_REST_SECONDS: Final = 0.003  # until the next pieces are read
_DROP_SECONDS: Final = 2.0
_SMALL: Final = 1024  # bytes below which a piece is joined with the next one at once
_LARGE: Final = 1024 * 1024  # bytes from which a body is joined in the thread

_unpacker: Final = ThreadPoolExecutor(1, "unpacker")  # of what is large: zlib lets the event loop go on meanwhile


class BodyRefused(AdapterError):
    """The body is not accepted: answer `status`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class BodyTooLarge(BodyRefused):
    """The body is over the limit. `head`: its first 64 KiB, decompressed."""

    def __init__(self, limit: int, head: bytes) -> None:
        super().__init__(413, f"the body is larger than {limit} bytes")
        self.head = head


class Overloaded(AdapterError):
    """Too much is in flight: answer 503, after which the sender tries again."""


class InFlight:
    """A budget of requests and bytes. `requests` and `bytes` are those in flight now."""

    def __init__(self, *, max_requests: int, max_bytes: int, check: Callable[[int], None] = lambda size: None) -> None:
        """`check`: raises MemoryError when so many bytes of memory are not left."""
        self.requests = 0
        self.bytes = 0
        self._check = check
        self._max_requests, self._max_bytes = max_requests, max_bytes
        _unpacker.submit(len, ())  # starts its thread, which cannot be started when memory is short

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], None]]:
        """Counts one request, and the bytes its function is called with, until the block ends. Overloaded."""
        if self.requests >= self._max_requests:
            raise Overloaded
        self.requests += 1
        reserved = 0

        def grow(size: int) -> None:
            nonlocal reserved
            if self.bytes + size > self._max_bytes:
                raise Overloaded
            self._check(_COPIES * (reserved + size))
            self.bytes += size
            reserved += size

        try:
            yield grow
        finally:
            self.requests -= 1
            self.bytes -= reserved


async def read_body(
    request: web.Request, *, limit: int, seconds: float, reserve: Callable[[int], None] = lambda size: None
) -> bytes:
    """The whole body, decompressed and in UTF-8 where it declares another charset.

    `limit` counts decompressed bytes; at most a MiB more is ever held. `reserve` is called before bytes are
    kept, and may refuse them with Overloaded. A client that disconnects before the end is refused too.
    """
    kept: list[bytes] = []
    size = 0
    try:
        unpacker = Unpacker(_encoding(request), unpacked=not getattr(request.protocol, "packed", False))
        async with asyncio.timeout(seconds):
            async for piece in _pieces(request.content, unpacker):
                if size + len(piece) > limit:
                    raise BodyTooLarge(limit, _head([*kept, piece]))
                reserve(len(piece))
                size += len(piece)
                if kept and len(kept[-1]) < _SMALL:
                    kept[-1] += piece
                else:
                    kept.append(piece)
            unpacker.end()
    except NotAccepted as exc:
        raise BodyRefused(400, str(exc)) from exc
    except TimeoutError:
        raise BodyRefused(503, f"the body did not arrive within {seconds:g} s") from None
    except (HttpProcessingError, web.RequestPayloadError, ClientError, ConnectionError) as exc:
        raise BodyRefused(400, f"the body cannot be read ({type(exc).__name__})") from exc
    except RuntimeError as exc:
        if request.transport is not None:
            raise
        raise BodyRefused(400, "the client has gone") from exc  # before the first read: aiohttp has no class for that
    body = b"".join(kept) if size < _LARGE else await _in_thread(b"".join, kept)
    return await _in_utf_8(request, body, limit)


def _head(pieces: Iterable[bytes]) -> bytes:
    head = b""
    for piece in pieces:
        head += piece[: HEAD_BYTES - len(head)]
        if len(head) == HEAD_BYTES:
            break
    return head


async def _in_utf_8(request: web.Request, body: bytes, limit: int) -> bytes:
    charset = charset_of(request.headers.get("Content-Type", ""))
    if is_utf_8(charset):
        return body
    try:
        body = await asyncio.to_thread(to_utf_8, body, charset)
    except NotAccepted as exc:
        raise BodyRefused(415, str(exc)) from exc
    if len(body) > limit:
        raise BodyTooLarge(limit, body[:HEAD_BYTES])
    return body


async def drop_body(request: web.Request, response: web.StreamResponse) -> None:
    """Where a body has not been read to its end: sends the answer, then reads on for a while and drops what comes.

    Closing the connection earlier could keep the client from reading the answer. A packed body is not read on.
    """
    if request.content.is_eof():
        return
    await response.prepare(request)
    await response.write_eof()
    if is_plain(encoding := _encoding(request)):
        with suppress(TimeoutError, HttpProcessingError, web.RequestPayloadError, ClientError, RuntimeError):
            async with asyncio.timeout(_DROP_SECONDS):
                async for _ in _pieces(request.content, Unpacker(encoding)):
                    pass


async def _pieces(content: StreamReader, unpacker: Unpacker) -> AsyncIterator[bytes]:
    """The body as it arrives, unpacked, with rests in which other connections are served.

    So a storm of tiny chunks takes long, and is refused as slow, instead of keeping the event loop busy.
    """
    count = 0
    while not content.at_eof():
        chunk, _ = await content.readchunk()
        if chunk:
            async for piece in _unpacked(unpacker.unpack(chunk)):
                yield piece
        count += 1
        if count % _PIECES == 0:
            await asyncio.sleep(_REST_SECONDS)


async def _unpacked(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """What is in one chunk; beyond two blocks it is unpacked in the thread, as much as a MiB at a time."""
    for _ in range(2):
        if (block := next(blocks, None)) is None:
            return
        yield block
    while piece := await _in_thread(_next_piece, blocks):
        yield piece


def _next_piece(blocks: Iterator[bytes]) -> bytes:
    """Empty at the end alone."""
    for first in blocks:
        if first:
            return first + b"".join(islice(blocks, _PIECES - 1))
    return b""


async def _in_thread(function: Callable[[T], bytes], argument: T) -> bytes:
    return await asyncio.get_running_loop().run_in_executor(_unpacker, function, argument)


def _encoding(request: web.Request) -> str:
    return ", ".join(request.headers.getall("Content-Encoding", [])).strip().lower()
