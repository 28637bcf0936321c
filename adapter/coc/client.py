"""One POST to COC, and what came of it. The only module that speaks to COC; it never raises and never logs."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from adapter import __version__
from adapter.clock import SECOND, Clock
from adapter.coc.answer import one_line
from adapter.coc.endpoint import AkSk, Endpoint, Token, complaint, is_forbidden_address
from adapter.coc.failure import ForbiddenAddress, judge_failure
from adapter.coc.scrub import Scrubber
from adapter.coc.signing import sign
from adapter.coc.verdict import Action, Reason, Verdict, judge

LONGEST_ANSWER = 64 * 1024  # bytes read of an answer; COC's have some hundred


@dataclass(frozen=True, slots=True)
class _Way:
    """What stays the same from POST to POST until a file changes."""

    url: URL
    headers: dict[str, str]
    sign: Callable[[bytes, datetime], dict[str, str]] | None
    connection: dict[str, Any]  # arguments of aiohttp: ssl, server_hostname, proxy
    scrub: Scrubber


class CocClient:
    """A keep-alive session to one integration's endpoint. Use inside one event loop: open, report, close."""

    def __init__(self, endpoint: Endpoint, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._way: _Way | None = None
        self._obstacle = Verdict(action=Action.RETRY, reason=Reason.UNEXPECTED, message="the client is not open")
        self._seen: object = None

    async def open(self) -> None:
        """Make the session. A setting or certificate that cannot be used becomes the verdict of each report."""
        endpoint = self._endpoint
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=endpoint.max_in_flight, socket_factory=_socket),
            timeout=aiohttp.ClientTimeout(
                total=endpoint.timeout, connect=min(endpoint.connect_timeout, endpoint.timeout)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept-Encoding",),
        )
        self._prepare(_snapshot(endpoint))

    async def close(self) -> None:
        """Close every connection; reports under way end with a verdict."""
        if self._session is not None:
            await self._session.close()

    def refresh(self) -> bool:
        """Read secret and certificate files again; True when reports go out differently from now on.

        Files that cannot be used leave everything as it was, to be read again at the next call.
        """
        self._endpoint.refresh_secrets()
        now = _snapshot(self._endpoint)
        return now != self._seen and self._prepare(now)

    async def report(self, body: bytes) -> Verdict:
        """POST one alarm, JSON in UTF-8. Raises nothing but CancelledError."""
        way, session = self._way, self._session
        if way is None or session is None:
            return self._obstacle
        verdict = await self._attempt(session, way, payload := _Body(body))
        if payload.stale:
            # A kept connection was found closed before a byte was written: nothing can have arrived.
            verdict = await self._attempt(session, way, _Body(body))
        return verdict

    async def _attempt(self, session: aiohttp.ClientSession, way: _Way, payload: _Body) -> Verdict:
        try:
            now = datetime.fromtimestamp(self._clock.now() / SECOND, UTC)
            headers = way.headers if way.sign is None else way.headers | way.sign(payload.content, now)
            answer = await session.post(way.url, data=payload, headers=headers, allow_redirects=False, **way.connection)
            try:
                return await self._judged(answer, way, now)
            finally:
                answer.close()  # of use only where something was left unread: a finished one has gone to the pool
        except Exception as exc:
            verdict = judge_failure(exc, sent=payload.sent)
            return replace(verdict, message=one_line(way.scrub(verdict.message)))

    async def _judged(self, answer: aiohttp.ClientResponse, way: _Way, now: datetime) -> Verdict:
        parts: list[bytes] = []
        room = LONGEST_ANSWER
        try:
            while room and (part := await answer.content.read(room)):
                parts.append(part)
                room -= len(part)
        except (aiohttp.ClientError, OSError) as exc:
            if answer.status == 200:
                lost = judge_failure(exc, sent=True)
                return replace(lost, status=200, message=one_line(way.scrub(lost.message)))
            # A refusal is a refusal even when its words were cut off.
        return judge(answer.status, answer.headers, b"".join(parts), now, scrub=way.scrub, whole=room > 0)

    def _prepare(self, snapshot: object) -> bool:
        try:
            self._way = _way(self._endpoint)
        except _Obstacle as exc:
            self._obstacle = Verdict(action=Action.PAUSE, reason=exc.reason, message=str(exc), hint=exc.hint)
            return False
        self._seen = snapshot
        return True


