"""relay.additional_labels and the count of unknown severity words, in a running service."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stage import adapter, alert, counted, post, sandbox, webhook, write_config


@pytest.mark.parametrize("labels", [True, False])
async def test_labels_go_along_unless_switched_off_and_unknown_words_are_counted(labels: bool, tmp_path: Path) -> None:
    async with sandbox() as coc:
        config = write_config(tmp_path, coc.port, f"relay: {{additional_labels: {str(labels).lower()}}}\n")
        async with adapter(config) as service:
            given = {"severity": "whatever", "zone": "a"}
            for name, severity in (("Unknown", given), ("Known", given | {"severity": "page"})):
                plain = alert(name)
                await post(f"{service.url}/webhook", webhook(plain | {"labels": plain["labels"] | severity}))
            bodies = {body["alarmName"]: body["additional"] for body in await coc.received(2)}
            assert [additional.get("zone") for additional in bodies.values()] == ["a" if labels else None] * 2
            assert bodies["Unknown"]["severity"] == "whatever"
            assert "severity" not in bodies["Known"]
            assert await counted(service.url, 1, "coc_adapter_severity_unknown_total") == 1
