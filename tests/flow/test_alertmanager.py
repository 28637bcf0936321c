"""A real Alertmanager sends to the real adapter: COC gets one alarm and one ok per alert."""

from __future__ import annotations

from pathlib import Path

from adapter.alertmanager import fingerprint_of
from tests.flow.monitoring import alertmanager, one_receiver
from tests.stage import adapter, counted, fetch, sandbox, values, write_config

IDENTITY = ("alarmId", "alarmName", "alarmLevel", "nameSpace", "applicationId", "resourceName", "alarmSource")


async def test_an_alert_that_fires_repeats_changes_and_resolves_is_one_alarm_and_one_ok(tmp_path: Path) -> None:
    labels = {"alertname": "KubePodCrashLooping", "namespace": "shop", "pod": "api-1", "severity": "warning"}
    async with (
        sandbox() as coc,
        adapter(write_config(tmp_path, coc.port)) as service,
        alertmanager(tmp_path, one_receiver(f"{service.url}/webhook")) as sender,
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
        await sender.post({**labels, "pod": "api-2"}, summary="another alert of the group")
        await coc.received(3)
        await _webhooks(service.url, seen + 2)

        alarm_id = fingerprint_of(labels)
        assert coc.states(alarm_id) == ["alarm", "ok"]
        alarm, ok = (body for body in coc.bodies if body["alarmId"] == alarm_id)
        assert [alarm.get(field) for field in IDENTITY] == [ok.get(field) for field in IDENTITY]
        assert len(coc.bodies) == 3
        scrape = await fetch(f"{service.url}/metrics")
        assert values(scrape, "coc_adapter_alerts_total", outcome="repeat") >= 3


async def _webhooks(url: str, least: float) -> float:
    """Wait until the adapter has accepted `least` webhooks; return their number."""
    return await counted(url, least, "coc_adapter_webhooks_total", code="200")