class _Obstacle(Exception):
    """No request can be made with these settings."""

    def __init__(self, message: str, hint: str, reason: Reason = Reason.ENDPOINT) -> None:
        super().__init__(message)
        self.hint, self.reason = hint, reason


class _Body(aiohttp.BytesPayload):
    """The body, which notices whether any of the request may have left: aiohttp sends the headers along with it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content, content_type="application/json")
        self.content = content
        self.sent = False
        self.stale = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        transport = getattr(writer, "transport", None)
        self.stale = transport is None or transport.is_closing()
        self.sent = not self.stale
        await super().write_with_length(writer, content_length)


def _way(endpoint: Endpoint) -> _Way:
    if trouble := complaint(endpoint.base_url):
        raise _Obstacle(f"base_url cannot be used: {trouble}", "check base_url")
    try:
        proxy = endpoint.proxy()
    except ValueError as exc:
        raise _Obstacle(str(exc), "check proxy_url") from None
    connection: dict[str, Any] = {}
    url = endpoint.report_url()
    if url.scheme == "https":
        try:
            connection["ssl"] = endpoint.tls_context()
        except (OSError, ValueError) as exc:
            words = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or type(exc).__name__
            raise _Obstacle(f"a file of tls_config cannot be used: {words}", "check tls_config") from None
        connection["server_hostname"] = endpoint.server_name
    if proxy is not None:
        connection["proxy"] = proxy.with_user(None)
        if proxy.user:
            credentials = aiohttp.encode_basic_auth(proxy.user, proxy.password or "")
            connection["proxy_headers"] = {"Proxy-Authorization": credentials}
    headers = {
        "Host": url.host_port_subcomponent or "",
        "Content-Type": "application/json; charset=utf-8",
        "Accept": "*/*",
        "User-Agent": f"coc-adapter/{__version__}",
    }
    auth = endpoint.auth
    if isinstance(auth, Token):
        headers["X-Auth-Token"] = auth.token.get()
    elif isinstance(auth, AkSk):
        headers |= auth.scope_headers()
    if not all(value.isascii() and value.isprintable() for value in headers.values()):
        raise _Obstacle("a token or id holds characters no header can carry", "check auth", Reason.CREDENTIALS)
    return _Way(url, headers, _signer(url, headers, auth), connection, Scrubber(endpoint.secrets()))


def _signer(url: URL, headers: dict[str, str], auth: object) -> Callable[[bytes, datetime], dict[str, str]] | None:
    if not isinstance(auth, AkSk):
        return None
    # Not what a proxy or a firewall may rewrite on its way: User-Agent and Accept stay unsigned.
    signed = {name: value for name, value in headers.items() if name not in ("User-Agent", "Accept")}
    access_key, secret_key, path = auth.access_key.get(), auth.secret_key.get(), url.raw_path

    def signature(body: bytes, at: datetime) -> dict[str, str]:
        return sign(
            method="POST", path=path, headers=signed, body=body, access_key=access_key, secret_key=secret_key, at=at
        )

    return signature


def _snapshot(endpoint: Endpoint) -> object:
    # Secret.refresh cannot tell: whoever else holds the same Secret may have refreshed it before us.
    return tuple(endpoint.secrets()), endpoint.proxy_text(), endpoint.tls_files()


def _socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, where = address
    if is_forbidden_address(str(where[0])):
        raise ForbiddenAddress
    return socket.socket(family=family, type=kind, proto=protocol)
