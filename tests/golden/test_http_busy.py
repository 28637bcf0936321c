"""The answers under overload, to a slow body, and during shutdown."""

from __future__ import annotations

import signal
from pathlib import Path

import aiohttp

from tests.golden.exchange import exchange, raw, unfinished
from tests.golden.normal import VERSION
from tests.golden.recording import same
from tests.stage import adapter, alert, until, webhook, write_config

SMALL = webhook(alert("Small"))


async def test_requests_over_a_limit_are_answered_as_recorded(tmp_path: Path) -> None:
    """A full backlog, and too many requests in flight."""
    config = write_config(tmp_path, 9, "limits: {backlog: 1}\nwebhook: {max_in_flight: 1}\n")
    outputs = []
    async with adapter(config) as service, aiohttp.ClientSession() as http:
        await exchange(http, service.admin_url, "POST /api/v1/integrations/default/pause")
        for name in ("Small", "Other", "Small"):
            outputs.append(await exchange(http, service.url, "POST /webhook", webhook(alert(name))))
        async with unfinished(service.port, "/webhook"):
            outputs.append(await exchange(http, service.url, "POST /webhook", SMALL))
        for request in ("GET /nowhere", "GET /", "GET /-/ready"):
            outputs.append(await exchange(http, service.url, request, rules=(VERSION,)))
    same("http_too_many.txt", "\n".join(outputs))


async def test_a_slow_body_is_answered_as_recorded(tmp_path: Path) -> None:
    config = write_config(tmp_path, 9, "webhook: {body_timeout: 50ms}\n")
    async with adapter(config) as service, unfinished(service.port, "/webhook") as reader:
        answer = await reader.readuntil(b"\r\n\r\n") + await reader.readline()
    same("http_slow_body.txt", raw(answer))


async def test_a_service_that_shuts_down_answers_as_recorded(tmp_path: Path) -> None:
    """A request in progress on the admin listener keeps the main one open."""
    async with adapter(write_config(tmp_path, 9)) as service, aiohttp.ClientSession() as http:
        async with unfinished(service.admin, "/api/v1/mappings/render"):
            service.process.send_signal(signal.SIGTERM)
            await until(lambda: "msg=stopping" in service.log_text, "the end begins")
            outputs = [await exchange(http, service.url, "POST /webhook", SMALL)]
            outputs += [await exchange(http, service.url, f"GET /-/{word}") for word in ("ready", "healthy")]
        await until(lambda: service.process.poll() is not None, "the end")
    assert service.process.returncode == 0
    same("http_ending.txt", "\n".join(outputs))
