"""An aiohttp server that only reads and answers, in a process of its own: who waits there waits for the machine."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop
from aiohttp import web

from tests.flow.attacks import PATIENCE
from tests.stage import REPOSITORY


@asynccontextmanager
async def bare_server() -> AsyncIterator[int]:
    """Start it; yield its port."""
    command = (sys.executable, "-m", "tests.flow.bare")
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield int(await asyncio.wait_for(process.stdout.readline(), PATIENCE))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _answer(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(text="ok\n")


async def _serve() -> None:
    app = web.Application()
    app.router.add_post("/webhook", _answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve())
