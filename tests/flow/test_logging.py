"""The log of a running service: one line per event, no forged lines, levels that follow adapter.yml on SIGHUP."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from tests.stage import KEY, adapter, alert, post, sandbox, until, webhook, write_config

HOSTILE = "x\nts=2026-01-01T00:00:00Z level=error msg=forged\r\x1b[2K\u202e\u2028y"


async def test_levels_follow_the_file_on_sighup(tmp_path: Path) -> None:
    async with sandbox() as coc:
        config = write_config(tmp_path, coc.port)
        async with adapter(config) as service:
            await post(f"{service.url}/webhook", webhook(alert("Quiet")))
            await coc.received(1)
            assert "level=debug" not in service.log_text
            config.write_text(config.read_text() + "log: {level: debug}\n")
            service.process.send_signal(signal.SIGHUP)
            await until(lambda: "msg=reloaded" in service.log_text, "the reload")
            await post(f"{service.url}/webhook", webhook(alert("Loud")))
            await until(
                lambda: "level=debug component=intake.accept msg=webhook" in service.log_text, "a line per webhook"
            )
            assert service.log_text.count("level=debug component=intake.accept msg=webhook") == 1


@pytest.mark.parametrize("format", ["logfmt", "json"])
async def test_no_text_in_an_alert_breaks_or_forges_a_log_line(format: str, tmp_path: Path) -> None:
    one = alert(HOSTILE, labels={"namespace": HOSTILE, HOSTILE: HOSTILE})
    one["annotations"] = {"summary": HOSTILE}
    bad = alert("Bad") | {"labels": {"alertname": 5, HOSTILE: HOSTILE}, "fingerprint": HOSTILE}
    async with sandbox() as coc:
        await coc.fail({"status": 400, "body": HOSTILE, "times": 1})
        config = write_config(tmp_path, coc.port)
        async with adapter(config, "--log.level=debug", f"--log.format={format}") as service:
            url = f"{service.url}/webhook"
            await post(url, webhook(one, bad, receiver=HOSTILE))
            await post(f"{url}/%0d%0aforged", webhook(one))
            await post(url, b"not JSON\nforged")
            await coc.received(1)
            assert await service.terminate() == 0
        check(service.log_text.splitlines(keepends=True), format)
        assert KEY not in service.log_text


def check(lines: list[str], format: str) -> None:
    assert len(lines) > 5
    for line in lines:
        assert line.endswith("\n")
        assert line[:-1].isprintable(), line
        if format == "json":
            assert {"ts", "level", "component", "msg"} <= json.loads(line).keys()
        else:
            assert re.match(r"ts=\S+ level=(debug|info|warn|error) component=[\w.]+ msg=", line), line
        assert not line.startswith(("ts=2026-01-01T00:00:00Z", "forged"))
