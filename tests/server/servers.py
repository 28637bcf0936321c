"""Small servers with real access rules: an Access, a few paths, a listener on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import bcrypt
from aiohttp import web

from adapter.clock import SystemClock
from adapter.secret import Secret
from adapter.server.access import Access
from adapter.server.listener import Listener, listen


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def write_users(path: Path, **passwords: str) -> Path:
    """A web config file with these users."""
    lines = [f"  {user}: {hashed(password)}" for user, password in passwords.items()]
    path.write_text("\n".join(["basic_auth_users:", *lines, ""]))
    return path


def an_access(
    web_config: Path | None = None,
    *,
    bearer: str | None = None,
    refusals: list[str] | None = None,
    external_host: str = "",
) -> Access:
    secret = Secret(value=bearer) if bearer else None
    seen = refusals if refusals is not None else []
    return Access(web_config, bearer=secret, clock=SystemClock(), on_refusal=seen.append, external_host=external_host)


def an_app(access: Access, *, admin: bool = False) -> web.Application:
    """Answers `ok` to anything on a few paths; /page is HTML, /fails raises."""

    async def ok(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(text="ok")

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<p>page", content_type="text/html")

    async def fails(request: web.Request) -> web.Response:
        raise RuntimeError("a secret detail")

    rules = access.middleware(bearer_paths=lambda path: path.startswith("/webhook"), admin=admin)
    app = web.Application(middlewares=[rules])
    for path in ("/-/healthy", "/metrics", "/webhook", "/webhook/{integration}", "/api", "/api/v1/alarms"):
        app.router.add_route("*", path, ok)
    app.router.add_get("/page", page)
    app.router.add_get("/fails", fails)
    app.router.add_post("/post-only", ok)
    return app


@asynccontextmanager
async def serving(access: Access, *, admin: bool = False, **limits: float) -> AsyncIterator[Listener]:
    """The app behind a real listener; everything is closed at the end."""
    listener = await listen(an_app(access, admin=admin), "127.0.0.1:0", access.ssl_context, **limits)  # type: ignore[arg-type]
    try:
        yield listener
    finally:
        await listener.close()
