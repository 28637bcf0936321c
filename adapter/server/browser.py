"""Keeps other sites from using an operator's browser: cross-site requests, DNS rebinding, security headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from adapter.server.address import ip_of, is_loopback

_HARMLESS: Final = ("GET", "HEAD", "OPTIONS")
_API: Final = "/api/"
CONSOLE: Final = "/ui/"
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_CONSOLE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


def is_cross_site(request: web.Request) -> bool:
    """True for a request that, by the browser's own headers, comes from another site.

    A page elsewhere may lead to a page here, but neither change anything nor ask the API. With what may change
    something browsers always send Sec-Fetch-Site or Origin, with the rest Sec-Fetch-Site to loopback and over https;
    curl and scripts send neither.
    """
    if request.method in _HARMLESS and not request.path.startswith(_API):
        return False
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none"):
        return True
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    # The scheme is not compared, because it differs behind a proxy that terminates TLS.
    _, slashes, host = origin.partition("://")
    return not slashes or host.lower() != request.headers.get("Host", "").lower()


def is_our_host(request: web.Request, external_host: str) -> bool:
    """False for a request under a host name that is neither localhost nor that of the external URL.

    A page may let its own name resolve to an address of ours (DNS rebinding), and is then of the same origin for the
    browser.
    """
    host = _host_name(request)
    return host is not None and (is_loopback(host) or ip_of(host) is not None or host == external_host)


def _host_name(request: web.Request) -> str | None:
    """Without the port; None where the header makes no sense."""
    try:
        return urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    except ValueError:
        return None


def harden(request: web.Request, response: web.StreamResponse, configured: Mapping[str, str], *, admin: bool) -> None:
    """Adds the headers of the web config file, and safe defaults where neither it nor the handler has set any.

    Those of the console are fixed, on each of its answers: the web config file cannot weaken them.
    """
    if response.prepared:
        return
    headers = response.headers
    headers.update(configured)
    if admin and f"{request.path}/".startswith(CONSOLE):
        headers.update({
            "Content-Security-Policy": _CONSOLE_POLICY,
            "X-Frame-Options": "deny",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",  # under no-referrer our own forms would send Origin: null
            "Cross-Origin-Resource-Policy": "same-origin",
        })  # fmt: skip
        if request.secure or is_loopback(_host_name(request) or ""):  # elsewhere a browser ignores it, with an error
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers.setdefault("X-Content-Type-Options", "nosniff")
    if response.content_type == "text/html":
        headers.setdefault("Content-Security-Policy", _POLICY)
        headers.setdefault("X-Frame-Options", "deny")
        headers.setdefault("Referrer-Policy", "no-referrer")
    if admin:
        headers.setdefault("Cache-Control", "no-store")
