"""The metrics: the families, the exposition after a fresh start, and the counts of a scripted run."""

from __future__ import annotations

from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.golden.normal import REVISION, VERSION, Rule, rule
from tests.golden.recording import same
from tests.golden.waiting import counted
from tests.stage import Adapter, adapter, alert, fetch, post, sample, sandbox, webhook, write_config

# Figures of the operating system and of the interpreter.
PROCESS = rule(r"^((?:process|python)_\w+(?:\{generation=\"\d\"\})?) \S+$", r"\1 N")
# The interpreter's version.
INTERPRETER = rule(r'\b(implementation|major|minor|patchlevel|version|pythonversion)="[\dC][^"]*"', r'\1="X"')
# When configuration and mappings were loaded.
LOADED = rule(r"^(coc_adapter_config_last_reload_success_timestamp_seconds) \S+$", r"\1 N")
# The size of the store's files and the free space of the file system.
SPACE = rule(r"^(coc_adapter_store_(?:free_)?bytes) \S+$", r"\1 N")
# Measured times, and how often the store committed or a timer was sampled before the scrape.
MEASURED = rule(r"^(coc_adapter_(?:store_commit|event_loop_lag)_seconds_(?:bucket\{.*\}|sum|count)) \S+$", r"\1 N")
START: tuple[Rule, ...] = (VERSION, REVISION, PROCESS, INTERPRETER, LOADED, SPACE, MEASURED)

# Sums of measured times.
SUM = rule(r"^(coc_adapter_\w+_seconds_sum) \S+$", r"\1 N")
# Alarms that are pending at the same time are rendered in one call.
BATCHES = rule(r"^(coc_adapter_mapping_render_seconds_count) \S+$", r"\1 N")
AFTER: tuple[Rule, ...] = (*START, SUM, BATCHES)


def normal(text: str, rules: tuple[Rule, ...]) -> str:
    for one in rules:
        text = one.on(text)
    return text


def families(scrape: str) -> str:
    """One line for each family: name, type, label names, help."""
    lines = []
    for family in text_string_to_metric_families(scrape):
        labels = sorted({label for each in family.samples for label in each.labels})
        lines.append(f"{family.name} {family.type} {{{','.join(labels)}}} {family.documentation}\n")
    return "".join(sorted(lines))


def counts(scrape: str) -> str:
    """Every sample of the adapter that is not zero, without the buckets of measured times."""
    every = normal(scrape, AFTER).splitlines()
    lines = [line for line in every if line.startswith("coc_adapter_") and "_seconds_bucket{" not in line]
    return "".join(f"{line}\n" for line in lines if line.rsplit(" ", 1)[1] != "0.0")


async def test_a_fresh_start_exposes_what_is_recorded(tmp_path: Path) -> None:
    async with adapter(write_config(tmp_path, coc=9)) as service:
        scrape = await fetch(f"{service.url}/metrics")
        of_admin = await fetch(f"{service.admin_url}/metrics")
        openmetrics = await in_openmetrics(service)
    same("metrics_families.txt", families(scrape))
    same("metrics_start.txt", normal(scrape, START))
    assert families(of_admin) == families(scrape)
    same("metrics_openmetrics_heads.txt", "".join(f"{x}\n" for x in openmetrics.splitlines() if x.startswith("# ")))


async def in_openmetrics(service: Adapter) -> str:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with aiohttp.ClientSession(headers=accept) as http, http.get(f"{service.url}/metrics") as answer:
        assert answer.content_type == "application/openmetrics-text"
        return await answer.text()


async def test_a_scripted_run_counts_what_is_recorded(tmp_path: Path) -> None:
    """Three kinds of report, every outcome without a fault of the store, and each kind of refusal."""
    refused = alert("Refused", fingerprint="00000000000000aa", annotations={"description": "x" * 300})
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        await coc.fail({"status": 400, "alarm_id": "00000000000000aa"})
        for body in (sample("single-firing"), sample("single-firing"), webhook(refused), sample("kube-watchdog")):
            await post(f"{service.url}/webhook", body)
        await counted(service, "coc_adapter_reports_total", 3)
        await post(f"{service.url}/webhook/default", sample("single-resolved"))
        await counted(service, "coc_adapter_reports_total", 4)
        await post(f"{service.url}/webhook", webhook({"status": "firing"}))
        await post(f"{service.url}/webhook", b"no JSON")
        await post(f"{service.url}/webhook/nobody", sample("single-firing"))
        scrape = await counted(service, "coc_adapter_webhooks_total", 8)
    same("metrics_after.txt", counts(scrape))
