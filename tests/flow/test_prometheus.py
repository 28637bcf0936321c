"""A real Prometheus scrapes a real adapter during faults; the alert rules fire and clear as written."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import yaml

from adapter.alertmanager import fingerprint_of
from tests.chart.rule_files import ALERTS
from tests.flow.monitoring import Prometheus, faster, free_port, prometheus, shortened, watchdog
from tests.stage import Adapter, Coc, adapter, alert, fetch, post, sandbox, until, values, webhook, write_config

OTHER_CAUSES = {
    "CocAdapterIntegrationPaused",
    "CocAdapterDeadLetters",
    "CocAdapterWebhooksFailing",
    "CocAdapterNoWebhooks",
    "CocAdapterReloadFailed",
    "CocAdapterDown",
}
"""These must not fire during an outage of COC, because they name other causes."""


def test_shortening_changes_time_and_nothing_else() -> None:
    was, now = yaml.safe_load(ALERTS.read_text()), yaml.safe_load(shortened(ALERTS.read_text()))
    for group, fast in zip(was["groups"], now["groups"], strict=True):
        for rule, quick in zip(group["rules"], fast["rules"], strict=True):
            assert rule.keys() == quick.keys()
            assert (rule["labels"], rule["annotations"]) == (quick["labels"], quick["annotations"])
    assert faster("10m") == "4000ms"
    assert faster("4m30s") == "1800ms"


async def test_an_outage_of_coc_fires_its_alerts_and_its_end_clears_them(tmp_path: Path) -> None:
    async with (
        sandbox() as coc,
        adapter(write_config(tmp_path, coc.port)) as service,
        prometheus(tmp_path, service.port) as monitor,
        watchdog(service),
    ):
        await monitor.scraped()
        await post(f"{service.url}/webhook", webhook(alert("Before")))
        await coc.received(1)
        await coc.fail({"status": 503})
        await post(f"{service.url}/webhook", webhook(alert("During"), alert("Meanwhile")))
        await monitor.fires("CocAdapterNothingDelivered", "CocAdapterBacklogOld")
        assert not OTHER_CAUSES & await monitor.firing()
        await coc.fail()
        await post(f"{service.url}/webhook", webhook(alert("After")))
        await coc.received(4)
        await monitor.clears("CocAdapterNothingDelivered", "CocAdapterBacklogOld")
        await monitor.never("CocAdapterLawBroken")


async def test_refusals_by_coc_and_refused_mappings_fire_different_alerts(tmp_path: Path) -> None:
    mappings = tmp_path / "mappings"
    mappings.mkdir()
    good = 'rules: [{name: all, alarm: {alarmName: "{{ labels.alertname }}"}}]\n'
    (mappings / "all.yaml").write_text(good)
    async with (
        sandbox() as coc,
        adapter(write_config(tmp_path, coc.port, f"mappings: {mappings}")) as service,
        prometheus(tmp_path, service.port) as monitor,
        aiohttp.ClientSession() as http,
        watchdog(service),
    ):
        await monitor.scraped()
        await _credentials_expire(monitor, service, http, coc)
        await _a_report_is_refused(monitor, service, http, coc)
        (mappings / "all.yaml").write_text("rules: [{name: all, alram: {}}]\n")
        async with http.post(f"{service.admin_url}/-/reload") as answer:
            assert answer.status >= 400
        await monitor.fires("CocAdapterReloadFailed")
        (mappings / "all.yaml").write_text(good)
        await monitor.clears("CocAdapterReloadFailed")
        await monitor.never("CocAdapterLawBroken")


async def test_a_dead_adapter_fires_an_alert_and_its_pending_reports_are_counted_as_carried(
    tmp_path: Path,
) -> None:
    port = free_port()
    flag = f"--web.listen-address=127.0.0.1:{port}"
    async with sandbox() as coc:
        config = write_config(tmp_path, coc.port)
        await coc.fail({"status": 503})
        async with prometheus(tmp_path, port) as monitor:
            async with adapter(config, flag) as service:
                await monitor.scraped()
                await post(f"{service.url}/webhook", webhook(alert("Owed"), alert("Owed too")))
                await until(lambda: "report failed" in service.log_text, "a first failure")
                service.kill()
            await monitor.fires("CocAdapterDown")
            async with adapter(config, flag) as service, watchdog(service):
                assert values(await fetch(f"{service.url}/metrics"), "coc_adapter_reports_enqueued_total") == 2
                await coc.fail()
                await coc.received(2)
                await monitor.clears("CocAdapterDown", "CocAdapterAbsent")
            await monitor.never("CocAdapterLawBroken")


async def _credentials_expire(monitor: Prometheus, service: Adapter, http: aiohttp.ClientSession, coc: Coc) -> None:
    await coc.fail({"status": 401})
    await post(f"{service.url}/webhook", webhook(alert("Unauthorised")))
    await monitor.fires("CocAdapterIntegrationPaused")
    await coc.fail()
    await http.post(f"{service.admin_url}/api/v1/integrations/default/resume", json={})
    await monitor.clears("CocAdapterIntegrationPaused")


async def _a_report_is_refused(monitor: Prometheus, service: Adapter, http: aiohttp.ClientSession, coc: Coc) -> None:
    refused = alert("Refused")
    await coc.fail({"status": 400, "alarm_id": fingerprint_of(refused["labels"])})
    await post(f"{service.url}/webhook", webhook(refused))
    await monitor.fires("CocAdapterDeadLetters")
    await coc.fail()
    letters = json.loads(await fetch(f"{service.admin_url}/api/v1/dead-letters"))
    replay = {"ids": [letter["id"] for letter in letters]}
    async with http.post(f"{service.admin_url}/api/v1/dead-letters/replay", json=replay) as answer:
        assert answer.status == 200, await answer.text()
    await monitor.clears("CocAdapterDeadLetters")
    await until(lambda: coc.states(fingerprint_of(refused["labels"])) == ["alarm"], "the replay at COC")
