"""A service with one alarm of each outcome, for the admin API and the operator commands.

Each step is settled before the next, so that ids and their order are the same in every run.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.golden.normal import ALERTS_BEGAN
from tests.golden.waiting import asked_until, integrations, settled
from tests.stage import KEY, Adapter, Coc, adapter, alert, fetch, post, sandbox, webhook, write_config

DELIVERED, RECOVERED, QUIET, REFUSED, REFUSED_TOO, WAITING, LOCKED = (f"{n:02}aaaaaaaaaaaaaa" for n in range(1, 8))
POD = {"pod": "api-1", "severity": "critical"}
DEAD_LETTERS = (6, 7)
OTHER = """\
  other:
    base_url: http://127.0.0.1:{port}
    allow_http: true
    integration_key: "{key}"
"""


def one(name: str, fingerprint: str, status: str = "firing", **changes: Any) -> bytes:
    """A webhook with one alert that began at ALERTS_BEGAN."""
    ends = "2024-02-03T05:00:00Z" if status == "resolved" else "0001-01-01T00:00:00Z"
    return webhook(alert(name, status, fingerprint=fingerprint, startsAt=ALERTS_BEGAN, endsAt=ends, **changes))


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Adapter, Coc]]:
    """Run it until `default` is paused by an operator and `other` because COC refused its credentials."""
    async with sandbox() as coc:
        config = write_config(folder, coc.port, OTHER.format(port=coc.port, key=KEY))
        async with adapter(config) as service:
            await _settle_some(service, coc)
            await _leave_some_waiting(service, coc)
            yield service, coc


async def _settle_some(service: Adapter, coc: Coc) -> None:
    """Delivered, changed, resolved, dropped by a rule, refused for good, and unusable."""
    await coc.fail(*({"status": 400, "alarm_id": each} for each in (REFUSED, REFUSED_TOO)))
    for body in (
        one("Delivered", DELIVERED, labels=POD),
        one("Delivered", DELIVERED, labels=POD, annotations={"summary": "other words"}),
        one("Recovered", RECOVERED),
        one("Recovered", RECOVERED, "resolved"),
        one("Watchdog", QUIET),
        one("Refused", REFUSED),
        one("RefusedToo", REFUSED_TOO),
        webhook({"status": "firing"}),
        b"no JSON",
    ):
        await post(f"{service.url}/webhook", body)
        await settled(service)


async def _leave_some_waiting(service: Adapter, coc: Coc) -> None:
    await post(f"{service.admin_url}/api/v1/integrations/default/pause", b"")
    await post(f"{service.url}/webhook", one("Waiting", WAITING))
    await coc.fail({"status": 401})
    await post(f"{service.url}/webhook/other", one("Locked", LOCKED))
    await asked_until(lambda: tried(service, LOCKED), lambda count: count == 1, "COC refused the credentials once")
    rows = await asked_until(
        lambda: integrations(service), lambda rows: all(row["pause"] for row in rows), "both are paused"
    )
    assert [row["pending"] for row in rows] == [1, 1]
    await coc.fail()


async def tried(service: Adapter, fingerprint: str) -> int:
    """How many attempts the newest report of an alarm of `other` has."""
    trail = json.loads(await fetch(f"{service.admin_url}/api/v1/alarms/other/{fingerprint}"))
    return len(trail["reports"][0]["last_attempts"]) if trail["reports"] else 0
