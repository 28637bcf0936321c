"""What a real adapter's /metrics says, and that every page, rule and panel speaks of that and nothing else."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import aiohttp
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.chart.rule_files import ALERTS, METRICS_PAGE, ROOT, dashboard_expressions, mentioned, names_of, promtool
from tests.needs import needs
from tests.stage import adapter, fetch, post, sample, sandbox, values, write_config

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


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
        await delivered(service.url, 1)
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


async def delivered(url: str, count: int) -> None:
    """Wait until that many reports are settled: COC has them a moment earlier."""
    async with asyncio.timeout(30):
        while values(await fetch(f"{url}/metrics"), "coc_adapter_reports_total", outcome="delivered") < count:
            await asyncio.sleep(0.05)
