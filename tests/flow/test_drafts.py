"""Drafts in the running service: nothing that a person tries reaches the mapping that serves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flow.test_hostile_mappings import MINIMAL
from tests.flow.test_operator import command
from tests.mapping.builders import drafts
from tests.stage import Adapter, adapter, alert, drained, fetch, post, sandbox, until, values, webhook, write_config

SERVING = {"rules": [{"name": "all", "alarm": {**MINIMAL, "resourceName": "{{ labels.n }}"}}]}
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
HUGE = "{{ range(99999) | map('string') | map('center', 9999) | list | length }}"


def config(folder: Path, coc: int) -> Path:
    (folder / "mappings").mkdir()
    (folder / "mappings" / "a.yaml").write_text(yaml.safe_dump(SERVING))
    return write_config(folder, coc, "mappings: mappings\n")


def draft(**fields: str) -> dict[str, str]:
    """`resourceName`, the first field, stands in line 4."""
    lines = [f"    {name}: {json.dumps(text)}" for name, text in {**fields, **MINIMAL}.items()]
    return {"a.yaml": "\n".join(["rules:", "- name: all", "  alarm:", *lines, ""])}


async def tried(service: Adapter, status: int = 200, **order: Any) -> dict[str, Any]:
    got, text = await post(f"{service.admin_url}/api/v1/mappings/try", json.dumps(order).encode())
    assert got == status, text
    answer: dict[str, Any] = json.loads(text)
    return answer


def body(*names: str, **labels: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(webhook(*(alert(name, labels=labels) for name in names)))
    return parsed


async def test_a_draft_is_compared_with_what_serves(tmp_path: Path) -> None:
    async with adapter(config(tmp_path, 9)) as service:
        order = {"files": draft(resourceName="new"), "alerts": {"body": body("A", n="1")}, "base": "b", "seq": 7}
        answer = await tried(service, **order)
        (row,) = answer["results"]
        assert (answer["base"], answer["seq"], answer["superseded"]) == ("b", 7, False)
        assert answer["revision"] != answer["serving"]
        assert (row["id"], row["integration"], row["late"]) == (None, "default", False)
        assert (row["serving"]["body"]["resourceName"], row["draft"]["body"]["resourceName"]) == ("1", "new")
        assert row["changed"] == ["resourceName", "additional.n"], "a label that no field carries goes along"
        assert row["tried"] == [
            {"rule": "all", "file": "a.yaml", "line": 2, "taken": True,
             "because": {"code": "always", "args": {}, "text": "it has no condition"}},
        ]  # fmt: skip
        assert answer["hits"] == {"all": 1}
        unchanged = await tried(service, alerts={"body": body("A")})
        assert unchanged["revision"] == unchanged["serving"]
        assert [row["changed"] for row in unchanged["results"]] == [[]]


@pytest.mark.parametrize(("trap", "reason"), [(ENDLESS, "stopped after 1 s"), (HUGE, "memory")])
async def test_a_draft_that_loops_or_takes_all_memory_is_named_and_moves_nothing_that_serves(
    tmp_path: Path, trap: str, reason: str
) -> None:
    async with sandbox() as coc, adapter(config(tmp_path, coc.port)) as service:
        await post(f"{service.url}/webhook", webhook(alert("Before", labels={"n": "1"})))
        await coc.received(1)
        answer = await tried(service, files=draft(resourceName=trap), alerts={"body": body("Typed", n="1")})
        named = [finding for finding in answer["findings"] if finding["severity"] == "error"]
        assert [(finding["file"], finding["line"]) for finding in named] == [("a.yaml", 4)], answer["findings"]
        assert reason in named[0]["message"]
        assert "resourceName of rule 'all'" in named[0]["message"]
        (row,) = answer["results"]
        assert row["serving"]["fallbacks"] == []
        assert "resourceName" in [fallback["field"] for fallback in row["draft"]["fallbacks"]]
        await post(f"{service.url}/webhook", webhook(alert("After", labels={"n": "2"})))
        reported = await coc.received(2)
        assert all("fallback" not in one["additional"] for one in reported)
        assert values(await drained(service.url), "coc_adapter_mapping_fallbacks_total") == 0
        assert "Traceback" not in service.log_text
        assert "level=warn" not in service.log_text.replace("memory: nothing survives", "")


async def test_a_draft_process_that_is_killed_is_started_anew(tmp_path: Path) -> None:
    async with adapter(config(tmp_path, 9)) as service:
        await tried(service, alerts={"body": body("A")})
        (pid,) = drafts(service.process.pid)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not drafts(service.process.pid), "the end of the draft process")
        answer = await tried(service, files=draft(), alerts={"body": body("A")})
        assert [row["draft"]["rule"] for row in answer["results"]] == ["all"]


async def test_a_draft_has_its_bounds(tmp_path: Path) -> None:
    async with adapter(config(tmp_path, 9)) as service:
        large = {"b.yaml": "#" * 300 * 1024, "c.yaml": "#" * 300 * 1024}
        assert "512 KiB" in (await tried(service, 413, files=large))["error"]
        assert "512 KiB" in (await tried(service, 413, tests=large))["error"]
        many = body(*(f"A{number}" for number in range(1001)))
        assert "at most 1000 alerts" in (await tried(service, 400, alerts={"body": many}))["error"]
        assert "at most 1000 alerts" in (await tried(service, 400, alerts={"recent": 1001}))["error"]
        assert "at most 1000 alerts" in (await tried(service, 400, alerts={"ids": list(range(1, 1002))}))["error"]
        assert "name one of" in (await tried(service, 400, alerts={"recent": 1, "ids": [1]}))["error"]
        assert "not JSON" in (await tried(service, 400, alerts={"body": "{"}))["error"]
        assert "integration" in (await tried(service, 404, alerts={"body": many}, integration="nobody"))["error"]
        await tried(service, 400, file={})
        await tried(service, 400, files={"a.yaml": 1})
        answer = await tried(service, alerts={"body": {"alerts": [{"labels": {"a": []}}]}})
        assert [finding["message"] for finding in answer["findings"]] == [
            "an alert of the body cannot be used: label 'a' is a list, not text",
        ]


async def test_of_one_client_the_latest_draft_wins_and_the_others_wait_or_hear_that_it_is_busy(tmp_path: Path) -> None:
    async with adapter(config(tmp_path, 9)) as service:
        loop = {"files": draft(resourceName=ENDLESS), "alerts": {"body": body("A")}}
        await tried(service)
        first = asyncio.create_task(tried(service, **loop, client="c", seq=1))
        await until(lambda: busy(service), "a template that runs")
        older = asyncio.create_task(tried(service, client="c", seq=2))
        await asyncio.sleep(0.2)
        latest = asyncio.create_task(tried(service, client="c", seq=3))
        assert (await older)["superseded"], "at once, while the first one still runs"
        assert (await latest)["superseded"] is False
        ended = await first
        assert (ended["superseded"], ended["results"], ended["revision"]) == (True, [], None)
        assert (await tried(service, client="c", seq=2))["superseded"]
        url = f"{service.admin_url}/api/v1/mappings/try"
        crowd = [post(url, json.dumps({**loop, "client": str(number)}).encode()) for number in range(7)]
        answers = await asyncio.gather(*crowd)
        assert sorted({status for status, _ in answers}) == [200, 503]
        assert [text for status, text in answers if status == 503] == [
            '{"error":"Too many wait for the draft process."}'
        ] * 2


def busy(service: Adapter) -> bool:
    """Whether the draft process has used CPU time for a while."""
    pids = drafts(service.process.pid)
    if not pids:
        return False
    stat = (Path("/proc") / str(pids[0]) / "stat").read_text().rpartition(")")[2].split()
    return stat[0] == "R" and int(stat[11]) > 50


async def test_alerts_that_came_are_listed_and_tried_by_their_ids(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(config(tmp_path, coc.port)) as service:
        await post(f"{service.url}/webhook", webhook(*(alert(name, labels={"n": f"n-{name}"}) for name in "ABC")))
        await post(f"{service.url}/webhook", webhook(alert("A", "resolved", labels={"n": "n-A"})))
        await coc.received(4)
        await drained(service.url)
        listed = json.loads(await fetch(f"{service.admin_url}/api/v1/alerts/recent?limit=2&rule=all"))
        assert len(listed) == 2
        rows = json.loads(await fetch(f"{service.admin_url}/api/v1/alerts/recent"))
        assert {row["alert"]["labels"]["alertname"]: row["status"] for row in rows} == {
            "A": "resolved", "B": "firing", "C": "firing",
        }  # fmt: skip
        (a,) = [row for row in rows if row["status"] == "resolved"]
        assert (a["integration"], a["rule"], a["fell_back"]) == ("default", "all", False)
        assert a["alert"]["labels"]["n"] == "n-A"
        assert a["received_at"].endswith("Z")
        for query, names in (("status=firing", "BC"), ("text=N-b", "B"), ("rule=-", ""), ("fell_back=true", "")):
            found = json.loads(await fetch(f"{service.admin_url}/api/v1/alerts/recent?{query}"))
            assert sorted(row["alert"]["labels"]["alertname"] for row in found) == list(names), query
        answer = await tried(service, files=draft(resourceName="new"), alerts={"ids": [a["id"], 999]})
        assert [row["id"] for row in answer["results"]] == [a["id"]]
        assert answer["results"][0]["serving"]["body"]["alarmStatus"] == "ok"
        assert len((await tried(service, alerts={"recent": 2}))["results"]) == 2


async def test_the_files_in_force_are_given_with_their_rules_tests_and_findings(tmp_path: Path) -> None:
    file = config(tmp_path, 9)
    tests = tmp_path / "mappings" / "tests"
    (tests / "payloads").mkdir(parents=True)
    (tests / "one.yaml").write_text("tests: []")
    (tests / "payloads" / "shop.json").write_text("{}")
    (tests / ".hidden.yaml").write_text("no")
    (tests / "binary.json").write_bytes(b"\xff\xfe")
    async with adapter(file) as service:
        answer = json.loads(await fetch(f"{service.admin_url}/api/v1/mappings"))
        assert answer["files"] == {"a.yaml": (tmp_path / "mappings" / "a.yaml").read_text()}
        assert answer["tests"] == {"one.yaml": "tests: []", "payloads/shop.json": "{}"}
        assert answer["rules"] == [{"name": "all", "file": "a.yaml", "line": 9, "drop": False}]
        assert answer["findings"] == []
        (tmp_path / "mappings" / "a.yaml").write_text("rules:\n- name: all\n  alarm:\n    URL: '{{ nothing }}'\n")
        assert (await post(f"{service.admin_url}/-/reload", b""))[0] == 422
        refused = json.loads(await fetch(f"{service.admin_url}/api/v1/mappings"))
        assert (refused["files"], refused["revision"]) == (answer["files"], answer["revision"])
        assert ("a.yaml", 4, 14, "error") in [
            (one["file"], one["line"], one["column"], one["severity"]) for one in refused["findings"]
        ]


async def test_diff_asks_the_running_adapter_about_what_came_last(tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    rules = [
        {"name": "quiet", "when": 'labels.alertname == "B"', "drop": True},
        {"name": "all", "alarm": {**MINIMAL, "nameSpace": "elsewhere", "resourceName": "{{ labels.n }}"}},
    ]
    (new / "0.yaml").write_text(yaml.safe_dump({"rules": rules}))
    async with sandbox() as coc, adapter(config(tmp_path, coc.port)) as service:
        await post(f"{service.url}/webhook", webhook(*(alert(name) for name in "ABC")))
        await coc.received(3)
        await drained(service.url)
        code, out, _ = await command(service, "diff", f"--mappings={new}", "--recent=100")
        assert code == 1
        heads = [line for line in out.splitlines() if line.startswith("default: ")]
        assert [head.split()[1] for head in heads] == ["B", "C", "A"]
        assert heads[0].endswith("firing, no longer reported")
        assert "  nameSpace: 'shop' -> 'elsewhere'" in out
        assert out.splitlines()[-1].startswith("3 of 3 alarms differ, ")
        same = tmp_path / "mappings"
        assert await command(service, "diff", f"--mappings={same}", "--recent=100") == (
            0, "0 of 3 alarms differ, 0 fields\n", "",
        )  # fmt: skip
        (new / "0.yaml").write_text("rules:\n- name: all\n  alarm: {URL: '{{ nothing }}'}\n")
        code, out, _ = await command(service, "diff", f"--mappings={new}", "--recent=100")
        assert code == 1
        assert f"{new}/0.yaml:3:20: unknown name 'nothing'" in out
        for flags in (("--recent=1001",), ("--recent=0",), ("--recent=5", "--against=x"), ("--recent=5", "a.json")):
            code, out, errors = await command(service, "diff", f"--mappings={same}", *flags)
            assert (code, out) == (2, ""), flags
            assert "error: --recent" in errors
        nobody = "http://127.0.0.1:9"
        code, out, errors = await command(service, "diff", f"--mappings={same}", "--recent=5", url=nobody)
        assert (code, out) == (2, "")
        assert "no adapter answers" in errors


async def test_the_language_is_listed_from_the_code(tmp_path: Path) -> None:
    async with adapter(config(tmp_path, 9)) as service:
        language = json.loads(await fetch(f"{service.admin_url}/api/v1/mappings/language"))
    assert {one["name"] for one in language["names"]} >= {"labels", "alert.startsAt", "group.receiver", "lookup"}
    filters = {one["name"]: one["signature"] for one in language["filters"]}
    assert list(filters)[:2] == ["level", "clip"], "ours come first"
    assert filters["localtime"] == "localtime(zone='Asia/Shanghai', format='%Y-%m-%d %H:%M:%S')"
    assert filters["replace"] == "replace(old, new, count=None)"
    fields = {one["name"]: one for one in language["fields"]}
    assert (fields["alarmName"]["required"], fields["alarmName"]["max"]) == (True, 255)
    assert fields["alarmLevel"]["values"] == ["Critical", "Major", "Minor", "Info"]
    assert "alarmId" not in fields
    assert fields["additional"]["max"] is None
    assert all(one["help"] for part in language.values() for one in part)
