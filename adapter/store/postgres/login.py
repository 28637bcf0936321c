"""Logs in to PostgreSQL: by which URL, with which password, and how a server that is gone is noticed.

A password may change while replicas run, and no two systems change it at the same instant. So a refused login is tried
again by what the URL's file holds now, then by the URL that worked last.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import asyncpg

from adapter.errors import one_line
from adapter.logs import event

TROUBLE: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
_REFUSED: Final = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.ProtocolViolationError)  # a pooler's too
# A commit waits for its standby without limit, so the kernel must ask whether the server's machine is still there.
_KEEPALIVE: Final = {
    "SO_KEEPALIVE": (socket.SOL_SOCKET, 1),
    "TCP_KEEPIDLE": (socket.IPPROTO_TCP, 5),  # seconds, like the others
    "TCP_KEEPINTVL": (socket.IPPROTO_TCP, 5),
    "TCP_KEEPCNT": (socket.IPPROTO_TCP, 3),
    "TCP_USER_TIMEOUT": (socket.IPPROTO_TCP, 20_000),  # milliseconds
}

_logger: Final = logging.getLogger(__name__)


class _Connection(asyncpg.Connection):
    def __init__(self, protocol: Any, transport: Any, *more: Any) -> None:
        super().__init__(protocol, transport, *more)
        with transport.get_extra_info("socket").dup() as sock:  # the same connection
            if sock.family != socket.AF_UNIX:
                for name, (level, value) in _KEEPALIVE.items():
                    if hasattr(socket, name):
                        sock.setsockopt(level, getattr(socket, name), value)


class Login:
    """Opens the connections of a pool."""

    def __init__(self, dsn: str, reread: Callable[[], str]) -> None:
        """`reread` reads the URL again."""
        self._wanted = self._worked = dsn
        self._reread = reread

    async def connect(self, *_: object, **settings: Any) -> asyncpg.Connection[Any]:
        """Instead of asyncpg.connect, and with its errors."""
        first = None
        for dsn in self._candidates():
            try:
                connection: _Connection = await asyncpg.connect(dsn, **settings | {"connection_class": _Connection})
            except TROUBLE as exc:
                first = first or exc
                continue
            if dsn != self._worked:
                event(_logger, logging.INFO, "logged in by the store's changed URL", place=place_of(dsn))
            self._worked = self._wanted = dsn
            return connection
        assert first is not None
        raise first

    def _candidates(self) -> Iterator[str]:
        tried = self._wanted
        yield tried
        self.want(self._reread())
        yield from (dsn for dsn in dict.fromkeys((self._wanted, self._worked)) if dsn != tried)

    def want(self, dsn: str) -> bool:
        """Log in by this URL from now on; False when it differs in more than user and password."""
        try:
            if _without_login(dsn) != _without_login(self._worked):
                return False
        except ValueError:
            return False
        self._wanted = dsn
        return True


async def refusal(dsn: str, seconds: float) -> str | None:
    """Why the server refuses this login; None where it accepts it, or cannot be asked now."""
    try:
        connection = await asyncpg.connect(dsn, timeout=seconds, statement_cache_size=0)
    except _REFUSED as exc:
        return reason(exc)
    except TROUBLE:
        return None
    with suppress(*TROUBLE):
        await connection.close(timeout=seconds)
    return None


def place_of(dsn: str) -> str:
    """The DSN without user, password and options. ValueError where one of them is not percent-encoded."""
    parts = urlsplit(dsn)
    if "@" in parts.path + parts.fragment:
        raise ValueError("the user or password ends the host")
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _without_login(dsn: str) -> tuple[str, dict[str, str]]:
    options = dict(parse_qsl(urlsplit(dsn).query))
    return place_of(dsn), {name: value for name, value in options.items() if name not in ("user", "password")}


def hosts_of(dsn: str) -> str:
    """Every host of the DSN with its port."""
    options = dict(parse_qsl(urlsplit(dsn).query))
    hosts = urlsplit(place_of(dsn)).netloc or options.get("host", "localhost")
    port = options.get("port", "5432")
    return ", ".join(host if ":" in host.rpartition("]")[2] else f"{host}:{port}" for host in hosts.split(","))


def reason(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    return one_line(str(exc), 300) or type(exc).__name__
