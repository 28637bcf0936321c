"""`coc-adapter demo`: the main job on embedded parts. A sandbox COC, the adapter on SQLite, real sample webhooks.

Shows what COC received as a table and, with `once`, whether that is exactly what was due. Without it, what reconciling
does where an Alertmanager is installed, and what is not delivered.
"""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TextIO

import aiohttp

from adapter.app import Options, Service, running
from adapter.cli import forgetful, refusals
from adapter.config import load_config
from adapter.mapping import shipped
from adapter.sandbox.server import Sandbox, serving, until_signal
from adapter.table import table

KEY: Final = "0123456789abcdef0123456789abcdef"
APPLICATIONS: Final = "{shop: Shop Frontend, checkout: Shop / Shop Cart}"  # of the sandbox; by namespace, team or job
STORY: Final = (
    ("single-firing", "a host is down"),
    ("single-firing", "Alertmanager repeats it: no news"),
    ("group3-firing", "a group of three fires"),
    ("group3-mixed", "one of the three is resolved, all three are sent again"),
    ("group3-rest-resolved", "the other two are resolved"),
    ("kube-shop-two-rules", "two alerts of one namespace"),
    ("kube-shop-mixed", "the pod has recovered, the deployment has not"),
    ("kube-node-filesystem", "a disk fills up"),
    ("kube-watchdog", "the watchdog: a rule drops it"),
    ("unicode", "Chinese and emoji"),
    ("long-annotations", "a description longer than COC takes"),
    ("ha-duplicate-a", "one of two Alertmanagers"),
    ("ha-duplicate-b", "the other one says the same: no news"),
    ("single-resolved", "the host is back"),
    ("single-refire", "and down again"),
)
PATIENCE: Final = 30.0  # seconds for everything that is due to arrive

Due = tuple[str, str]  # alarmId, alarmStatus


async def demo(*, once: bool, out: TextIO) -> int:
    """Run the story, print the table; then serve until a signal, or with `once` return 0 or 1."""
    with tempfile.TemporaryDirectory(prefix="coc-adapter-demo-") as name:
        folder, sandbox = Path(name), Sandbox(KEY)
        listen, admin = (0 if once else _free(port) for port in (9876, 9877))
        async with AsyncExitStack() as stack:
            coc_port = await stack.enter_async_context(serving(sandbox, "127.0.0.1", 0 if once else _free(9878)))
            config, url = _CONFIG.format(port=coc_port, key=KEY), ""
            if not once:
                config += refusals.CONFIG.format(port=coc_port)
            program = None if once else forgetful.installed()
            if program:
                listen, url = listen or _any_port(), f"http://127.0.0.1:{_free(9093) or _any_port()}"
                await stack.enter_async_context(forgetful.alertmanager(program, folder, url, listen))
                config += forgetful.CONFIG.format(url=url)
            _write_mappings(folder / "mappings")
            service = await stack.enter_async_context(_adapter(folder / "adapter.yml", config, listen, admin))
            port = service.ports[0]
            print(f"sandbox COC on http://127.0.0.1:{coc_port}, adapter on http://127.0.0.1:{port}\n", file=out)
            await _directory(service)
            difference = await _story(port, sandbox, out)
            if program:
                await forgetful.forget(url, sandbox, out)
            if not once:
                await refusals.refuse(port, coc_port, service.store, out)
                guide = _GUIDE.format(port=port, admin=service.ports[1], coc=coc_port)
                await until_signal(lambda: print(guide, file=out, flush=True))
    return 1 if difference else 0


def _adapter(file: Path, config: str, listen: int, admin: int) -> AbstractAsyncContextManager[Service]:
    file.write_text(config, encoding="utf-8")
    listen_address, admin_address = (f"127.0.0.1:{port}" for port in (listen, admin))
    options = Options(config_file=file, listen_address=listen_address, admin_address=admin_address, log_level="warn")
    return running(load_config(file), options)


async def _story(port: int, sandbox: Sandbox, out: TextIO) -> str:
    """What differs from what was due; empty when nothing does."""
    due = await _post(port, out)
    received = await _received(sandbox, len(due))
    print(f"\nCOC received {len(received)} reports for {len(STORY)} webhooks:\n", file=out)
    print(_table(received), file=out)
    difference = _difference(due, [(item["alarmId"], item["alarmStatus"]) for item in received])
    print(f"\n{difference or 'That is exactly what was due: each piece of news once.'}", file=out)
    return difference


