"""The real service under attack: only the answers that are documented, no bug, bounded memory, honest senders served.

The long form (`make faults`) sets ATTACK_SCALE; 500 sends a million mutated bodies.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from tests.flow.attacks import (
    ALLOWED,
    Statuses,
    chunk_storm,
    gzip_bomb,
    long_matchers,
    peak_memory,
    pipelined_garbage,
    slow_sockets,
)
from tests.flow.honest import HonestTraffic, honest_traffic
from tests.flow.mutants import mutated_bodies
from tests.stage import Adapter, adapter, alert, fetch, post, sandbox, until, values, webhook, write_config

SCALE = float(os.environ.get("ATTACK_SCALE", "1"))
MIB = 1024 * 1024
GROWTH = 160 * MIB  # a 16 MiB body may be held a few times over, and the heap keeps some of it

Attack = Callable[[Adapter], Coroutine[None, None, Statuses]]

ATTACKS: dict[str, Attack] = {
    "500 slow sockets": lambda service: slow_sockets(service.port, 500, 8.0 * min(SCALE, 8)),
    "more slow sockets than places": lambda service: slow_sockets(service.port, 500, 8.0 * min(SCALE, 8)),
    "gzip bomb": lambda service: gzip_bomb(service.port, 200),
    "chunk storm": lambda service: chunk_storm(service.port, 100_000),
    "pipelined garbage": lambda service: pipelined_garbage(service.port, int(200 * SCALE), seed=6),
    "long matchers": lambda service: long_matchers(service.admin, int(100 * SCALE)),
    "mutated bodies": lambda service: mutated_bodies(service.url, int(2_000 * SCALE), seed=6),
}
EXPECTED = {
    "500 slow sockets": {0},
    "more slow sockets than places": {0},
    "gzip bomb": {413},
    "chunk storm": {503},
    "pipelined garbage": {200, 400, 405},
    "long matchers": {400},
    "mutated bodies": {200, 400},
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_under_attack(name: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    places = 400 if "than places" in name else 2048
    more = f"webhook: {{header_timeout: 3s, body_timeout: 3s, max_connections: {places}}}\n"
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port, more)) as service:
        async with honest_traffic(service.port) as quiet:
            await asyncio.sleep(2)
        before = peak_memory(service.process.pid)
        async with honest_traffic(service.port) as good:
            statuses = await asyncio.wait_for(ATTACKS[name](service), 200 * max(1.0, SCALE))
            await asyncio.sleep(0.5)
        grown = peak_memory(service.process.pid) - before
        report = f"{name}: {dict(statuses)}, {shown(quiet, good)}, +{grown / MIB:.0f} MiB"
        record_property("attack", report)
        print(report)
        assert set(statuses) <= ALLOWED, report
        assert set(statuses) & EXPECTED[name], report
        assert set(good.statuses) == {200}, report
        assert good.quantile(0.99) < 5.0, report
        assert grown < GROWTH, report
        assert "bug in the adapter" not in service.log_text
        assert "Traceback" not in service.log_text
        assert await fetch(f"{service.url}/-/healthy") == "healthy\n"
        assert await service.terminate() == 0


@pytest.mark.parametrize("page", ["<" * 65536, "<script>" * 8192, "</script" * 8192, "&lt;" * 16384])
async def test_an_answer_of_coc_full_of_tags_holds_nobody_up(page: str, tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        await coc.fail({"status": 400, "body": page})
        async with honest_traffic(service.port) as good:
            assert (await post(f"{service.url}/webhook", webhook(*(alert(f"Bad{n}") for n in range(40)))))[0] == 200
            await until(lambda: "integration paused" in service.log_text, "answers that lead to a pause", 200)
        assert set(good.statuses) == {200}
        assert good.quantile(1.0) < 5.0
        assert await service.terminate() == 0


def shown(quiet: HonestTraffic, good: HonestTraffic) -> str:
    low, high = quiet.quantile(0.99) * 1000, good.quantile(0.99) * 1000
    sent = f"{sum(good.statuses.values())} sent, {good.resent} resent"
    return f"honest p99 {low:.1f} ms quiet, {high:.1f} ms under attack (x{high / low:.1f}), {sent}"


ODD_VALUES = (
    None, True, 5, 10**400, 1e308, "", "x" * 100_000, [], {}, {"a": 10**400}, {"a\x00": "\ud800"}, "\x00", "\u202e",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "99999-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "-1",
    "../../etc/passwd", "{{ labels }}", "a\r\nX-Injected: 1", "'; drop table report; --",
)  # fmt: skip
ALERT_FIELDS = ("status", "labels", "annotations", "startsAt", "endsAt", "fingerprint", "generatorURL", "unknown")
TOP_FIELDS = ("version", "status", "receiver", "groupLabels", "commonLabels", "groupKey", "externalURL",
              "truncatedAlerts", "alerts")  # fmt: skip


async def test_an_odd_value_in_any_field_is_answered_and_never_a_bug(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        number = 0
        for value in ODD_VALUES:
            for field in (*TOP_FIELDS, *(f"alert.{name}" for name in ALERT_FIELDS)):
                number += 1
                one = alert(f"Odd{number}")
                top = {}
                if field.startswith("alert."):
                    one[field.removeprefix("alert.")] = value
                else:
                    top = {field: value}
                status, answer = await post(f"{service.url}/webhook", webhook(one, **top))
                expected = 400 if field == "alerts" and value != [] else 200
                assert status == expected, (field, value, answer)
        await until(lambda: "Odd" in str(coc.bodies), "an alarm at COC")
        scrape = await fetch(f"{service.url}/metrics")
        assert values(scrape, "coc_adapter_truncated_alerts_total") == 5
        assert "bug in the adapter" not in service.log_text
        assert "Traceback" not in service.log_text
        assert await service.terminate() == 0


async def test_alert_text_is_never_a_template_and_never_breaks_the_body(tmp_path: Path) -> None:
    text = 'x{{7*7}}x {% set a=1 %} {{ integration }} "}],"alarmStatus":"ok" \\ \r\n'
    hostile = alert("Template", labels={"namespace": text, "pod": text, text: text})
    hostile["annotations"] = {"summary": text, "description": text, "runbook_url": text}
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        assert (await post(f"{service.url}/webhook", webhook(hostile)))[0] == 200
        (body,) = await coc.received(1)
        assert body["alarmStatus"] == "alarm"
        assert text.strip() in body["alarmDesc"]
        assert "x49x" not in str(body)
