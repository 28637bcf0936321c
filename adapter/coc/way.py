"""What stays the same from POST to POST: URL, headers, TLS and proxy of one endpoint, made once from its settings."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import aiohttp
from yarl import URL

from adapter import __version__
from adapter.coc.endpoint import AkSk, Endpoint, Token, complaint
from adapter.coc.signing import Signer
from adapter.coc.verdict import Reason
from adapter.secret import Redactor

_UNSIGNED = ("Accept", "Accept-Encoding", "User-Agent")  # a proxy or a firewall may rewrite them on the way


MARK: Final = "[secret]"  # not in angle brackets: HTML is shown without what looks like a tag


@dataclass(frozen=True, slots=True, eq=False)
class RequestTemplate:
    """Everything a POST needs besides its body. Holds secrets: never shown."""

    url: URL
    headers: dict[str, str]
    signer: Signer | None
    connection: dict[str, Any]  # arguments of aiohttp: ssl, server_hostname, proxy, proxy_headers
    redact: Redactor

    def headers_for(self, body: bytes, at: datetime) -> dict[str, str]:
        """The headers of one request."""
        return self.headers if self.signer is None else self.headers | self.signer.headers(body, at)

    def __repr__(self) -> str:
        return "<RequestTemplate>"


class EndpointProblem(Exception):
    """No request can be made with these settings."""

    def __init__(self, message: str, hint: str, reason: Reason = Reason.ENDPOINT) -> None:
        super().__init__(message)
        self.hint, self.reason = hint, reason


def build_request(endpoint: Endpoint) -> RequestTemplate:
    """Reads the TLS files. Obstacle says which setting cannot be used, without a secret."""
    if trouble := complaint(endpoint.base_url):
        raise EndpointProblem(f"base_url cannot be used: {trouble}", "check base_url")
    url = endpoint.report_url()
    headers = _headers(endpoint, url)
    signer = _signer(endpoint, url, headers)
    connection: dict[str, Any] = {}
    if url.scheme == "https":
        connection = {"ssl": _tls(endpoint), "server_hostname": endpoint.server_name}
    proxy = _proxy(endpoint)
    if proxy is not None:
        connection["proxy"] = proxy.with_user(None)
        if proxy.user:
            credentials = aiohttp.encode_basic_auth(proxy.user, proxy.password or "")
            # aiohttp takes the proxy's headers for the tunnel alone; without one the proxy reads those of the request.
            where = connection.setdefault("proxy_headers", {}) if url.scheme == "https" else headers
            where["Proxy-Authorization"] = credentials
    return RequestTemplate(url, headers, signer, connection, Redactor(endpoint.secrets(), MARK))


def snapshot(endpoint: Endpoint) -> bytes:
    """A digest, equal as long as nothing changed that a Way is made from."""
    # Secret.refresh cannot tell: whoever else holds the same Secret may have refreshed it before.
    found = (tuple(endpoint.secrets()), endpoint.proxy_text(), endpoint.tls_files())
    return hashlib.sha256(repr(found).encode("utf-8", "surrogatepass")).digest()


def _headers(endpoint: Endpoint, url: URL) -> dict[str, str]:
    auth = endpoint.auth
    scope: dict[str, str] = {}
    if isinstance(auth, Token):
        scope = {"X-Auth-Token": auth.token.get()}
    elif isinstance(auth, AkSk):
        scope = auth.scope_headers()
    said = [*scope.values(), auth.access_key.get() if isinstance(auth, AkSk) else ""]
    if not all(value.isascii() and value.isprintable() for value in said):
        raise EndpointProblem(
            "a key, token or id holds characters no header can carry", "check auth", Reason.CREDENTIALS
        )
    return {
        "Host": url.host_port_subcomponent or "",
        "Content-Type": "application/json; charset=utf-8",
        **scope,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "User-Agent": f"coc-adapter/{__version__}",
    }


def _signer(endpoint: Endpoint, url: URL, headers: dict[str, str]) -> Signer | None:
    auth = endpoint.auth
    if not isinstance(auth, AkSk):
        return None
    signed = {name: value for name, value in headers.items() if name not in _UNSIGNED}
    access_key, secret_key = auth.access_key.get(), auth.secret_key.get()
    return Signer(method="POST", path=url.raw_path, headers=signed, access_key=access_key, secret_key=secret_key)


def _tls(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        return endpoint.tls_context()
    except (OSError, ValueError) as exc:
        words = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or type(exc).__name__
        raise EndpointProblem(f"a file of tls_config cannot be used: {words}", "check tls_config") from None


def _proxy(endpoint: Endpoint) -> URL | None:
    try:
        return endpoint.proxy()
    except ValueError as exc:
        raise EndpointProblem(str(exc), "check proxy_url") from None
