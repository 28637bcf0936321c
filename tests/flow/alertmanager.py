"""Debian's real Alertmanager on loopback, with intervals of about a second."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from tests.needs import needs
from tests.stage import until

CONFIG = """\
route:
  receiver: coc
  group_by: [namespace]
  group_wait: 1s
  group_interval: 2s
  repeat_interval: 4s
receivers:
  - name: coc
    webhook_configs:
      - url: {url}
        send_resolved: true
        max_alerts: 0
{http_config}
"""


class Alertmanager:
    """One that runs; `log` is what it says."""

    def __init__(self, port: int, log: Path) -> None:
        self.port, self._log = port, log
        self._since = datetime.now(UTC) - timedelta(minutes=1)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    async def post(self, labels: Mapping[str, str], *, resolved: bool = False, **annotations: str) -> None:
        """Tell it of one alert, as Prometheus does."""
        now = datetime.now(UTC)
        ends = now - timedelta(milliseconds=1) if resolved else now + timedelta(minutes=5)
        alert: dict[str, Any] = {
            "labels": dict(labels),
            "annotations": annotations,
            "startsAt": self._since.isoformat(),
            "endsAt": ends.isoformat(),
        }
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{self.port}/api/v2/alerts"
            async with session.post(url, json=[alert]) as answer:
                assert answer.status == 200, await answer.text()


@asynccontextmanager
async def alertmanager(folder: Path, url: str, http_config: str = "") -> AsyncIterator[Alertmanager]:
    """Started with one receiver that posts to `url`; `http_config` is YAML below webhook_configs' entry."""
    program = needs("prometheus-alertmanager")
    config, log = folder / "alertmanager.yml", folder / "alertmanager.log"
    config.write_text(CONFIG.format(url=url, http_config=http_config))
    command = [
        program,
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager'}",
        "--web.listen-address=127.0.0.1:0",
        "--cluster.listen-address=",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=folder)
    try:

        def port() -> int:
            assert process.poll() is None, log.read_text()
            found = re.findall(r'Listening on" address=127\.0\.0\.1:(\d+)', log.read_text())
            return int(found[0]) if found else 0

        yield Alertmanager(await until(port, "Alertmanager listening"), log)
    finally:
        process.terminate()
        process.wait(10)
