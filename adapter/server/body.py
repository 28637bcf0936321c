"""Reading a request body within limits: bytes as they are after decompression, and seconds for the whole of it."""

from __future__ import annotations

import asyncio
import io
from typing import Final

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from adapter.errors import AdapterError
from adapter.server.limits import Reservation
from adapter.server.turns import REST

HEAD: Final = 64 * 1024
_PIECE: Final = 4096  # bytes of one read where more is unpacked inside it
_TURN: Final = 128 * 1024  # bytes unpacked before the others go on
_ENCODINGS: Final = ("", "identity", "gzip", "deflate")


class BodyTooLarge(AdapterError):
    """The body is over the limit: answer 413."""

    def __init__(self, head: bytes) -> None:
        """`head`: its first 64 KiB, decompressed."""
        super().__init__()
        self.head = head


class BodySlow(AdapterError):
    """The body did not arrive in time: answer 503."""


class BodyBroken(AdapterError):
    """The body cannot be read: answer 400."""


async def read_body(request: web.Request, *, limit: int, seconds: float, hold: Reservation | None = None) -> bytes:
    """The whole body, decompressed. `limit` counts decompressed bytes; at most one network read more is ever held.

    `hold` is told of every byte before it is kept, and may refuse it with Overloaded. A client that goes away
    in the middle is BodyBroken too: there is nobody left to answer.
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise BodyBroken("this content encoding is not accepted; send gzip, deflate or none")
    kept = io.BytesIO()
    turn, piece = _TURN, _PIECE if encoding else HEAD
    try:
        async with asyncio.timeout(seconds):
            while chunk := await request.content.read(piece):
                if encoding and kept.tell() >= turn:
                    await asyncio.sleep(REST)
                    turn += _TURN
                if kept.tell() + len(chunk) > limit:
                    kept.write(chunk[: max(0, HEAD - kept.tell())])
                    raise BodyTooLarge(bytes(kept.getbuffer()[:HEAD]))
                if hold is not None:
                    hold.grow(len(chunk))
                kept.write(chunk)
    except TimeoutError:
        raise BodySlow from None
    except (HttpProcessingError, web.RequestPayloadError, ClientError, ConnectionError) as exc:
        raise BodyBroken(f"the body cannot be read ({type(exc).__name__})") from exc
    except RuntimeError as exc:
        if request.transport is not None:
            raise
        raise BodyBroken("the client has gone") from exc  # before the first read: aiohttp has no class for that
    return kept.getvalue()
