"""A real Alertmanager (Debian's) in front of the real adapter: what COC hears of alerts that live their lives."""

from __future__ import annotations

import asyncio
from pathlib import Path

from adapter.alertmanager import fingerprint_of
from tests.flow.alertmanager import alertmanager
from tests.stage import adapter, fetch, sandbox, values, write_config

IDENTITY = ("alarmId", "alarmName", "alarmLevel", "nameSpace", "applicationId", "resourceName", "alarmSource")


async def test_an_alert_that_fires_repeats_changes_and_resolves_is_one_alarm_and_one_ok(tmp_path: Path) -> None:
    labels = {"alertname": "KubePodCrashLooping", "namespace": "shop", "pod": "api-1", "severity": "warning"}
    async with (
        sandbox() as coc,
        adapter(write_config(tmp_path, coc.port)) as service,
        alertmanager(tmp_path, f"{service.url}/webhook") as sender,
    ):
        await sender.post(labels, summary="first words")
        await coc.received(1)
        await _webhooks(service.url, 2)
        await sender.post(labels, summary="other words, the same alarm")
        seen = await _webhooks(service.url, 0)
        await _webhooks(service.url, seen + 2)
        await sender.post(labels, resolved=True, summary="over")
        await coc.received(2)
        seen = await _webhooks(service.url, 0)
        await sender.post({**labels, "pod": "api-2"}, summary="a neighbour keeps the group alive")
        await coc.received(3)
        await _webhooks(service.url, seen + 2)

        alarm_id = fingerprint_of(labels)
        assert coc.states(alarm_id) == ["alarm", "ok"]
        alarm, ok = (body for body in coc.bodies if body["alarmId"] == alarm_id)
        assert [alarm.get(field) for field in IDENTITY] == [ok.get(field) for field in IDENTITY]
        assert len(coc.bodies) == 3
        scrape = await fetch(f"{service.url}/metrics")
        assert values(scrape, "coc_adapter_alerts_total", outcome="repeat") >= 3


async def _webhooks(url: str, least: int) -> int:
    """Wait until the adapter has answered that many webhooks; how many there are then."""
    count = 0.0
    async with asyncio.timeout(60):
        while True:
            count = values(await fetch(f"{url}/metrics"), "coc_adapter_webhooks_total", code="200")
            if count >= least:
                return int(count)
            await asyncio.sleep(0.1)
