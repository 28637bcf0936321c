"""The rules of docs/proof-of-life.md in a real Prometheus, its route in a real Alertmanager."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.chart.rule_files import PROOF_OF_LIFE, yaml_blocks
from tests.flow.monitoring import alertmanager, faster, free_port, prometheus
from tests.stage import Adapter, adapter, counted, fetch, sandbox, until, values, write_config


async def test_the_watchdog_reaches_the_adapter_and_its_absence_fires_an_alert(tmp_path: Path) -> None:
    port, blocks = free_port(), yaml_blocks(PROOF_OF_LIFE)
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        config = _route(blocks["alertmanager.yml"][0], service)
        rules = {"watchdog.yaml": blocks["watchdog.rules.yaml"][0]}
        async with prometheus(tmp_path, service.port, alertmanager_port=port, rules=rules) as monitor:
            async with alertmanager(tmp_path, config, port):
                await counted(service.url, 3, "coc_adapter_webhooks_total", code="200")
            await monitor.fires("CocAdapterNoWebhooks")
            async with alertmanager(tmp_path, config, port):
                await monitor.clears("CocAdapterNoWebhooks")
        scrape = await fetch(f"{service.url}/metrics")
        assert values(scrape, "coc_adapter_reports_total", outcome="dropped") >= 1
        assert [body for body in coc.bodies if body["alarmName"] == "Watchdog"] == []


async def test_the_watchdog_reaches_coc_with_the_optional_mapping(tmp_path: Path) -> None:
    port, blocks = free_port(), yaml_blocks(PROOF_OF_LIFE)
    mappings = tmp_path / "mappings"
    mappings.mkdir()
    (mappings / "00-watchdog.yaml").write_text(blocks["mappings/00-watchdog.yaml"][1])
    more = f"mappings: {mappings}\nrelay: {{refresh_interval: 1s}}"
    rules = {"watchdog.yaml": blocks["watchdog.rules.yaml"][0], "coc.yaml": blocks["coc-heartbeat.rules.yaml"][0]}
    async with (
        sandbox() as coc,
        adapter(write_config(tmp_path, coc.port, more)) as service,
        prometheus(tmp_path, service.port, alertmanager_port=port, rules=rules) as monitor,
        alertmanager(tmp_path, _route(blocks["alertmanager.yml"][0], service), port),
    ):
        await until(lambda: [body["alarmName"] for body in coc.bodies].count("Watchdog") >= 3, "refreshes at COC", 60.0)
        assert {body["alarmLevel"] for body in coc.bodies if body["alarmName"] == "Watchdog"} == {"Info"}
        assert not {"CocHeartbeatMissing", "CocAdapterNoWebhooks"} & await monitor.firing()


async def test_a_receiver_with_a_wrong_address_fires_alerts_on_both_sides(tmp_path: Path) -> None:
    port, blocks = free_port(), yaml_blocks(PROOF_OF_LIFE)
    rules = {"watchdog.yaml": blocks["watchdog.rules.yaml"][0]}
    both = ("CocAdapterWebhooksRefused", "CocAdapterAlertmanagerFailing")
    async with (
        sandbox() as coc,
        adapter(write_config(tmp_path, coc.port)) as service,
        prometheus(tmp_path, service.port, alertmanager_port=port, rules=rules) as monitor,
    ):
        right = _route(blocks["alertmanager.yml"][0], service)
        wrong = _route(blocks["alertmanager.yml"][0], service)
        wrong["receivers"][0]["webhook_configs"][0]["url"] += "/unknown"
        async with alertmanager(tmp_path, wrong, port):
            await monitor.fires(*both)
        async with alertmanager(tmp_path, right, port):
            await monitor.clears(*both)
            await counted(service.url, 1, "coc_adapter_webhooks_total", code="200")


def _route(block: str, service: Adapter) -> dict[str, Any]:
    """The page's Alertmanager configuration, with shortened intervals and the adapter's address."""
    config: dict[str, Any] = yaml.safe_load(block)
    for route in (config["route"], *config["route"]["routes"]):
        for name in ("group_interval", "repeat_interval"):
            if name in route:
                route[name] = faster(route[name])
    config["receivers"][0]["webhook_configs"][0]["url"] = f"{service.url}/webhook"
    return config
