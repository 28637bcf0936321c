"""Decides which requests the listeners answer: credentials from the web config file, a bearer token, browser rules.

The first refusal wins: a foreign host name on the admin listener where nobody is asked for credentials (421), another
site except where the bearer token alone is asked for (403), credentials (401). Nothing but TLS is asked for on
OPEN_PATHS. An answer never says which part of the credentials was wrong.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from adapter.clock import Clock
from adapter.errors import ConfigError, Finding
from adapter.logs import RepeatFilter
from adapter.secret import Secret
from adapter.server import browser
from adapter.server.address import source_of
from adapter.server.passwords import Busy, Passwords
from adapter.server.webconfig import WebConfig, load_web_config

OPEN_PATHS: Final = ("/-/healthy", "/-/ready")  # for probes, which have no credentials
REFUSALS: Final = ("absent", "malformed", "wrong", "site", "host", "busy")
"""Every reason that `on_refusal` gets: no credentials, unreadable ones, wrong ones; a browser sent here by another
site, or under a host name that is not ours; too many passwords waiting to be verified."""

USER: Final = web.RequestKey("user", str)
"""The user whose password was right, of a request that was let in."""

QUICK_REFUSALS: Final = 20  # of one source in a second; more are answered after SLOW_SECONDS
SLOW_SECONDS: Final = 1.0

_OTHER_HOST: Final = "asked for under a name that is neither localhost, an address, nor that of --web.external-url"
_logger: Final = logging.getLogger("adapter.server.access")


class Access:
    """The access rules of both listeners. Its methods are for the event loop's thread."""

    def __init__(
        self,
        web_config: Path | None,
        *,
        bearer: Secret | None,
        clock: Clock,
        on_refusal: Callable[[str], None] = lambda reason: None,
        external_host: str = "",
    ) -> None:
        """ConfigError when the web config file, or a certificate it names, cannot be used.

        `external_host`: a name, in lower case, under which the admin listener may be asked.
        """
        self._external_host = external_host
        self._path, self._bearer, self._on_refusal = web_config, bearer, on_refusal
        self._repeats = RepeatFilter(clock, every=60.0)
        self._config = load_web_config(web_config) if web_config else WebConfig()
        self._broken = False  # the files have changed since, and what they say now cannot be used
        self._passwords = Passwords(self._config.users)
        self._clock, self._second = clock, 0
        self._refused: Counter[str] = Counter()  # by source, in this second

    def ssl_context(self) -> ssl.SSLContext | None:
        """The context for a new connection; None without TLS."""
        return self._config.tls

    def refresh(self) -> bool:
        """Reads changed files again; True when something changed. ConfigError, with the old in force, if unusable.

        TLS cannot be switched on or off this way, and credentials cannot be switched off.
        """
        changed = self._bearer.refresh() if self._bearer else False
        if self._path is None or (self._config.is_current() and not self._broken):
            return changed
        self._broken = True
        new = load_web_config(self._path)
        if (new.tls is None) != (self._config.tls is None):
            raise self._needs_restart("TLS cannot be switched on or off while running")
        if self.authenticated and not new.authenticates:
            raise self._needs_restart("credentials cannot be switched off while running")
        self._broken = False
        if new.users != self._config.users:
            self._passwords = Passwords(new.users)
        self._config = new
        return True

    @property
    def authenticated(self) -> bool:
        """True when users or client certificates keep strangers out; the bearer token opens its paths only."""
        return self._config.authenticates

    def middleware(self, *, admin: bool, bearer_paths: Callable[[str], bool]) -> Middleware:
        """Checks each request, and adds security headers to every response.

        Credentials by path: none for OPEN_PATHS; a user or the bearer token where `bearer_paths` says so and a token
        is configured; a user everywhere else. What is not configured is not asked for.
        """

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            response: web.StreamResponse | None = await self._refusal(request, bearer_paths, admin)
            try:
                if response is None:
                    response = await self._answer(request, handler)
                else:
                    await self._rest(source_of(request.remote))
            except web.HTTPException as exc:
                browser.harden(request, exc, self._config.headers, admin=admin)
                raise
            browser.harden(request, response, self._config.headers, admin=admin)
            return response

        return check

    async def _refusal(
        self, request: web.Request, bearer_paths: Callable[[str], bool], admin: bool
    ) -> web.Response | None:
        if request.rel_url.raw_path in OPEN_PATHS:
            return None
        if admin and not self.authenticated and not browser.is_our_host(request, self._external_host):
            return self._refuse(request, "host", 421, _OTHER_HOST)
        bearer = self._bearer if bearer_paths(request.path) else None
        token_alone = bearer is not None and not self._passwords  # which no browser sends by itself
        if not token_alone and browser.is_cross_site(request):
            return self._refuse(request, "site", 403, "a request from another site is not answered here")
        return await self._challenge(request, bearer) if self._passwords or bearer is not None else None

    async def _challenge(self, request: web.Request, bearer: Secret | None) -> web.Response | None:
        try:
            reason = await self._identify(request, bearer)
        except Busy:
            return self._refuse(request, "busy", 503, "busy, try again", {"Retry-After": "1"})
        if reason is None:
            return None
        response = self._refuse(request, reason, 401, "credentials are missing or wrong")
        if self._passwords:
            response.headers.add("WWW-Authenticate", 'Basic realm="coc-adapter", charset="UTF-8"')
        if bearer is not None:
            response.headers.add("WWW-Authenticate", 'Bearer realm="coc-adapter"')
        return response

    async def _identify(self, request: web.Request, bearer: Secret | None) -> str | None:
        """None for good credentials, else the reason of the refusal."""
        headers = request.headers.getall("Authorization", [])
        if not headers:
            return "absent"
        scheme, _, sent = headers[0].strip().partition(" ")
        scheme, sent = scheme.lower(), sent.strip()
        if len(headers) > 1 or not sent:
            return "malformed"
        if scheme == "bearer" and bearer is not None:
            return None if _same(sent, bearer.get().strip()) else "wrong"
        if scheme != "basic" or not self._passwords:
            return "malformed"
        try:
            user, colon, password = base64.b64decode(sent, validate=True).partition(b":")
        except ValueError:
            return "malformed"
        if not colon:
            return "malformed"
        if not await self._passwords.verify(user, password, source_of(request.remote)):
            return "wrong"
        request[USER] = user.decode(errors="replace")
        return None

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):
            raise  # an answer, or a client that has disconnected: aiohttp handles both
        except (web.RequestPayloadError, HttpProcessingError):
            return web.Response(status=400, text="the body cannot be read\n")
        except Exception as exc:
            self._repeats.bug(_logger, "a handler failed (a bug in the adapter)", exc)
            return web.Response(status=500, text="internal error, see the adapter's log\n")

    def _refuse(
        self, request: web.Request, reason: str, status: int, text: str, headers: dict[str, str] | None = None
    ) -> web.Response:
        self._on_refusal(reason)
        source = source_of(request.remote)
        self._repeats.warn(_logger, "refused", key=(source, status), reason=reason, status=status, source=source)
        return web.Response(status=status, text=f"{text}\n", headers=headers)

    async def _rest(self, source: str) -> None:
        """Before a refusal is answered: a source that comes again at once, as guessers do, comes less often then."""
        if self._second != (second := int(self._clock.monotonic())):
            self._second = second
            self._refused.clear()
        self._refused[source] += 1
        if self._refused[source] > QUICK_REFUSALS:
            await asyncio.sleep(SLOW_SECONDS)

    def _needs_restart(self, message: str) -> ConfigError:
        return ConfigError([Finding(str(self._path), 0, 0, message, "restart to do that")])


def _same(sent: str, token: str) -> bool:
    return hmac.compare_digest(sent.encode(errors="surrogateescape"), token.encode())
