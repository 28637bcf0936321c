"""Hostile templates in the running service: quick acknowledgements, every alert delivered, the others as written."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.mapping.hostile import HOSTILE
from tests.stage import adapter, alert, counted, sandbox, webhook, write_config

TRAPS = [name for name in HOSTILE if not name.startswith(("backtracking", "surrogates"))][:20]
SLOWEST = 2.0  # seconds an acknowledgement may take on a machine with other load


def mapping() -> str:
    """A rule for each hostile template, run for alerts of one name only, so that the trial on a plain alert passes."""
    fields = {
        "alarmName": "{{ labels.alertname }}",
        "alarmLevel": "{{ labels.severity | level }}",
        "nameSpace": "shop",
        "applicationId": "x",
        "alarmDesc": "{{ annotations.summary }}",
    }
    rules: list[dict[str, object]] = [
        {
            "name": name,
            "when": f'labels.alertname == "{name}"',
            "alarm": {**fields, "resourceName": f"{{% if labels.alertname == '{name}' %}}{HOSTILE[name]}{{% endif %}}"},
        }
        for name in TRAPS
    ]
    return yaml.safe_dump({"rules": [*rules, {"name": "rest", "alarm": fields}]})


async def test_twenty_hostile_templates_slow_no_acknowledgement_and_swallow_no_alert(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "a.yaml").write_text(mapping())
    config = "mappings: mappings\n"
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port, config)) as service:
        taken: list[float] = []
        async with aiohttp.ClientSession() as session:

            async def send(name: str) -> None:
                started = time.monotonic()
                async with session.post(f"{service.url}/webhook", data=webhook(alert(name))) as answer:
                    assert answer.status == 200
                taken.append(time.monotonic() - started)

            for number in range(120):
                await send(TRAPS[number // 6] if number % 6 == 0 else f"Good{number}")
                await asyncio.sleep(0.02)
        bodies = {body["alarmName"]: body for body in await coc.received(120, seconds=120)}
        with capsys.disabled():
            taken.sort()
            print(f"\nacknowledgements while bombs rendered: p50 {taken[60]:.3f} s, p99 {taken[118]:.3f} s")
        assert taken[-1] < SLOWEST
        for name in TRAPS:
            assert bodies[name]["alarmDesc"] == f"{name} happened"
            assert bodies[name]["additional"]["rule"] == name
            assert "resourceName" in bodies[name]["additional"]["fallback"]
        assert all("fallback" not in bodies[f"Good{number}"]["additional"] for number in range(120) if number % 6)
        # COC has a report before the adapter has settled and counted it.
        fallbacks = "coc_adapter_mapping_fallbacks_total"
        assert await counted(service.url, len(TRAPS), fallbacks, field="resourceName") == len(TRAPS)
