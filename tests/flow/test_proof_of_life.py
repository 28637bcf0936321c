"""docs/proof-of-life.md as it stands: its rules in a real Prometheus, its route in a real Alertmanager."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import yaml

from tests.chart.rule_files import PROOF_OF_LIFE, yaml_blocks
from tests.flow.watchers import alertmanager, faster, free_port, prometheus
from tests.stage import Adapter, adapter, fetch, sandbox, until, values, write_config


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


async def test_a_receiver_with_a_wrong_address_is_told_by_both_sides(tmp_path: Path) -> None:
    port, blocks = free_port(), yaml_blocks(PROOF_OF_LIFE)
    rules = {"watchdog.yaml": blocks["watchdog.rules.yaml"][0]}
    both = ("CocAdapterWebhooksRefused", "CocAdapterAlertmanagerFailing")
    async with (
        sandbox() as coc,
        adapter(write_config(tmp_path, coc.port)) as service,
        prometheus(tmp_path, service.port, alertmanager_port=port, rules=rules) as watcher,
    ):
        right = _route(blocks["alertmanager.yml"][0], service)
        wrong = _route(blocks["alertmanager.yml"][0], service)
        wrong["receivers"][0]["webhook_configs"][0]["url"] += "/nobody"
        async with alertmanager(tmp_path, wrong, port):
            await watcher.fires(*both)
        async with alertmanager(tmp_path, right, port):
            await watcher.clears(*both)
            await _webhooks(service, 1)


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
