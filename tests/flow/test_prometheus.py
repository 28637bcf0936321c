"""A real Prometheus watches a real adapter through what can go wrong; the shipped rules fire and clear as written."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import yaml

from adapter.alertmanager import fingerprint_of
from tests.chart.rule_files import ALERTS
from tests.flow.watchers import Prometheus, beating, faster, free_port, prometheus, shortened
from tests.stage import Adapter, Coc, adapter, alert, fetch, post, sandbox, until, values, webhook, write_config

OTHER_CAUSES = {
    "CocAdapterIntegrationPaused",
    "CocAdapterDeadLetters",
    "CocAdapterWebhooksFailing",
    "CocAdapterNoWebhooks",
    "CocAdapterReloadFailed",
    "CocAdapterDown",
}
"""What must not be said during an outage of COC: it would send whoever is on call the wrong way."""


def test_shortening_changes_time_and_nothing_else() -> None:
    was, now = yaml.safe_load(ALERTS.read_text()), yaml.safe_load(shortened(ALERTS.read_text()))
    for group, fast in zip(was["groups"], now["groups"], strict=True):
        for rule, quick in zip(group["rules"], fast["rules"], strict=True):
            assert rule.keys() == quick.keys()
            assert (rule["labels"], rule["annotations"]) == (quick["labels"], quick["annotations"])
    assert faster("10m") == "4000ms"
    assert faster("4m30s") == "1800ms"


async def test_an_outage_of_coc_is_noticed_and_its_end_too(tmp_path: Path) -> None:
    async with (
        sandbox() as coc,
        adapter(write_config(tmp_path, coc.port)) as service,
        prometheus(tmp_path, service.port) as watcher,
        beating(service),
    ):
        await watcher.scraped()
        await post(f"{service.url}/webhook", webhook(alert("Before")))
        await coc.received(1)
        await coc.fail({"status": 503})
        await post(f"{service.url}/webhook", webhook(alert("During"), alert("Meanwhile")))
        await watcher.fires("CocAdapterNothingDelivered", "CocAdapterBacklogOld")
        assert not OTHER_CAUSES & await watcher.firing()
        await coc.fail()
        await post(f"{service.url}/webhook", webhook(alert("After")))
        await coc.received(4)
        await watcher.clears("CocAdapterNothingDelivered", "CocAdapterBacklogOld")
        await watcher.never("CocAdapterLawBroken")


async def test_refusals_of_coc_and_of_mappings_are_told_apart(tmp_path: Path) -> None:
    mappings = tmp_path / "mappings"
    mappings.mkdir()
    good = 'rules: [{name: all, alarm: {alarmName: "{{ labels.alertname }}"}}]\n'
    (mappings / "all.yaml").write_text(good)
    async with (
        sandbox() as coc,
        adapter(write_config(tmp_path, coc.port, f"mappings: {mappings}")) as service,
        prometheus(tmp_path, service.port) as watcher,
        aiohttp.ClientSession() as http,
        beating(service),
    ):
        await watcher.scraped()
        await _credentials_expire(watcher, service, http, coc)
        await _a_report_is_refused(watcher, service, http, coc)
        (mappings / "all.yaml").write_text("rules: [{name: all, alram: {}}]\n")
        async with http.post(f"{service.admin_url}/-/reload") as answer:
            assert answer.status >= 400
        await watcher.fires("CocAdapterReloadFailed")
        (mappings / "all.yaml").write_text(good)
        await watcher.clears("CocAdapterReloadFailed")
        await watcher.never("CocAdapterLawBroken")


async def test_an_adapter_that_dies_is_missed_and_what_it_owed_is_counted_as_carried(tmp_path: Path) -> None:
    port = free_port()
    flag = f"--web.listen-address=127.0.0.1:{port}"
    async with sandbox() as coc:
        config = write_config(tmp_path, coc.port)
        await coc.fail({"status": 503})
        async with prometheus(tmp_path, port) as watcher:
            async with adapter(config, flag) as service:
                await watcher.scraped()
                await post(f"{service.url}/webhook", webhook(alert("Owed"), alert("Owed too")))
                await until(lambda: "report failed" in service.log_text, "a first failure")
                service.kill()
            await watcher.fires("CocAdapterDown")
            async with adapter(config, flag) as service, beating(service):
                assert values(await fetch(f"{service.url}/metrics"), "coc_adapter_reports_enqueued_total") == 2
                await coc.fail()
                await coc.received(2)
                await watcher.clears("CocAdapterDown", "CocAdapterAbsent")
            await watcher.never("CocAdapterLawBroken")


async def _credentials_expire(watcher: Prometheus, service: Adapter, http: aiohttp.ClientSession, coc: Coc) -> None:
    await coc.fail({"status": 401})
    await post(f"{service.url}/webhook", webhook(alert("Unauthorised")))
    await watcher.fires("CocAdapterIntegrationPaused")
    await coc.fail()
    await http.post(f"{service.admin_url}/api/v1/integrations/default/resume", json={})
    await watcher.clears("CocAdapterIntegrationPaused")


async def _a_report_is_refused(watcher: Prometheus, service: Adapter, http: aiohttp.ClientSession, coc: Coc) -> None:
    refused = alert("Refused")
    await coc.fail({"status": 400, "alarm_id": fingerprint_of(refused["labels"])})
    await post(f"{service.url}/webhook", webhook(refused))
    await watcher.fires("CocAdapterDeadLetters")
    await coc.fail()
    letters = json.loads(await fetch(f"{service.admin_url}/api/v1/dead-letters"))
    replay = {"ids": [letter["id"] for letter in letters]}
    async with http.post(f"{service.admin_url}/api/v1/dead-letters/replay", json=replay) as answer:
        assert answer.status == 200, await answer.text()
    await watcher.clears("CocAdapterDeadLetters")
    await until(lambda: coc.states(fingerprint_of(refused["labels"])) == ["alarm"], "the replay at COC")
