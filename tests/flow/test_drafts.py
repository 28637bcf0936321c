"""Drafts in the running service: nothing that a person tries reaches the mapping that serves."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flow.test_hostile_mappings import MINIMAL
from tests.mapping.builders import drafts
from tests.stage import Adapter, adapter, alert, drained, post, sandbox, until, values, webhook, write_config

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
