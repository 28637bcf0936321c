"""The metrics of a real adapter are exactly those that pages, rules and panels name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.chart.rule_files import ALERTS, METRICS_PAGE, ROOT, dashboard_expressions, mentioned, names_of, promtool
from tests.needs import needs
from tests.stage import adapter, counted, fetch, post, sample, sandbox, values, write_config

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


async def test_a_real_scrape_has_every_metric_that_any_page_rule_or_panel_names_and_no_other(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        await post(f"{service.url}/webhook", sample("group3-firing"))
        await coc.received(3)
        scrape = await fetch(f"{service.url}/metrics")
    promtool(needs("promtool"), "check", "metrics", text=scrape)
    kinds = dict(line.split()[2:4] for line in scrape.splitlines() if line.startswith("# TYPE coc_adapter_"))
    sampled = set().union(*(names_of(name.removesuffix("_total"), kind) for name, kind in kinds.items()))
    pages = [*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")]
    documents = {str(page): page.read_text() for page in pages}
    documents |= {"alerts.yaml": ALERTS.read_text(), "dashboard.json": " ".join(dashboard_expressions())}
    assert {name: mentioned(text) - sampled for name, text in documents.items() if mentioned(text) - sampled} == {}
    assert kinds.keys() <= mentioned(METRICS_PAGE.read_text())


async def test_every_address_that_the_pages_name_answers(tmp_path: Path) -> None:
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


async def test_openmetrics_has_the_alarm_id_of_a_delivery_as_an_exemplar(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        await post(f"{service.url}/webhook", sample("single-firing"))
        (body,) = await coc.received(1)
        await counted(service.url, 1, "coc_adapter_reports_total", outcome="delivered")
        async with aiohttp.ClientSession(headers=OPENMETRICS) as http, http.get(f"{service.url}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
            text = await answer.text()
    families = {family.name: family for family in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]
    latency = families["coc_adapter_delivery_latency_seconds"].samples
    assert {"alarm_id": body["alarmId"]} in [each.exemplar.labels for each in latency if each.exemplar]
    assert "_created" not in text


async def test_every_answer_on_a_webhook_path_is_counted_and_so_are_refusals_by_access(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken")
    more = f"webhook: {{bearer_token_file: {tmp_path / 'token'}}}"
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port, more)) as service:
        body, mine = sample("single-firing"), {"Authorization": "Bearer t0ken"}
        for path, headers in (
            ("", mine),
            ("", {}),
            ("/default", {}),
            ("/unknown", mine),
            ("/default", {}),
            ("/a/b", mine),
            ("/", mine),
            ("/default//", mine),
        ):
            await post(f"{service.url}/webhook{path}", body, headers=headers)
        async with aiohttp.ClientSession(headers=mine) as http:
            await http.get(f"{service.url}/webhook")
        scrape = await fetch(f"{service.url}/metrics")
    counts = {
        (name, code): values(scrape, "coc_adapter_webhooks_total", integration=name, code=code)
        for name in ("default", "unknown")
        for code in ("200", "401", "404", "405")
    }
    assert {key: count for key, count in counts.items() if count} == {
        ("default", "200"): 3,
        ("default", "401"): 3,
        ("unknown", "404"): 2,
        ("default", "405"): 1,
    }
    assert values(scrape, "coc_adapter_access_refused_total", reason="absent") == 3


LIST = b'[{"labels": {"alertname": "Up"}}]'
REFUSED_POSTS: tuple[tuple[str, bytes, dict[str, str], tuple[str, str]], ...] = (
    ("/webhook", b"no JSON", {}, ("default", "400")),
    ("/webhook", LIST, {}, ("default", "400")),
    ("/webhook", LIST, {"Content-Encoding": "br"}, ("default", "400")),
    ("/webhook/", LIST, {"Content-Encoding": "zstd"}, ("default", "400")),
    ("/webhook", LIST, {"Content-Type": "text/plain; charset=klingon"}, ("default", "415")),
    ("/webhook", b"x" * 1025, {}, ("default", "413")),
    ("/webhook", LIST, {"X-Long": "x" * 9000}, ("unknown", "400")),
    ("/webhook/nobody", LIST, {}, ("unknown", "404")),
    ("/api/v2/alerts", LIST, {}, ("unknown", "404")),
    ("/alert", LIST, {}, ("unknown", "404")),
    ("/webhooks", LIST, {}, ("unknown", "404")),
    ("/", LIST, {}, ("unknown", "404")),
    ("/metrics", LIST, {}, ("unknown", "405")),
)


@pytest.mark.parametrize(
    ("path", "body", "headers", "counted"),
    REFUSED_POSTS,
    ids=[f"{path} {code}" for path, *_, (_, code) in REFUSED_POSTS],
)
async def test_every_post_that_is_refused_for_good_is_counted_and_logged_once(
    path: str, body: bytes, headers: dict[str, str], counted: tuple[str, str], tmp_path: Path
) -> None:
    integration, code = counted
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port, "webhook: {max_body: 1KiB}")) as service:
        for _ in range(3):
            status, _ = await post(f"{service.url}{path}", body, headers=headers)
            assert str(status) == code
        scrape = await fetch(f"{service.url}/metrics")
        assert values(scrape, "coc_adapter_webhooks_total", integration=integration, code=code) == 3
        lines = [line for line in service.log.read_text().splitlines() if "level=warn" in line]
        assert len(lines) == 1
        assert f"integration={integration} " in lines[0]
        assert LIST.decode() not in lines[0]


async def test_each_wrong_path_is_logged_but_not_each_of_a_scan(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        for path in ("/alert", "/webhooks", "/alert", *(f"/scan/{number}" for number in range(200))):
            assert (await post(f"{service.url}{path}", LIST))[0] == 404
        lines = [line for line in service.log.read_text().splitlines() if "webhook refused" in line]
        paths = [line.partition("path=")[2].split()[0] for line in lines]
        assert paths[:3] == ["/alert", "/webhooks", "/scan/0"]
        assert len(paths) == len(set(paths)) < 100
