"""Serves `/-/healthy`, `/-/ready`, `/metrics`, a page of links at `/`, and `POST /-/reload`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from html import escape
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from adapter import __version__
from adapter.clock import Clock
from adapter.errors import ConfigError, StoreUnavailable

ANSWER_SECONDS: Final = 1.0  # how long an answer about readiness holds
PROBE_SECONDS: Final = 2.0  # how long the store may take to commit; the chart's readiness probe waits for 3
_SILENT: Final = f"the store has not committed for {PROBE_SECONDS:g} s"

INTAKE_COMMITS: Final = 5  # the last ones, which readiness follows
INTAKE_FAILURES: Final = 3  # of them
INTAKE_SECONDS: Final = 60.0  # how long they count: while this is not ready, perhaps no webhook comes to succeed

LINKS = (
    ("/metrics", "metrics"),
    ("/-/healthy", "health: the process works"),
    ("/-/ready", "readiness: webhooks are accepted"),
)


class Readiness:
    """Whether webhooks can be accepted: the store commits, also for intake, and the process is not shutting down."""

    def __init__(self, probe: Callable[[], Awaitable[None]], clock: Clock) -> None:
        """`probe` commits something, and raises StoreUnavailable when it cannot."""
        self.draining = False
        self._probe, self._clock = probe, clock
        self._intake: deque[str | None] = deque(maxlen=INTAKE_COMMITS)
        self._intake_failed_at = 0.0
        self._asked_at = 0.0
        self._probing: asyncio.Task[str | None] | None = None

    async def problem(self) -> str | None:
        """None while webhooks can be accepted, else one line that says why not.

        A probe that hangs is waited for, not repeated.
        """
        if self.draining:
            return "shutting down"
        now = self._clock.monotonic()
        if self._probing is None or (self._probing.done() and now - self._asked_at >= ANSWER_SECONDS):
            self._probing, self._asked_at = asyncio.create_task(self._probed(), name="probe"), now
        await asyncio.wait((self._probing,), timeout=PROBE_SECONDS)
        return (self._probing.result() if self._probing.done() else _SILENT) or self._intake_problem()

    def intake_met(self, problem: str | None) -> None:
        """How a commit of intake went. It writes other tables than the probe, so it may fail where that does not."""
        self._intake.append(problem)
        if problem is not None:
            self._intake_failed_at = self._clock.monotonic()

    def _intake_problem(self) -> str | None:
        problems = [problem for problem in self._intake if problem is not None]
        if len(problems) < INTAKE_FAILURES or self._clock.monotonic() - self._intake_failed_at >= INTAKE_SECONDS:
            return None
        return f"{len(problems)} of the last {len(self._intake)} webhooks were not committed: {problems[-1]}"

    async def _probed(self) -> str | None:
        try:
            await self._probe()
        except StoreUnavailable as exc:
            self._intake.clear()  # it met the same, and what the probe says ends at once
            return f"the store cannot commit: {exc}".splitlines()[0]
        return None


def management_routes(
    *,
    registry: CollectorRegistry,
    healthy: Callable[[], str | None],
    ready: Callable[[], Awaitable[str | None]],
) -> list[web.RouteDef]:
    """The routes of both listeners. `healthy` and `ready` give None, or one line that says why not."""

    async def get_healthy(request: web.Request) -> web.Response:
        return _state(healthy(), "healthy")

    async def get_ready(request: web.Request) -> web.Response:
        return _state(await ready(), "ready")

    return [
        web.get("/-/healthy", get_healthy),
        web.get("/-/ready", get_ready),
        web.get("/metrics", make_aiohttp_handler(registry)),
    ]


def links_route(integrations: Iterable[str]) -> web.RouteDef:
    """`GET /`: a page of links."""
    items = "".join(f'<li><a href="{path}">{path}</a>: {what}</li>' for path, what in LINKS)
    names = "".join(f"<li><code>/webhook/{escape(name)}</code></li>" for name in integrations)
    page = (
        "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>coc-adapter</title>"
        f"<h1>coc-adapter {__version__}</h1><p>Prometheus Alertmanager to Huawei Cloud COC.</p>"
        f"<ul>{items}</ul><p>Webhooks go by POST to:</p><ul>{names}</ul></html>"
    )

    async def get_links(request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    return web.get("/", get_links)


def reload_route(reload: Callable[[], Awaitable[str]]) -> web.RouteDef:
    """`POST /-/reload`: 200 with the revision in force, 422 with every finding."""

    async def post_reload(request: web.Request) -> web.Response:
        try:
            return web.Response(text=await reload() + "\n")
        except ConfigError as exc:
            return web.Response(status=422, text=f"{exc}\n")

    return web.post("/-/reload", post_reload)


def _state(problem: str | None, good: str) -> web.Response:
    if problem is None:
        return web.Response(text=good + "\n")
    return web.Response(status=503, text=problem + "\n")
