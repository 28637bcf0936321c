"""Repeats of open alarms while COC is silent or an integration is paused: they owe nothing and refuse nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from tests.flow.test_operator import MAPPING, command
from tests.stage import (
    Adapter,
    adapter,
    alert,
    counted,
    drained,
    fetch,
    post,
    sandbox,
    until,
    values,
    webhook,
    write_config,
)

ALARMS = [alert(f"Open{number}") for number in range(8)]
MORE = "limits: {backlog: 10}\nrelay: {refresh_interval: 1s}\nmappings: mappings\n"


def config(folder: Path, coc: int) -> Path:
    (folder / "mappings").mkdir()
    (folder / "mappings" / "a.yaml").write_text(MAPPING)
    return write_config(folder, coc, MORE)


async def owed(service: Adapter) -> dict[str, float]:
    scrape = await fetch(f"{service.url}/metrics")
    return {
        kind: values(scrape, "coc_adapter_reports_enqueued_total", kind=kind) for kind in ("alarm", "update", "refresh")
    }


async def repeat(service: Adapter, *alerts: dict[str, Any]) -> dict[str, int]:
    status, text = await post(f"{service.url}/webhook", webhook(*alerts))
    assert status == 200, text
    answer: dict[str, int] = json.loads(text)
    return answer


async def change_mappings(service: Adapter) -> None:
    file = service.folder / "mappings" / "a.yaml"
    file.write_text(file.read_text().replace("applicationId: shop", "applicationId: other"))
    async with aiohttp.ClientSession() as session, session.post(f"{service.admin_url}/-/reload") as answer:
        assert answer.status == 200, await answer.text()


async def breaker(service: Adapter, state: str) -> bool:
    (row,) = json.loads(await fetch(f"{service.admin_url}/api/v1/integrations"))
    return bool(row["breaker"] == state)


async def test_while_coc_is_silent_repeats_owe_nothing_and_news_has_the_whole_backlog(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(config(tmp_path, coc.port)) as service:
        await repeat(service, *ALARMS)
        await drained(service.url)
        await coc.fail({"status": 503})
        await repeat(service, alert("Fresh1"), alert("Fresh2"))
        await until(lambda: breaker(service, "open"), "the breaker to open")
        before = await owed(service)
        await change_mappings(service)
        for _ in range(3):
            assert (await repeat(service, *ALARMS))["news"] == 0
        assert await owed(service) == before
        fresh = [alert(f"Fresh{number}") for number in range(3, 11)]
        assert (await repeat(service, *fresh))["news"] == 8
        assert (await repeat(service, *ALARMS))["repeats"] == 8
        assert (await post(f"{service.url}/webhook", webhook(alert("OneMore"))))[0] == 503
        await coc.fail()
        await drained(service.url)
        assert (await repeat(service, *ALARMS))["news"] == 8  # what the new mappings changed, asked for again
        await drained(service.url)
        assert (await owed(service))["update"] == before["update"] + 8


async def test_while_an_integration_is_paused_no_refresh_is_owed_and_it_is_afterwards(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(config(tmp_path, coc.port)) as service:
        await repeat(service, *ALARMS)
        await coc.received(8)
        await drained(service.url)
        assert (await command(service, "integrations", "pause", "default"))[0] == 0

        async def time_has_passed() -> bool:
            rows = json.loads(await fetch(f"{service.admin_url}/api/v1/alarms"))
            return max(str(row["coc_accepted_at"]) for row in rows) < _ago(1.1)

        await until(time_has_passed, "a refresh to be due")
        await repeat(service, *ALARMS)
        assert (await owed(service))["refresh"] == 0
        assert (await command(service, "integrations", "resume", "default"))[0] == 0
        await repeat(service, *ALARMS)
        await counted(service.url, 8, "coc_adapter_reports_enqueued_total", kind="refresh")
        await coc.received(16)


def _ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
