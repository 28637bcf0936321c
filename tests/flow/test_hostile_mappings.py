"""Hostile templates in the running service: quick acknowledgements, every alert delivered, the others as written."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import aiohttp
import pytest
import yaml

from adapter.mapping.render.renderer import LEAST_LIFE
from tests.flow.test_operator import command
from tests.mapping.builders import drafts, workers
from tests.mapping.hostile import HOSTILE
from tests.stage import adapter, alert, counted, drained, post, sandbox, until, values, webhook, write_config

TRAPS = [name for name in HOSTILE if not name.startswith(("backtracking", "surrogates"))][:20]
MINIMAL = {
    "alarmName": "{{ labels.alertname }}",
    "alarmLevel": "{{ labels.severity | level }}",
    "nameSpace": "shop",
    "applicationId": "x",
    "alarmDesc": "{{ annotations.summary }}",
}
SLOWEST = 2.0  # seconds an acknowledgement may take on a machine with other load


def mapping() -> str:
    """A rule for each hostile template, run for alerts of one name only, so that the trial on a plain alert passes."""
    rules: list[dict[str, object]] = [
        {
            "name": name,
            "when": f'labels.alertname == "{name}"',
            "alarm": {
                **MINIMAL,
                "resourceName": f"{{% if labels.alertname == '{name}' %}}{HOSTILE[name]}{{% endif %}}",
            },
        }
        for name in TRAPS
    ]
    return yaml.safe_dump({"rules": [*rules, {"name": "rest", "alarm": MINIMAL}]})


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


async def test_a_condition_that_fails_or_is_stopped_lets_no_later_rule_drop_an_alert(tmp_path: Path) -> None:
    """One alert stops the condition. Others of the same kind reach COC too until the condition is tried again."""
    rules = [
        {"name": "stuck", "when": "labels.trap and labels.trap | regex_search('^(a+)+$')", "alarm": MINIMAL},
        {"name": "noise", "drop": True},
    ]
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "a.yaml").write_text(yaml.safe_dump({"rules": rules}))
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port, "mappings: mappings\n")) as service:
        url = f"{service.url}/webhook"
        await post(url, webhook(alert("Dropped")))
        await counted(service.url, 1, "coc_adapter_reports_total", outcome="dropped")
        await post(url, webhook(alert("Hostile", labels={"trap": "a" * 40 + "!"})))
        await coc.received(1)
        await post(url, webhook(alert("Innocent")))
        await coc.received(2)
        for body, name in zip(coc.bodies, ("Hostile", "Innocent"), strict=True):
            assert body["alarmName"] == name
            assert "when: timeout (rule stuck: " in body["additional"]["fallback"]
        await drained(service.url)
        code, explanation, _ = await command(service, "alarms", "explain", "Innocent")
        assert code == 0
        assert (
            "the condition of a rule before it failed (timeout), after which no rule may drop the alert" in explanation
        )
        assert service.log_text.count("a condition failed") == 1, "logged once in five minutes"


async def test_a_rendering_process_killed_while_it_is_idle_is_replaced_without_an_error(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        await asyncio.sleep(LEAST_LIFE)  # one that ends sooner waits for the next call
        (pid,) = workers(service.process.pid)
        os.kill(pid, signal.SIGKILL)
        (new,) = await until(lambda: set(workers(service.process.pid)) - {pid}, "another worker process", 5.0)
        await post(f"{service.url}/webhook", webhook(alert("Replaced")))
        await coc.received(1)
        os.kill(new, signal.SIGKILL)
        await until(lambda: new not in workers(service.process.pid), "the end of the second")
        await post(f"{service.url}/webhook", webhook(alert("Started")))
        await coc.received(2)
        assert all("fallback" not in body["additional"] for body in coc.bodies)
        assert "level=error" not in service.log_text
        assert "traceback" not in service.log_text


async def test_a_preview_changes_nothing_of_what_reaches_coc(tmp_path: Path) -> None:
    trap = "{{ labels.trap | regex_search('^(a+)+$') }}"
    rules = [{"name": "rest", "alarm": {**MINIMAL, "resourceName": trap, "additional": {"n": "{{ labels.n }}"}}}]
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "a.yaml").write_text(yaml.safe_dump({"rules": rules}))
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port, "mappings: mappings\n")) as service:
        url = f"{service.url}/webhook"
        await post(url, webhook(alert("Like", labels={"n": "1", "trap": "aa"})))
        await coc.received(1)
        hostile = webhook(*(alert(f"Typed{n}", labels={"trap": "a" * 40 + "!"}) for n in range(10)))
        status, text = await post(f"{service.admin_url}/api/v1/mappings/render", hostile)
        assert (status, "timeout" in text) == (200, True)
        await post(url, webhook(alert("Like", labels={"n": "2", "trap": "aa"})))
        before, after = await coc.received(2)
        assert before["resourceName"] == after["resourceName"] == "aa"
        assert "fallback" not in after["additional"]
        scrape = await drained(service.url)
        assert values(scrape, "coc_adapter_mapping_fallbacks_total") == 0


async def test_a_long_preview_ends_so_that_a_reload_and_the_end_of_the_service_do_not_wait(tmp_path: Path) -> None:
    """Templates that stay below what puts a rule into quarantine kept both for minutes."""
    slow = "labels.slow and (range(5000) | map('string') | join | length) < {}"
    rules = [{"name": f"slow {n}", "when": slow.format(n), "drop": True} for n in range(20)]
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "a.yaml").write_text(
        yaml.safe_dump({"rules": [*rules, {"name": "all", "alarm": MINIMAL}]})
    )
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port, "mappings: mappings\n")) as service:
        body = webhook(*(alert(f"Typed{n}", labels={"slow": "1"}) for n in range(1000)))
        preview = asyncio.create_task(post(f"{service.admin_url}/api/v1/mappings/render", body))
        await until(lambda: drafts(service.process.pid), "the draft process")
        (tmp_path / "mappings" / "b.yaml").write_text(yaml.safe_dump({"rules": [{"name": "new", "drop": True}]}))
        status, text = await asyncio.wait_for(post(f"{service.admin_url}/-/reload", b""), 20)
        assert status == 200, text
        status, text = await preview
        assert (status, "longer than 5 s" in text) == (503, True), text
        assert await service.terminate(15) == 0
        assert "Traceback" not in service.log_text