def _write_mappings(folder: Path) -> None:
    """The shipped ones, with the tables of applications filled in by name."""
    folder.mkdir()
    for file in shipped().glob("*.yaml"):
        text = file.read_text(encoding="utf-8").replace("application: {}", f"application: {APPLICATIONS}")
        (folder / file.name).write_text(text, encoding="utf-8")


async def _directory(service: Service) -> None:
    """Wait until the sandbox has listed its applications, so that the table shows ids from the first alarm on."""
    (applications,) = service.applications.values()
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE
    while applications.directory is None and loop.time() < until:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.02)


async def _post(port: int, out: TextIO) -> list[Due]:
    """Post the story's webhooks; what COC is due to receive, in order."""
    due: list[Due] = []
    firing: dict[str, bool] = {}
    async with aiohttp.ClientSession() as session:
        for sample, meaning in STORY:
            body = files("adapter").joinpath("samples", f"{sample}.json").read_bytes()
            async with session.post(f"http://127.0.0.1:{port}/webhook", data=body) as answer:
                print(f"  {answer.status} {sample:22} {meaning}", file=out)
                answer.raise_for_status()
            for alert in json.loads(body)["alerts"]:
                fires, alarm = alert["status"] == "firing", alert["fingerprint"]
                if alert["labels"].get("alertname") != "Watchdog" and firing.get(alarm) is not fires:
                    firing[alarm] = fires
                    due.append((alarm, "alarm" if fires else "ok"))
    return due


async def _received(sandbox: Sandbox, due: int) -> list[dict[str, Any]]:
    """What the sandbox took, once as much as is due is there, or patience is at an end."""
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE
    while sandbox.taken < due and loop.time() < until:  # noqa: ASYNC110 - the sandbox has no event to wait for
        await asyncio.sleep(0.02)
    # As long again as a report takes, so that one too many would be seen.
    await asyncio.sleep(0.5)
    return [alarm.shown()["body"] for alarm in sandbox.since()]


def _difference(due: Sequence[Due], received: Sequence[Due]) -> str:
    """What differs, alarm by alarm, since alarms of their own may overtake each other; empty when nothing does."""
    lines = []
    for alarm in sorted({alarm for alarm, _ in (*due, *received)}):
        wanted = [status for name, status in due if name == alarm]
        got = [status for name, status in received if name == alarm]
        if wanted != got:
            lines.append(f"DIFFERENT {alarm}: due {' '.join(wanted) or '-'}, received {' '.join(got) or '-'}")
    return "\n".join(lines)


_COLUMNS: Final = {
    "alarmStatus": 6, "alarmLevel": 8, "alarmName": 30, "nameSpace": 10, "applicationId": 24, "resourceName": 20,
    "alarmDesc": 33,
}  # fmt: skip


def _table(bodies: Sequence[Mapping[str, Any]]) -> str:
    headings = {name: name.removeprefix("alarm").lower() for name in _COLUMNS}
    rows = [{name: " ".join(str(body.get(name, "")).split()) for name in _COLUMNS} for body in bodies]
    return table(headings, rows, widths=list(_COLUMNS.values()))


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _free(port: int) -> int:
    """The usual port; when that is taken 0, so that the system chooses one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


_CONFIG: Final = """\
store: sqlite:data/adapter.db
mappings: mappings/
integrations:
  default:
    base_url: http://127.0.0.1:{port}
    allow_http: true
    integration_key: "{key}"
    auth: {{type: aksk, access_key: demo, secret_key: demo, project_id: demo}}
"""

_GUIDE: Final = """
It keeps running; Ctrl-C ends it. Send an alert of your own:

  curl -s http://127.0.0.1:{port}/webhook -d '{{"version": "4", "alerts": [{{"status": "firing",
    "labels": {{"alertname": "DiskFull", "severity": "critical", "instance": "db-1:9100", "job": "node"}},
    "annotations": {{"summary": "The disk of db-1 is full"}}, "startsAt": "2026-01-01T00:00:00Z"}}]}}'

Look at it in the console, try a mapping on these alerts:

  http://127.0.0.1:{admin}/ui/

Look at what COC received, and ask why:

  curl -s http://127.0.0.1:{coc}/alarms
  coc-adapter alarms list --adapter.url=http://127.0.0.1:{admin}
  coc-adapter alarms explain DiskFull --adapter.url=http://127.0.0.1:{admin}
  curl -s http://127.0.0.1:{port}/metrics | grep coc_adapter_reports

Point an Alertmanager at it (alertmanager.yml):

  route:
    receiver: coc
    group_by: [alertname, namespace]
  receivers:
    - name: coc
      webhook_configs:
        - url: http://127.0.0.1:{port}/webhook
          send_resolved: true
          max_alerts: 0
"""
