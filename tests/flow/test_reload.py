"""Broken mappings of a running service: said everywhere, in force nowhere, and mended without a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp

from tests.stage import Adapter, adapter, alert, fetch, post, sandbox, values, webhook, write_config

SAYS = "unknown name 'lables'"


def mapping(level: str) -> str:
    return f"""
rules:
  - name: all
    alarm:
      {{alarmName: "{{{{ labels.alertname }}}}", alarmLevel: {level}, nameSpace: n, applicationId: a, alarmDesc: d}}
"""


BROKEN = mapping("Info").replace("labels", "lables")


async def reload(service: Adapter) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.post(f"{service.admin_url}/-/reload") as answer:
        return answer.status, await answer.text()


async def said(service: Adapter) -> tuple[list[str], float]:
    """The findings of the status, and the metric of the last reload."""
    status: dict[str, Any] = json.loads(await fetch(f"{service.admin_url}/api/v1/status"))
    scrape = await fetch(f"{service.url}/metrics")
    messages = [finding["message"] for finding in status["mapping"]["findings"]]
    return messages, values(scrape, "coc_adapter_config_last_reload_successful")


async def test_broken_mappings_are_refused_until_they_are_mended(tmp_path: Path) -> None:
    folder = tmp_path / "mappings"
    folder.mkdir()
    (folder / "a.yaml").write_text(BROKEN)
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port, "mappings: mappings\n")) as service:
        assert "mapping refused, the shipped ones serve instead" in service.log_text
        assert await said(service) == ([SAYS], 0)
        await post(f"{service.url}/webhook", webhook(alert("First")))
        (first,) = await coc.received(1)
        assert first["additional"]["mapping"] == "30-kubernetes.yaml"

        (folder / "a.yaml").write_text(mapping("Info"))
        assert (await reload(service))[0] == 200
        assert await said(service) == ([], 1)

        (folder / "a.yaml").write_text(BROKEN)
        status, text = await reload(service)
        assert (status, SAYS in text) == (422, True)
        assert await said(service) == ([SAYS], 0)
        await post(f"{service.url}/webhook", webhook(alert("Second")))
        second = (await coc.received(2))[1]
        assert (second["alarmLevel"], second["additional"]["mapping"]) == ("Info", "a.yaml")
