"""The answers of both listeners to requests with and without credentials."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import bcrypt
from aiohttp import encode_basic_auth

from tests.golden.exchange import exchange
from tests.golden.recording import same
from tests.stage import adapter, write_config

NOBODY: dict[str, str] = {}
USER = {"Authorization": encode_basic_auth("operator", "right")}
TOKEN = {"Authorization": "Bearer the-token-of-the-test"}
WRONG = (
    {"Authorization": encode_basic_auth("operator", "wrong")},
    {"Authorization": "Bearer wrong"},
    {"Authorization": "Digest x"},
)
GUARDED = {
    "main": ("POST /webhook", "POST /webhook/nobody", "GET /metrics", "GET /", "GET /nowhere", "GET /-/ready"),
    "admin": ("GET /", "GET /metrics", "GET /api/v1/status", "POST /-/reload", "GET /nowhere", "GET /-/healthy"),
}
# Access: a user everywhere, the token on webhooks alone.
LET_IN = (("main", "GET /-/ready", USER), ("main", "POST /webhook", USER), ("main", "POST /webhook", TOKEN),
          ("main", "GET /nowhere", USER), ("main", "GET /nowhere", TOKEN), ("admin", "GET /api/v1/alarms", USER),
          ("admin", "GET /api/v1/alarms", TOKEN))  # fmt: skip


async def test_requests_with_and_without_access_are_answered_as_recorded(tmp_path: Path) -> None:
    """A user in the web config, and a bearer token for webhooks."""
    web = tmp_path / "web.yml"
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    web.write_text(
        f"basic_auth_users: {{operator: {hashed}}}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}\n"
    )
    config = write_config(tmp_path, 9, "webhook: {bearer_token: the-token-of-the-test}\n")
    async with adapter(config, f"--web.config.file={web}") as service, aiohttp.ClientSession() as http:
        urls = {"main": service.url, "admin": service.admin_url}
        asked = [(listener, request, NOBODY) for listener, requests in GUARDED.items() for request in requests]
        asked += [("main", "POST /webhook", wrong) for wrong in WRONG]
        asked += [("admin", "GET /api/v1/status", wrong) for wrong in WRONG]
        outputs = [
            f"# {listener}\n{await exchange(http, urls[listener], request, b'', headers)}"
            for listener, request, headers in (*asked, *LET_IN)
        ]
    same("http_access.txt", "\n".join(outputs))
