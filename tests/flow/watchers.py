"""A real Prometheus and a real Alertmanager around an adapter, with time shortened.

The rules are taken as they are shipped; only time is divided by FASTER, everywhere it appears: in `for`, in ranges
(`[10m]`), and where a rule compares with seconds. `5m` becomes `2000ms`: eight samples at four scrapes a second.
"""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.chart.rule_files import ALERTS
from tests.needs import needs
from tests.stage import Adapter, post, sample

FASTER = 150
SCRAPE = "250ms"
PATIENCE = 60.0

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)")
_RANGE = re.compile(r"\[(\d+(?:ms|s|m|h|d))\]")
_AGE = re.compile(r"(oldest_pending_seconds\) > )(\d+)")


def faster(duration: str) -> str:
    """`10m` -> `4000ms`; compound durations part by part."""
    return f"{sum(int(number) * _UNITS[unit] for number, unit in _DURATION.findall(duration)) // FASTER}ms"


def shortened(rules: str) -> str:
    """A rule file with time divided by FASTER."""
    document = yaml.safe_load(rules)
    for group in document["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = faster(rule["for"])
            expr = _RANGE.sub(lambda found: f"[{faster(found[1])}]", rule["expr"])
            rule["expr"] = _AGE.sub(lambda found: f"{found[1]}{int(found[2]) / FASTER:g}", expr)
    return yaml.safe_dump(document)


class Prometheus:
    """What it thinks, asked over its API."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self.url, self._session = f"http://127.0.0.1:{port}", session

    async def query(self, expr: str) -> list[dict[str, Any]]:
        async with self._session.get(f"{self.url}/api/v1/query", params={"query": expr}) as answer:
            found: list[dict[str, Any]] = (await answer.json())["data"]["result"]
            return found

    async def firing(self) -> set[str]:
        async with self._session.get(f"{self.url}/api/v1/alerts") as answer:
            alerts = (await answer.json())["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    async def fires(self, *names: str) -> None:
        await self._wait(lambda firing: set(names) <= firing, f"{names} to fire")

    async def clears(self, *names: str) -> None:
        await self._wait(lambda firing: not set(names) & firing, f"{names} to clear")

    async def scraped(self) -> None:
        end = asyncio.get_running_loop().time() + PATIENCE
        while not await self.query("coc_adapter_build_info"):
            assert asyncio.get_running_loop().time() < end, "Prometheus scrapes no adapter"
            await asyncio.sleep(0.1)

    async def never(self, name: str) -> None:
        """Neither fired nor was about to at any evaluation so far."""
        assert await self.query(f'max_over_time(ALERTS{{alertname="{name}"}}[1h])') == []

    async def _wait(self, done: Any, what: str) -> None:
        end = asyncio.get_running_loop().time() + PATIENCE
        while not done(firing := await self.firing()):
            assert asyncio.get_running_loop().time() < end, f"not within {PATIENCE} s: {what}; firing: {firing}"
            await asyncio.sleep(0.1)


@asynccontextmanager
async def prometheus(
    folder: Path, adapter_port: int, *, alertmanager_port: int | None = None, rules: Mapping[str, str] | None = None
) -> AsyncIterator[Prometheus]:
    """One that scrapes adapter and Alertmanager and evaluates the shipped rules, and `rules` by file name."""
    program, home, port = needs("prometheus"), folder / "prometheus", free_port()
    home.mkdir()
    for name, text in {"alerts.yaml": ALERTS.read_text(), **(rules or {})}.items():
        (home / name).write_text(shortened(text))
    config: dict[str, Any] = {
        "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE},
        "rule_files": ["*.yaml"],
        "scrape_configs": [
            {"job_name": "coc-adapter", "static_configs": [{"targets": [f"127.0.0.1:{adapter_port}"]}]},
        ],
    }
    if alertmanager_port:
        target = {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]}
        config["alerting"] = {"alertmanagers": [target]}
        config["scrape_configs"].append({"job_name": "alertmanager", **target})
    (home / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        program,
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--rules.alert.resend-delay=1s",
        "--log.level=warn",
    ]
    async with _running(command, home / "log", port), aiohttp.ClientSession() as session:
        yield Prometheus(port, session)


@asynccontextmanager
async def alertmanager(folder: Path, config: Mapping[str, Any], port: int) -> AsyncIterator[None]:
    """One with this configuration, its time already shortened."""
    program, home = needs("prometheus-alertmanager"), folder / "alertmanager"
    home.mkdir(exist_ok=True)
    (home / "alertmanager.yml").write_text(yaml.safe_dump(dict(config)))
    command = [
        program,
        f"--config.file={home / 'alertmanager.yml'}",
        f"--storage.path={home / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    async with _running(command, home / "log", port):
        yield


@asynccontextmanager
async def beating(service: Adapter) -> AsyncIterator[None]:
    """A Watchdog by hand, so that the rule about silence stays silent."""

    async def beat() -> None:
        while True:
            with suppress(aiohttp.ClientError):
                await post(f"{service.url}/webhook", sample("kube-watchdog"))
            await asyncio.sleep(0.5)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def free_port() -> int:
    """A port that was free a moment ago; neither program can be asked which one it chose."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def _running(command: list[str], log: Path, port: int) -> AsyncIterator[None]:
    """Until the block ends; SIGTERM first, since both write their state when they stop."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        end = asyncio.get_running_loop().time() + PATIENCE
        while not await _ready(port):
            assert process.poll() is None, log.read_text()
            assert asyncio.get_running_loop().time() < end, f"{command[0]} is not ready: {log.read_text()}"
            await asyncio.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _ready(port: int) -> bool:
    with suppress(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/-/ready") as answer:
            return answer.status == 200
    return False
