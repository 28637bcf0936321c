"""What the admin API tells of a running adapter: whom to ask, what is not at COC, what a replay would send."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import encode_basic_auth

from tests.server.servers import write_users
from tests.stage import REPOSITORY, alert, fetch, post, sandbox, until, webhook, write_config
from tests.stage import adapter as serving

MAPPING = """\
rules:
  - name: rest
    alarm:
      alarmName: "{{ labels.alertname }}"
      nameSpace: "{{ labels.namespace }}"
      applicationId: APPLICATION
      alarmDesc: "{{ annotations.summary }}"
"""
FIRING = alert("Full", labels={"alertname": "Full", "namespace": "shop"}, fingerprint="00aa")


async def read(url: str, **headers: str) -> tuple[Any, str | None]:
    """The answer, and where the next page begins."""
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json(), answer.headers.get("X-Next-Before")


async def send(url: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url, json=body) as answer:
        return answer.status, await answer.json()


async def test_a_pause_says_who_asked_for_it_and_why_and_a_restart_remembers(tmp_path: Path) -> None:
    users, config = write_users(tmp_path / "web.yml", li="right"), write_config(tmp_path, coc=9)
    login = {"Authorization": encode_basic_auth("li", "right")}
    async with serving(config, f"--web.config.file={users}") as service:
        url = f"{service.admin_url}/api/v1/integrations/default/pause"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "adapter", "integrations", "pause", "default", "--because=db is\nmoving",
            f"--adapter.url={service.admin_url.replace('://', '://li:right@')}", "--output=json",
            cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, env=os.environ,
        )  # fmt: skip
        row = json.loads((await process.communicate())[0])
        assert (row["pause"]["by"], row["pause"]["because"], row["pause"]["reason"]) == (
            "li",
            "db is moving",
            "operator",
        )
        assert (await send(url, {"because": "x" * 501}, **login))[0] == 400
        assert (await send(url, {"why": "x"}, **login))[0] == 400
    async with serving(config, f"--web.config.file={users}") as service:
        (row,), _ = await read(f"{service.admin_url}/api/v1/integrations", **login)
        assert (row["pause"]["by"], row["pause"]["because"]) == ("li", "db is moving")


async def test_a_pause_without_a_body_or_a_login_is_by_the_admin_api(tmp_path: Path) -> None:
    async with serving(write_config(tmp_path, coc=9)) as service:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{service.admin_url}/api/v1/integrations/default/pause") as answer,
        ):
            row = await answer.json()
        assert (row["pause"]["by"], row["pause"]["because"]) == ("admin API", "")


async def test_what_is_not_at_coc_is_found_counted_explained_and_compared_with_a_replay(tmp_path: Path) -> None:
    mappings = tmp_path / "mappings"
    mappings.mkdir()
    (mappings / "10-all.yaml").write_text(MAPPING.replace("APPLICATION", "wrong"))
    async with sandbox() as coc, serving(write_config(tmp_path, coc.port, f"mappings: {mappings}\n")) as service:
        api = f"{service.admin_url}/api/v1"
        await coc.fail({"status": 400, "times": 2})
        assert (await post(f"{service.url}/webhook", webhook(FIRING)))[0] == 200
        (group,) = await until(lambda: _groups(api), "a dead letter")
        assert (group["integration"], group["status"], group["reports"], group["alarms"]) == ("default", 400, 1, 1)

        ((alarm,), following), tallies = await read(f"{api}/alarms?order=recent&mismatch=true"), await _tallies(api)
        assert (alarm["fingerprint"], alarm["coc"], alarm["mismatch"], following) == ("00aa", "none", True, None)
        assert tallies == {"all": 1, "firing": 1, "resolved": 0, "coc_none": 1, "not_at_coc": 1, "open_at_coc": 0,
                           "pending": 0, "fell_back": 1}  # fmt: skip

        trail, _ = await read(f"{api}/alarms/default/00aa")
        (report,) = trail["reports"]
        assert report["alert"] == json.loads(webhook(FIRING))["alerts"][0]
        assert (report["mapping"], report["rule"], report["rule_line"]) == ("10-all.yaml", "rest", 2)
        assert [sentence["text"] for sentence in trail["sentences"]] == trail["explanation"]
        assert trail["sentences"][1]["code"] == "dead"

        (mappings / "10-all.yaml").write_text(MAPPING.replace("APPLICATION", "right"))
        assert (await post(f"{service.admin_url}/-/reload", b""))[0] == 200
        status, (compared,) = await send(f"{api}/dead-letters/preview", {"ids": [report["id"], 10**9]})
        assert status == 200
        assert compared["now"]["body"]["applicationId"] == "right"
        assert compared["sent"] == report["body"]
        assert "applicationId" in compared["changed"]
        assert not {"alarmName", "additional.mappingRevision"} & set(compared["changed"])
        assert (await read(f"{api}/alarms/default/00aa"))[0]["reports"][0]["rule_line"] is None


async def _groups(api: str) -> Any:
    return json.loads(await fetch(f"{api}/dead-letters/groups"))


async def _tallies(api: str) -> dict[str, int]:
    return {name: one["count"] for name, one in json.loads(await fetch(f"{api}/alarms/tallies")).items()}


async def test_pages_of_alarms_reports_and_rejects_are_told_by_a_header(tmp_path: Path) -> None:
    async with serving(write_config(tmp_path, coc=9)) as service:
        api = f"{service.admin_url}/api/v1"
        for number in range(3):
            await post(f"{service.url}/webhook", webhook(alert("Full", fingerprint=f"0{number}")))
            await post(f"{service.url}/webhook", webhook(alert("Full", fingerprint="ff", labels={"n": str(number)})))
            await post(f"{service.url}/webhook", b"[]")
        assert await _all(f"{api}/alarms?order=recent&limit=3", "fingerprint") == ["ff", "02", "01", "00"]
        ids = await _all(f"{api}/rejects?order=recent&integration=default&limit=2", "id")
        assert ids == sorted(ids, reverse=True)
        assert len(ids) == 3
        for wrong in ("order=up", "before=1-1", "order=recent&before=x", "coc=maybe", "pending=1", "mismatch=yes"):
            async with aiohttp.ClientSession() as session, session.get(f"{api}/alarms?{wrong}") as answer:
                assert answer.status == 400, wrong


async def _all(url: str, name: str) -> list[Any]:
    rows, before = await read(url)
    while before:
        more, before = await read(f"{url}&before={quote(before)}")
        rows += more
    return [row[name] for row in rows]


async def test_an_integration_tells_its_last_webhook_its_next_probe_and_what_it_did(tmp_path: Path) -> None:
    async with sandbox() as coc, serving(write_config(tmp_path, coc.port)) as service:
        api = f"{service.admin_url}/api/v1"
        (row,) = json.loads(await fetch(f"{api}/integrations"))
        assert (row["webhooks"], row["next_probe_in_seconds"]) == (None, None)
        await coc.fail({"status": 401})
        await post(f"{service.url}/webhook", webhook(FIRING, {"labels": 1}, truncatedAlerts=2))

        async def probed() -> Any:
            (row,) = json.loads(await fetch(f"{api}/integrations"))
            return row if row["next_probe_in_seconds"] is not None else None

        row = await until(probed, "COC refused the credentials")
        assert 0 < row["next_probe_in_seconds"] <= 60
        met = row["webhooks"]
        assert (met["origin"], met["truncated"], met["rejected"]) == ("http://alertmanager.example:9093", 2, 1)

        status = json.loads(await fetch(f"{api}/status"))
        assert status["started_at"][:16] <= status["mapping"]["serving_since"]

        async def charted() -> Any:
            history = json.loads(await fetch(f"{api}/history"))
            return history if any(history["series"]["default"]["refused"]) else None

        history = await until(charted, "the first step", 40)
        default = history["series"]["default"]
        assert (history["step_seconds"], sum(default["received"]), default["waiting"][-1]) == (10, 1, 1)
        assert default["p95"][-1] is not None
        assert json.loads(await fetch(f"{api}/history?step=300"))["series"]["default"]["received"] == []
        async with aiohttp.ClientSession() as session, session.get(f"{api}/history?step=60") as answer:
            assert answer.status == 400
