"""Whole-process tests: a sandbox COC inside the test, the adapter as a subprocess, and calls to both."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from adapter.sandbox.server import Sandbox, serving

KEY = "0123456789abcdef0123456789abcdef"
PATIENCE = 30.0
REPOSITORY = Path(__file__).resolve().parent.parent
# Lines of the log in either format.
_READY = re.compile(r'\bmsg=ready\b|"msg":"ready"')
_LISTENING = re.compile(r'msg(?:=|":")listening\b.*?\bport"?[=:](\d+)')

CONFIG = """\
store: sqlite:data/adapter.db
integrations:
  default:
    base_url: http://127.0.0.1:{coc}
    allow_http: true
    integration_key: "{key}"
    timeout: 5s
{more}
"""


def sample(name: str) -> bytes:
    """A real Alertmanager body that ships with the package."""
    return files("adapter").joinpath("samples", f"{name}.json").read_bytes()


def webhook(*alerts: Mapping[str, Any], **top: Any) -> bytes:
    """A webhook body of version 4 with these alerts."""
    body = {"version": "4", "status": "firing", "receiver": "coc", "alerts": list(alerts), "truncatedAlerts": 0}
    return json.dumps(body | {"groupKey": "{}:{}", "externalURL": "http://alertmanager.example:9093"} | top).encode()


def alert(name: str, status: str = "firing", **changes: Any) -> dict[str, Any]:
    """One alert as Alertmanager sends it, without a fingerprint."""
    fields = {
        "status": status,
        "labels": {"alertname": name, "severity": "warning", "namespace": "shop", **changes.pop("labels", {})},
        "annotations": {"summary": f"{name} happened"},
        "startsAt": "2026-11-23T15:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-11-23T16:00:00Z",
        "generatorURL": "http://prometheus.example/graph",
    }
    return fields | changes


def free_port() -> int:
    """A port that was free a moment ago, for programs that cannot choose one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until the condition, which may be a coroutine function, returns a true value, and return that."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.02)


class Coc:
    """The running sandbox: what it received, and the faults it plays."""

    def __init__(self, sandbox: Sandbox, port: int, session: aiohttp.ClientSession) -> None:
        self.stand_in, self.port, self._session = sandbox, port, session

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Every accepted alarm, in order of arrival."""
        return self.after(0)

    @property
    def count(self) -> int:
        """How many alarms were accepted; reads none of them."""
        return self.stand_in.taken

    def after(self, count: int) -> list[dict[str, Any]]:
        """The alarms after the first `count`; reads no others."""
        return [alarm.shown()["body"] for alarm in self.stand_in.since(count)]

    def states(self, alarm_id: str) -> list[str]:
        return [body["alarmStatus"] for body in self.bodies if body["alarmId"] == alarm_id]

    async def fail(self, *faults: Mapping[str, Any]) -> None:
        """Answer by these fault rules from now on; without rules, answer normally."""
        async with self._session.put(f"http://127.0.0.1:{self.port}/faults", json=list(faults)) as answer:
            assert answer.status == 200, await answer.text()

    async def received(self, count: int, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        await until(lambda: len(self.bodies) >= count, f"{count} alarms at COC, there are {len(self.bodies)}", seconds)
        return self.bodies


@asynccontextmanager
async def sandbox(port: int = 0, key: str = KEY) -> AsyncIterator[Coc]:
    """A sandbox COC on loopback inside this process."""
    stand_in = Sandbox(key)
    async with aiohttp.ClientSession() as session, serving(stand_in, "127.0.0.1", port) as chosen:
        yield Coc(stand_in, chosen, session)


class Adapter:
    """`coc-adapter serve` as a subprocess. The system chooses the ports; they are read from the log."""

    def __init__(self, config_file: Path, flags: Iterable[str] = (), *, under: Iterable[str] = ()) -> None:
        """`under`: a command that runs the one that follows it."""
        self.folder = config_file.parent
        self.log = self.folder / f"adapter-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "adapter", "serve", f"--config.file={config_file}"]
        arguments = list(flags)
        for flag in ("--web.listen-address", "--web.admin-address"):
            if not any(item.startswith(flag) for item in arguments):
                arguments.append(f"{flag}=127.0.0.1:0")
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [*under, *command, *arguments], cwd=REPOSITORY, env=environment, stdout=out, stderr=subprocess.STDOUT
            )
        self.port = self.admin = 0

    async def ready(self) -> Adapter:
        await until(
            lambda: _READY.search(self.log_text) or self.process.poll() is not None, f"ready: {self.log_text}", PATIENCE
        )
        assert self.process.poll() is None, self.log_text
        ports = _LISTENING.findall(self.log_text)
        self.port, self.admin = int(ports[0]), int(ports[1])
        return self

    @property
    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin}"

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.process.kill()
        self.process.wait()

    async def terminate(self, seconds: float = PATIENCE) -> int:
        """Send SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        await until(lambda: self.process.poll() is not None, f"exit: {self.log_text}", seconds)
        return self.process.returncode

    def end(self) -> None:
        if self.process.poll() is None:
            self.kill()


@asynccontextmanager
async def adapter(config_file: Path, *flags: str) -> AsyncIterator[Adapter]:
    """Start the adapter and wait until it is ready; kill it at the end if it still runs."""
    process = Adapter(config_file, flags)
    try:
        yield await process.ready()
    finally:
        process.end()


def write_config(folder: Path, coc: int, more: str = "") -> Path:
    """An adapter.yml that reports to the sandbox on port `coc`; `more` is appended as it is."""
    path = folder / "adapter.yml"
    path.write_text(CONFIG.format(coc=coc, key=KEY, more=more))
    return path


async def post(url: str, body: bytes, **options: Any) -> tuple[int, str]:
    """POST JSON, such as a webhook; return status and text of the answer."""
    options["headers"] = {"Content-Type": "application/json", **options.get("headers", {})}
    async with aiohttp.ClientSession() as session, session.post(url, data=io.BytesIO(body), **options) as answer:
        return answer.status, await answer.text()


@asynccontextmanager
async def repeating(seconds: float, action: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Call the action every so many seconds until the end; nobody may listen meanwhile."""

    async def repeat() -> None:
        while True:
            with suppress(aiohttp.ClientError):
                await action()
            await asyncio.sleep(seconds)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def fetch(url: str | URL) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200, f"{url}: {answer.status}"
        return await answer.text()


async def drained(url: str, seconds: float = 60.0) -> str:
    """Wait until no report is pending; return that scrape."""

    async def scrape() -> str:
        text = await fetch(f"{url}/metrics")
        return text if values(text, "coc_adapter_reports_pending") == 0 else ""

    return str(await until(scrape, "no report pending", seconds))


async def counted(url: str, least: float, name: str, **labels: str) -> float:
    """Wait until this metric is at least `least`; return its value."""

    async def reached() -> list[float]:
        value = values(await fetch(f"{url}/metrics"), name, **labels)
        return [value] if value >= least else []

    (value,) = await until(reached, f"{name} {labels} to be {least}", 60.0)
    return float(value)


def values(scrape: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples whose labels are as given."""
    total = 0.0
    for line in scrape.splitlines():
        if line.startswith(name) and line[len(name)] in " {" and all(f'{k}="{v}"' in line for k, v in labels.items()):
            total += float(line.rsplit(" ", 1)[1])
    return total
