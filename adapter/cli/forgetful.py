"""The end of the demo, where an Alertmanager is installed: it throws a resolve away, and reconciling finds that."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TextIO

import aiohttp

from adapter.alertmanager import fingerprint_of
from adapter.errors import AdapterError
from adapter.sandbox.server import Sandbox

PROGRAMS: Final = ("prometheus-alertmanager", "alertmanager")
PATIENCE: Final = 30.0  # seconds for each step
LABELS: Final = {"alertname": "DatabaseMoves", "severity": "warning", "namespace": "shop"}

CONFIG: Final = """\
reconcile:
  mode: close
  interval: 1s
  absent_polls: 3
  grace: 2s
  settle: 0s
  alertmanagers:
    - {{name: demo, members: ["{url}"]}}
"""
_ALERTMANAGER: Final = """\
route: {{receiver: coc, group_wait: 100ms, group_interval: 1s}}
receivers:
  - name: coc
    webhook_configs: [{{url: "http://127.0.0.1:{port}/webhook"}}]
"""


def installed() -> str | None:
    """The path of an Alertmanager."""
    return next((path for path in map(shutil.which, PROGRAMS) if path), None)


async def forget(url: str, sandbox: Sandbox, out: TextIO) -> None:
    """At the Alertmanager at `url` an alert fires, is silenced, and ends meanwhile."""
    async with aiohttp.ClientSession() as session:
        print("\nAlertmanager sends no resolve of a silenced alert. It is asked what is true:\n", file=out)
        await _post(session, f"{url}/api/v2/alerts", [_alert(ended=False)])
        await _told(sandbox, "alarm", out, "the alert fires: COC has the alarm")
        matcher = {"name": "alertname", "value": LABELS["alertname"], "isRegex": False}
        now = datetime.now(UTC)
        silence = {"matchers": [matcher], "startsAt": now, "endsAt": now + timedelta(hours=1)}
        await _post(session, f"{url}/api/v2/silences", silence | {"createdBy": "demo", "comment": "the database moves"})
        await _post(session, f"{url}/api/v2/alerts", [_alert(ended=True)])
        print("  it is silenced and ends: Alertmanager sends nothing", file=out, flush=True)
        await _told(sandbox, "ok", out, "three polls lacked it: closed by reconciling, COC has the ok")


async def _told(sandbox: Sandbox, status: str, out: TextIO, text: str) -> None:
    wanted = {"alarmId": fingerprint_of(LABELS), "alarmStatus": status}
    for _ in range(int(PATIENCE / 0.1)):
        if any(wanted.items() <= alarm.shown()["body"].items() for alarm in sandbox.since()):
            print(f"  {text}", file=out, flush=True)
            return
        await asyncio.sleep(0.1)
    print(f"  not within {PATIENCE:.0f} s: {text}", file=out)


def _alert(*, ended: bool) -> dict[str, Any]:
    now = datetime.now(UTC)
    end = now - timedelta(seconds=1) if ended else now + timedelta(hours=1)
    text = {"summary": "The database is moved to another host"}
    return {"labels": LABELS, "annotations": text, "startsAt": now - timedelta(minutes=1), "endsAt": end}


async def _post(session: aiohttp.ClientSession, url: str, body: object) -> None:
    text = json.dumps(body, default=datetime.isoformat)
    async with session.post(url, data=text, headers={"Content-Type": "application/json"}) as answer:
        answer.raise_for_status()


async def _ready(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(int(PATIENCE / 0.1)):
            with suppress(aiohttp.ClientError):
                async with session.get(f"{url}/-/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
    raise AdapterError("the Alertmanager that is installed here did not start")


@asynccontextmanager
async def alertmanager(program: str, folder: Path, url: str, port: int) -> AsyncIterator[None]:
    """Run one at `url` that sends to the adapter's `port`."""
    config = folder / "alertmanager.yml"
    config.write_text(_ALERTMANAGER.format(port=port), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        f"--web.external-url={url}",
        "--cluster.listen-address=",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _ready(url)
        yield
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
