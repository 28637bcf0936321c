"""A real Prometheus watches a real adapter through what can go wrong; the shipped rules fire and clear as written."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from adapter.alertmanager import fingerprint_of
from tests.flow.watchers import Prometheus, alertmanager, faster, free_port, prometheus, shortened
from tests.needs import needs
from tests.rules.files import (
    ALERTS,
    METRICS_PAGE,
    PROOF_OF_LIFE,
    ROOT,
    dashboard_expressions,
    mentioned,
    names_of,
    promtool,
    yaml_blocks,
)
from tests.stage import Adapter, Coc, adapter, alert, fetch, post, sample, sandbox, until, values, webhook, write_config

OTHER_CAUSES = {
    "CocAdapterIntegrationPaused",
    "CocAdapterDeadLetters",
    "CocAdapterWebhooksFailing",
    "CocAdapterNoWebhooks",
    "CocAdapterReloadFailed",
    "CocAdapterDown",
}
"""What must not be said during an outage of COC: it would send whoever is on call the wrong way."""
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


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
                await until(lambda: "report failed" in service.said, "a first failure")
                service.kill()
            await watcher.fires("CocAdapterDown")
            async with adapter(config, flag) as service, beating(service):
                assert values(await fetch(f"{service.url}/metrics"), "coc_adapter_reports_enqueued_total") == 2
                await coc.fail()
                await coc.received(2)
                await watcher.clears("CocAdapterDown", "CocAdapterAbsent")
            await watcher.never("CocAdapterLawBroken")


async def test_the_watchdog_proves_the_road_and_its_silence_is_noticed(tmp_path: Path) -> None:
    port, blocks = free_port(), yaml_blocks(PROOF_OF_LIFE)
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        config = _route(blocks["alertmanager.yml"][0], service)
        rules = {"watchdog.yaml": blocks["watchdog.rules.yaml"][0]}
        async with prometheus(tmp_path, service.port, alertmanager_port=port, rules=rules) as watcher:
            async with alertmanager(tmp_path, config, port):
                await _webhooks(service, 3)
            await watcher.fires("CocAdapterNoWebhooks")
            async with alertmanager(tmp_path, config, port):
                await watcher.clears("CocAdapterNoWebhooks")
        scrape = await fetch(f"{service.url}/metrics")
        assert values(scrape, "coc_adapter_reports_total", outcome="dropped") >= 1
        assert [body for body in coc.bodies if body["alarmName"] == "Watchdog"] == []


async def test_the_watchdog_goes_as_far_as_coc_where_that_is_wanted(tmp_path: Path) -> None:
    port, blocks = free_port(), yaml_blocks(PROOF_OF_LIFE)
    mappings = tmp_path / "mappings"
    mappings.mkdir()
    (mappings / "00-watchdog.yaml").write_text(blocks["mappings/00-watchdog.yaml"][1])
    more = f"mappings: {mappings}\nrelay: {{refresh_interval: 1s}}"
    rules = {"watchdog.yaml": blocks["watchdog.rules.yaml"][0], "coc.yaml": blocks["coc-heartbeat.rules.yaml"][0]}
    async with (
        sandbox() as coc,
        adapter(write_config(tmp_path, coc.port, more)) as service,
        prometheus(tmp_path, service.port, alertmanager_port=port, rules=rules) as watcher,
        alertmanager(tmp_path, _route(blocks["alertmanager.yml"][0], service), port),
    ):
        await until(lambda: [body["alarmName"] for body in coc.bodies].count("Watchdog") >= 3, "refreshes at COC", 60.0)
        assert {body["alarmLevel"] for body in coc.bodies if body["alarmName"] == "Watchdog"} == {"Info"}
        assert not {"CocHeartbeatMissing", "CocAdapterNoWebhooks"} & await watcher.firing()


# What a real scrape says


async def test_a_real_scrape_has_every_metric_that_any_page_rule_or_panel_names_and_no_other(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        await post(f"{service.url}/webhook", sample("group3-firing"))
        await coc.received(3)
        scrape = await fetch(f"{service.url}/metrics")
    promtool(needs("promtool"), "check", "metrics", text=scrape)
    kinds = dict(line.split()[2:4] for line in scrape.splitlines() if line.startswith("# TYPE coc_adapter_"))
    sampled = set().union(*(names_of(name.removesuffix("_total"), kind) for name, kind in kinds.items()))
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    documents = {str(page): page.read_text() for page in pages}
    documents |= {"alerts.yaml": ALERTS.read_text(), "dashboard.json": " ".join(dashboard_expressions())}
    assert {name: mentioned(text) - sampled for name, text in documents.items() if mentioned(text) - sampled} == {}
    assert kinds.keys() <= mentioned(METRICS_PAGE.read_text())


async def test_every_address_the_pages_tell_to_ask_answers(tmp_path: Path) -> None:
    pages = [page.read_text() for page in (ROOT / "docs").rglob("*.md")]
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        document = json.loads(await fetch(f"{service.admin_url}/api/v1/openapi.json"))
        managed = {"/-/healthy", "/-/ready", "/-/reload", "/metrics"}
        known = {path.partition("/{")[0] for path in document["paths"]} | managed | {"/api/v1/openapi.json"}
        asked = {path for page in pages for path in re.findall(r"/(?:api/v1|-)/[a-z][a-z/.-]*[a-z]", page)}
        assert asked <= known
        for path in ("/api/v1/status", "/api/v1/rejects", "/-/ready", "/-/healthy"):
            assert path in asked
            assert await fetch(f"{service.admin_url}{path}")


async def test_openmetrics_is_served_to_whoever_asks_with_the_alarm_id_of_a_delivery(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        await post(f"{service.url}/webhook", sample("single-firing"))
        (body,) = await coc.received(1)
        async with aiohttp.ClientSession(headers=OPENMETRICS) as http, http.get(f"{service.url}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
            text = await answer.text()
    families = {family.name: family for family in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]
    latency = families["coc_adapter_delivery_latency_seconds"].samples
    assert {"alarm_id": body["alarmId"]} in [each.exemplar.labels for each in latency if each.exemplar]
    assert "_created" not in text


async def test_every_answer_on_a_webhook_path_is_counted_also_those_given_at_the_door(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken")
    more = f"webhook: {{bearer_token_file: {tmp_path / 'token'}}}"
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port, more)) as service:
        body, mine = sample("single-firing"), {"Authorization": "Bearer t0ken"}
        for path, headers in (
            ("", mine),
            ("", {}),
            ("/default", {}),
            ("/nobody", mine),
            ("/default", {}),
            ("/a/b", mine),
        ):
            await post(f"{service.url}/webhook{path}", body, headers=headers)
        async with aiohttp.ClientSession(headers=mine) as http:
            await http.get(f"{service.url}/webhook")
        scrape = await fetch(f"{service.url}/metrics")
    counted = {
        (name, code): values(scrape, "coc_adapter_webhooks_total", integration=name, code=code)
        for name in ("default", "unknown")
        for code in ("200", "401", "404", "405")
    }
    assert {key: count for key, count in counted.items() if count} == {
        ("default", "200"): 1,
        ("default", "401"): 3,
        ("unknown", "404"): 2,
        ("default", "405"): 1,
    }
    assert values(scrape, "coc_adapter_access_refused_total", reason="absent") == 3


# Arrangement


@asynccontextmanager
async def beating(service: Adapter) -> AsyncIterator[None]:
    """A Watchdog by hand, so that the rule about silence stays silent."""

    async def beat() -> None:
        while True:
            with suppress(aiohttp.ClientError):
                await post(f"{service.url}/webhook", sample("kube-watchdog"))
            await asyncio.sleep(0.5)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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


def _route(block: str, service: Adapter) -> dict[str, Any]:
    """The page's Alertmanager configuration, with time divided like that of the rules, and our address."""
    config: dict[str, Any] = yaml.safe_load(block)
    for route in (config["route"], *config["route"]["routes"]):
        for name in ("group_interval", "repeat_interval"):
            if name in route:
                route[name] = faster(route[name])
    config["receivers"][0]["webhook_configs"][0]["url"] = f"{service.url}/webhook"
    return config


async def _webhooks(service: Adapter, number: int) -> None:
    """Wait for so many accepted ones."""
    end = asyncio.get_running_loop().time() + 60
    while values(await fetch(f"{service.url}/metrics"), "coc_adapter_webhooks_total", code="200") < number:
        assert asyncio.get_running_loop().time() < end, f"fewer than {number} webhooks"
        await asyncio.sleep(0.1)
