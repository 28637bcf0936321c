"""Posts one alarm to COC and judges the answer. Never raises and never logs.

A RequestTemplate holds what stays the same from POST to POST: URL, headers, signer, TLS and proxy of the endpoint.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import aiohttp
from yarl import URL

from adapter import __version__
from adapter.clock import Clock, moment
from adapter.coc.endpoint import AkSk, Endpoint, EndpointProblem, is_forbidden_address
from adapter.coc.exchange import Answer, Target
from adapter.coc.failure import ForbiddenAddress, judge_failure
from adapter.coc.signing import Signer
from adapter.coc.verdict import LONGEST_MESSAGE, Action, Reason, Verdict, judge
from adapter.errors import one_line
from adapter.secret import Redactor

LONGEST_ANSWER: Final = 64 * 1024  # bytes read of an answer; COC's have some hundred
LONG_ANSWER: Final = 2048  # bytes beyond which no two answers are judged without a turn of the event loop between them
_UNSIGNED: Final = ("Accept", "Accept-Encoding", "User-Agent")  # a proxy or a firewall may rewrite them on the way
MARK: Final = "[secret]"  # not in angle brackets: HTML is shown without what looks like a tag


class CocClient:
    """A keep-alive session to one integration's endpoint. Use inside one event loop, and close it."""

    def __init__(self, endpoint: Endpoint, clock: Clock) -> None:
        """A setting or certificate that cannot be used becomes the verdict of each report."""
        self._endpoint = endpoint
        self._clock = clock
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=endpoint.max_in_flight, socket_factory=allowed_socket),
            timeout=aiohttp.ClientTimeout(
                total=endpoint.timeout, connect=min(endpoint.connect_timeout, endpoint.timeout)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._template: RequestTemplate | Verdict
        self._built_from: tuple[object, ...] = ()
        # COC answers the same to almost every report; such an answer is judged once.
        self._last_accepted: tuple[object, Verdict] | None = None
        self._judging = asyncio.Lock()
        self._build(_snapshot(endpoint))

    async def close(self) -> None:
        """Close every connection; reports under way end with a verdict."""
        await self._session.close()

    def refresh(self) -> bool:
        """Read secret and certificate files again; True when reports go out differently from now on.

        Files that cannot be used leave everything as it was, to be read again at the next call.
        """
        self._endpoint.refresh_secrets()
        settings = _snapshot(self._endpoint)
        return settings != self._built_from and self._build(settings)

    def _build(self, settings: tuple[object, ...]) -> bool:
        try:
            self._template = build_request(self._endpoint, self._session)
        except EndpointProblem as exc:
            if not self._built_from:
                self._template = Verdict(action=Action.PAUSE, reason=exc.reason, message=str(exc), hint=exc.hint)
            return False
        self._built_from = settings
        return True

    async def report(self, body: bytes) -> Verdict:
        """POST one alarm, JSON in UTF-8. Raises nothing but CancelledError."""
        template = self._template
        if isinstance(template, Verdict):
            return template
        now = moment(self._clock.now())
        answer = await template.target.post(template.headers_for(body, now), body, longest=LONGEST_ANSWER)
        # A refusal whose text was cut off is still a refusal; a success is not a success.
        if answer.broken is None or answer.status not in (0, 200):
            return await self._judged(answer, template, now)
        verdict = judge_failure(answer.broken, sent=answer.sent)
        message = one_line(template.redact(verdict.message), LONGEST_MESSAGE)
        return replace(verdict, status=answer.status or verdict.status, message=message)

    async def _judged(self, answer: Answer, template: RequestTemplate, now: datetime) -> Verdict:
        answered = (answer.status, answer.headers.get("Content-Type"), answer.body, template)
        if self._last_accepted is not None and answered == self._last_accepted[0]:
            return self._last_accepted[1]
        async with self._judging:
            verdict = judge(answer.status, answer.headers, answer.body, now, redact=template.redact, whole=answer.whole)
            if len(answer.body) > LONG_ANSWER:
                await asyncio.sleep(0)  # many may have come at once
        if verdict.action is Action.ACCEPTED:
            self._last_accepted = (answered, verdict)
        return verdict


def allowed_socket(address: tuple[Any, ...]) -> socket.socket:
    """For aiohttp's connector: ForbiddenAddress for a link-local address, also where a name resolves to one."""
    family, kind, protocol, _, where = address
    if is_forbidden_address(str(where[0])):
        raise ForbiddenAddress
    return socket.socket(family=family, type=kind, proto=protocol)


@dataclass(frozen=True, slots=True, eq=False)
class RequestTemplate:
    """Everything a POST needs besides its body. Holds secrets, so it never prints them."""

    target: Target
    headers: dict[str, str]
    signer: Signer | None
    redact: Redactor

    def headers_for(self, body: bytes, at: datetime) -> dict[str, str]:
        return self.headers if self.signer is None else self.headers | self.signer.headers(body, at)

    def __repr__(self) -> str:
        return "<RequestTemplate>"


def build_request(endpoint: Endpoint, session: aiohttp.ClientSession) -> RequestTemplate:
    """Read the TLS files too. EndpointProblem where no request can be made."""
    url = endpoint.report_url()
    headers = headers_of(endpoint, url, "application/json; charset=utf-8")
    signer = signer_of(endpoint, "POST", url, headers)
    target = Target.of(url, session, **connection_of(endpoint, url, headers))
    return RequestTemplate(target, headers, signer, Redactor(endpoint.secrets(), MARK))


def signer_of(
    endpoint: Endpoint, method: str, url: URL, headers: Mapping[str, str], query: Mapping[str, str] | None = None
) -> Signer | None:
    """None where requests are not signed. `url` without the query."""
    auth = endpoint.auth
    if not isinstance(auth, AkSk):
        return None
    signed = {name: value for name, value in headers.items() if name not in _UNSIGNED}
    keys = {"access_key": auth.access_key.get(), "secret_key": auth.secret_key.get()}
    return Signer(method=method, path=url.raw_path, headers=signed, query=query, **keys)


def connection_of(endpoint: Endpoint, url: URL, headers: dict[str, str]) -> dict[str, Any]:
    """What aiohttp needs to connect: TLS and proxy. Reads files. `headers` gets those for a proxy that is no tunnel."""
    connection: dict[str, Any] = {}
    if url.scheme == "https":
        connection = {"ssl": endpoint.tls_context(), "server_hostname": endpoint.server_name}
    proxy = endpoint.proxy()
    if proxy is not None:
        connection["proxy"] = proxy.with_user(None)
        if proxy.user:
            credentials = aiohttp.encode_basic_auth(proxy.user, proxy.password or "")
            # aiohttp takes the proxy's headers for the tunnel alone; without one the proxy reads those of the request.
            where = connection.setdefault("proxy_headers", {}) if url.scheme == "https" else headers
            where["Proxy-Authorization"] = credentials
    return connection


def _snapshot(endpoint: Endpoint) -> tuple[object, ...]:
    """Everything that may change of what a template is built from."""
    # Secret.refresh cannot tell: another holder of the same Secret may have refreshed it before.
    return tuple(endpoint.secrets()), endpoint.proxy_text(), endpoint.tls_files()


def headers_of(endpoint: Endpoint, url: URL, content_type: str) -> dict[str, str]:
    """All but the date and the signature; EndpointProblem where a secret cannot stand in one."""
    auth = endpoint.auth
    scope = auth.headers() if auth else {}
    values = [*scope.values(), auth.access_key.get() if isinstance(auth, AkSk) else ""]
    if not all(value.isascii() and value.isprintable() for value in values):
        message = "a key, token or id holds characters no header can carry"
        raise EndpointProblem(message, "check auth", Reason.CREDENTIALS)
    return {
        "Host": url.host_port_subcomponent or "",
        "Content-Type": content_type,
        **scope,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "User-Agent": f"coc-adapter/{__version__}",
    }
