"""A stand-in COC: answers as COC's documentation says, shows what it took, and fails on request.

POST   /v1/event/huawei/custom/{integration_key}   what COC has
GET    /alarms?since=SEQ&limit=N                   what was taken, a JSON list in order of arrival
DELETE /alarms                                     forget it
GET    /refusals                                   the last 1000 requests that were not taken, and why
GET    /counts                                     alarms kept, requests by answer
PUT    /faults  (or POST)                          a JSON list of rules, see sandbox.faults
GET    /faults, DELETE /faults
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from adapter.clock import Clock, SystemClock
from adapter.coc.endpoint import AkSk, NoAuth, Token
from adapter.sandbox.answers import Sandbox
from adapter.sandbox.auth import Auth
from adapter.sandbox.faults import read_faults

SANDBOX = web.AppKey("sandbox", Sandbox)
"""`app[SANDBOX].received()` is what GET /alarms lists, for a program that runs the sandbox inside itself."""

LARGEST_BODY = 12 * 1024 * 1024  # bytes; documented for signed requests


def make_sandbox(
    *,
    integration_key: str | None = None,
    auth: AkSk | Token | NoAuth | None = None,
    keep: int = 100_000,
    require_application_id: bool = True,
    clock: Clock | None = None,
) -> web.Application:
    """The application. Without a key it takes every key, without `auth` it asks for no credentials.

    `keep` bounds how many alarms it remembers, the newest.
    """
    app = web.Application(client_max_size=LARGEST_BODY)
    sandbox = Sandbox(
        Auth(integration_key, auth or NoAuth()),
        keep=keep,
        require_application_id=require_application_id,
        clock=clock or SystemClock(),
    )
    app[SANDBOX] = sandbox
    app.add_routes(
        [
            web.get("/alarms", _alarms),
            web.delete("/alarms", _forget),
            web.get("/refusals", _refusals),
            web.get("/counts", _counts),
            web.get("/faults", _faults),
            web.put("/faults", _set_faults),
            web.post("/faults", _set_faults),
            web.delete("/faults", _clear_faults),
            web.post("/{path:.*}", sandbox.report),
        ]
    )
    return app


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve on `host`; the port, where 0 stands for a free one. OSError when it is taken."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def serve_sandbox(host: str, port: int, integration_key: str | None) -> None:
    """Print the URL, then serve until SIGTERM or SIGINT."""
    async with serving(make_sandbox(integration_key=integration_key), host, port) as port:
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
        await until_signal()


async def until_signal() -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _alarms(request: web.Request) -> web.StreamResponse:
    try:
        since, limit = int(request.query.get("since", "0")), int(request.query.get("limit", "1000000000"))
    except ValueError:
        return web.json_response({"error": "since and limit are whole numbers"}, status=400)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    between = "["
    # In pieces: 100,000 alarms in one string would take more memory than they take themselves.
    for alarm in request.app[SANDBOX].log.since(since, limit):
        try:
            text = json.dumps(alarm.shown())
        except RecursionError:
            text = json.dumps({"seq": alarm.seq, "error": "nested too deep to show"})
        await response.write((between + text).encode())
        between = ",\n"
    await response.write(b"[]\n" if between == "[" else b"]\n")
    return response


async def _forget(request: web.Request) -> web.Response:
    return web.json_response({"forgotten": request.app[SANDBOX].log.clear()})


async def _refusals(request: web.Request) -> web.Response:
    return web.json_response(list(request.app[SANDBOX].log.refusals))


async def _counts(request: web.Request) -> web.Response:
    return web.json_response(request.app[SANDBOX].counts())


async def _faults(request: web.Request) -> web.Response:
    return web.json_response([fault.shown() for fault in request.app[SANDBOX].faults])


async def _set_faults(request: web.Request) -> web.Response:
    try:
        request.app[SANDBOX].faults = read_faults(json.loads(await request.read()))
    except (ValueError, RecursionError) as exc:
        return web.json_response({"error": str(exc)}, status=400)
    return await _faults(request)


async def _clear_faults(request: web.Request) -> web.Response:
    request.app[SANDBOX].faults = []
    return await _faults(request)
