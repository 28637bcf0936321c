"""The successful answers of the admin API about a service with one alarm of each outcome."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from tests.golden import scenario
from tests.golden.exchange import exchange
from tests.golden.normal import MOMENT, MOMENT_IN_WORDS, PORTS, REVISION, SOURCES, VERSION, place, rule
from tests.golden.recording import same

# The duration of an attempt, and the time until the next.
SECONDS = rule(r'("(?:seconds|due_in_seconds|next_probe_in_seconds)": )[\d.e-]+', r"\1N")
# Versions of the interpreter and of SQLite, and the free space of the file system.
MACHINE = rule(r'("(?:python|version|free_bytes)": )(?:"[\d.]+"|\d+)', r"\1X")
ASKED = (
    "/api/v1/status",
    "/api/v1/alarms",
    "/api/v1/alarms?status=resolved",
    "/api/v1/alarms?text=API-",
    '/api/v1/alarms?matcher=alertname=%22Waiting%22&matcher=namespace=%22shop%22&integration=default',
    "/api/v1/alarms?integration=nobody",
    "/api/v1/alarms?limit=2",
    "/api/v1/alarms?limit=2&after=2",
    f"/api/v1/alarms/default/{scenario.DELIVERED}",
    f"/api/v1/alarms/default/{scenario.RECOVERED}",
    f"/api/v1/alarms/default/{scenario.QUIET}",
    f"/api/v1/alarms/default/{scenario.REFUSED}",
    f"/api/v1/alarms/default/{scenario.WAITING}",
    f"/api/v1/alarms/other/{scenario.LOCKED}",
    "/api/v1/dead-letters",
    "/api/v1/dead-letters?limit=1",
    "/api/v1/integrations",
    "/api/v1/rejects",
    "/api/v1/rejects?limit=1",
)  # fmt: skip
SENT = (
    ("POST /api/v1/mappings/render?integration=other", scenario.one("Delivered", scenario.DELIVERED)),
    ("POST /api/v1/integrations/default/pause", b""),
    ("POST /api/v1/integrations/other/resume", b""),
    ("POST /api/v1/dead-letters/replay", b'{"ids": [6, 99], "as_sent": true}'),
    ("POST /api/v1/dead-letters/discard", b'{"ids": [7, 99]}'),
)


async def test_the_admin_api_answers_as_recorded(tmp_path: Path) -> None:
    rules = (place(tmp_path, "FOLDER"), SOURCES, VERSION, REVISION, MOMENT, MOMENT_IN_WORDS, PORTS, SECONDS, MACHINE)
    async with scenario.serving(tmp_path) as (service, coc), aiohttp.ClientSession() as http:
        asked = [await exchange(http, service.admin_url, f"GET {path}", rules=rules, pretty=True) for path in ASKED]
        await coc.fail({"delay": 60})  # what is sent from now on stays pending
        sent = [await exchange(http, service.admin_url, *each, rules=rules, pretty=True) for each in SENT]
        pages = [await exchange(http, service.admin_url, f"GET {path}", rules=rules) for path in ("/", "/-/ready")]
    same("api_asked.txt", "\n".join(asked))
    same("api_sent.txt", "\n".join(sent))
    same("api_pages.txt", "\n".join(pages))
