"""Requests that both listeners refuse: status, headers and body."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from tests.golden.exchange import exchange, raw
from tests.golden.recording import same
from tests.stage import adapter, alert, webhook, write_config

PLAIN = {"Content-Type": "text/plain"}
SMALL = webhook(alert("Small"))
MAIN: tuple[tuple[str, bytes, dict[str, str]], ...] = (
    ("POST /webhook", b"no JSON", {}),
    ("POST /webhook", b'{"alerts": 1}', {}),
    ("POST /webhook", b"", {}),
    ("POST /webhook", SMALL, {"Content-Encoding": "br"}),
    ("POST /webhook", SMALL, {"Content-Encoding": "gzip"}),
    ("POST /webhook", b"[" * 2000, {}),
    ("POST /webhook/nobody", SMALL, {}),
    ("POST /webhook/a/b", SMALL, {}),
    ("POST /webhook/", SMALL, {}),
    ("POST //webhook", SMALL, {}),
    ("GET /webhook", b"", {}),
    ("PUT /webhook/default", SMALL, {}),
    ("OPTIONS /webhook", b"", {}),
    ("HEAD /-/healthy", b"", {}),
    ("GET /nowhere", b"", {}),
    ("POST /metrics", b"", {}),
    ("POST /-/ready", b"", {}),
    ("GET /-/reload", b"", {}),
    ("GET /api/v1/status", b"", {}),
    ("POST /webhook", SMALL, {"Origin": "https://evil.example"}),
    ("POST /webhook", SMALL, {"Host": "evil.example"}),
)
ADMIN: tuple[tuple[str, bytes, dict[str, str]], ...] = (
    ("GET /nowhere", b"", {}),
    ("GET /-/reload", b"", {}),
    ("POST /api/v1/status", b"", {}),
    ("DELETE /api/v1/alarms", b"", {}),
    ("GET /api/v1/nothing", b"", {}),
    ("POST /webhook", SMALL, {}),
    ("GET /api/v1/alarms?status=burning", b"", {}),
    ("GET /api/v1/alarms?matcher=x", b"", {}),
    ("GET /api/v1/alarms?limit=0", b"", {}),
    ("GET /api/v1/alarms?after=x", b"", {}),
    ("GET /api/v1/dead-letters?limit=1001", b"", {}),
    ("GET /api/v1/rejects?after=-1", b"", {}),
    ("GET /api/v1/alarms/default/0000000000000000", b"", {}),
    ("GET /api/v1/alarms/nobody/0000000000000000", b"", {}),
    ("POST /api/v1/integrations/nobody/pause", b"", {}),
    ("POST /api/v1/integrations/nobody/resume", b"", {}),
    ("POST /api/v1/dead-letters/replay", b"", {}),
    ("POST /api/v1/dead-letters/replay", b"{", {}),
    ("POST /api/v1/dead-letters/replay", b'{"ids": []}', {}),
    ("POST /api/v1/dead-letters/replay", b'{"ids": [0]}', {}),
    ("POST /api/v1/dead-letters/replay", b'{"ids": [1], "all": true}', {}),
    ("POST /api/v1/dead-letters/discard", b'{"ids": ["x"]}', {}),
    ("POST /api/v1/dead-letters/discard", b'{"ids": [1]}', PLAIN),
    ("POST /api/v1/mappings/render", b"no JSON", {}),
    ("POST /api/v1/mappings/render", b"x" * 2000, {}),
    ("POST /api/v1/mappings/render?integration=nobody", SMALL, {}),
    ("POST /-/reload", b"", {"Origin": "https://evil.example"}),
    ("POST /-/reload", b"", {"Sec-Fetch-Site": "cross-site"}),
    ("POST /api/v1/integrations/default/pause", b"", {"Origin": "null"}),
    ("GET /api/v1/status", b"", {"Host": "evil.example:9877"}),
    ("GET /-/healthy", b"", {"Host": "evil.example:9877"}),
)


async def test_refused_requests_are_answered_as_recorded(tmp_path: Path) -> None:
    more = "webhook: {max_body: 1KiB}\n"
    async with adapter(write_config(tmp_path, 9, more)) as service, aiohttp.ClientSession() as http:
        main = [await exchange(http, service.url, *one) for one in MAIN]
        main.append(await exchange(http, service.url, "POST /webhook", b"x" * 1025))
        admin = [await exchange(http, service.admin_url, *one) for one in ADMIN]
    same("http_refusals_main.txt", "\n".join(main))
    same("http_refusals_admin.txt", "\n".join(admin))


async def test_bytes_that_are_no_request_are_answered_as_recorded(tmp_path: Path) -> None:
    outputs = []
    async with adapter(write_config(tmp_path, 9)) as service:
        for sent in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", b"GET /?" + b"x" * 9000):
            outputs.append(f"# {sent[:40]!r}\n{await answer_to(service.port, sent)}")
            outputs.append(f"# {sent[:40]!r} to the admin listener\n{await answer_to(service.admin, sent)}")
    same("http_nonsense.txt", "\n".join(outputs))


async def answer_to(port: int, sent: bytes) -> str:
    """The answer to these bytes until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    return raw(answer)
