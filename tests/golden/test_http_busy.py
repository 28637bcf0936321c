"""What is answered when there is too much to do, when a body is slow, and while the service ends."""

from __future__ import annotations

import signal
from pathlib import Path

import aiohttp

from tests.golden.exchange import exchange, raw, unfinished
from tests.golden.normal import VERSION
from tests.golden.recording import same
from tests.stage import adapter, alert, until, webhook, write_config

SMALL = webhook(alert("Small"))


async def test_one_too_many_is_answered_as_recorded(tmp_path: Path) -> None:
    """A full backlog, and too much in flight."""
    config = write_config(tmp_path, 9, "limits: {backlog: 1}\nwebhook: {max_in_flight: 1}\n")
    told = []
    async with adapter(config) as service, aiohttp.ClientSession() as http:
        await exchange(http, service.admin_url, "POST /api/v1/integrations/default/pause")
        for name in ("Small", "Other", "Small"):
            told.append(await exchange(http, service.url, "POST /webhook", webhook(alert(name))))
        async with unfinished(service.port, "/webhook"):
            told.append(await exchange(http, service.url, "POST /webhook", SMALL))
        for request in ("GET /nowhere", "GET /", "GET /-/ready"):
            told.append(await exchange(http, service.url, request, rules=(VERSION,)))
    same("http_too_many.txt", "\n".join(told))


async def test_a_slow_body_is_answered_as_recorded(tmp_path: Path) -> None:
    config = write_config(tmp_path, 9, "webhook: {body_timeout: 50ms}\n")
    async with adapter(config) as service, unfinished(service.port, "/webhook") as reader:
        answer = await reader.readuntil(b"\r\n\r\n") + await reader.readline()
    same("http_slow_body.txt", raw(answer))


async def test_a_service_that_is_ending_answers_as_recorded(tmp_path: Path) -> None:
    """A request that the admin listener is still busy with keeps the main one open."""
    async with adapter(write_config(tmp_path, 9)) as service, aiohttp.ClientSession() as http:
        async with unfinished(service.admin, "/api/v1/mappings/render"):
            service.process.send_signal(signal.SIGTERM)
            await until(lambda: "msg=stopping" in service.log_text, "the end begins")
            told = [await exchange(http, service.url, "POST /webhook", SMALL)]
            told += [await exchange(http, service.url, f"GET /-/{word}") for word in ("ready", "healthy")]
        await until(lambda: service.process.poll() is not None, "the end")
    assert service.process.returncode == 0
    same("http_ending.txt", "\n".join(told))
