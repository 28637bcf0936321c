"""Debian's Prometheus and Alertmanager on loopback, with time shortened.

The alert rules are those of the chart, but with all times divided by FASTER: in `for`, in ranges (`[10m]`), and where a
rule compares with seconds. `5m` becomes `2000ms`: eight samples at four scrapes a second.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.chart.rule_files import ALERTS
from tests.needs import needs
from tests.stage import Adapter, free_port, post, repeating, sample

FASTER = 150
SCRAPE = "250ms"
PATIENCE = 60.0

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)")
_RANGE = re.compile(r"\[(\d+(?:ms|s|m|h|d))\]")
_AGE = re.compile(r"(oldest_pending_seconds\) > )(\d+)")


def faster(duration: str) -> str:
    """`10m` becomes `4000ms`."""
    return f"{sum(int(number) * _UNITS[unit] for number, unit in _DURATION.findall(duration)) // FASTER}ms"


def shortened(rules: str) -> str:
    """A rule file with time divided by FASTER."""
    document = yaml.safe_load(rules)
    for group in document["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = faster(rule["for"])
            expr = _RANGE.sub(lambda match: f"[{faster(match[1])}]", rule["expr"])
            rule["expr"] = _AGE.sub(lambda match: f"{match[1]}{int(match[2]) / FASTER:g}", expr)
    return yaml.safe_dump(document)


class Prometheus:
    """A running Prometheus, queried over its API."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self.url, self._session = f"http://127.0.0.1:{port}", session

    async def query(self, expr: str) -> list[dict[str, Any]]:
        async with self._session.get(f"{self.url}/api/v1/query", params={"query": expr}) as answer:
            result: list[dict[str, Any]] = (await answer.json())["data"]["result"]
            return result

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
        """Check that the alert was neither pending nor firing at any evaluation."""
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
    """Run a Prometheus that scrapes adapter and Alertmanager, with the chart's rules and `rules` by file name."""
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
    async with running(command, home / "log", port), aiohttp.ClientSession() as session:
        yield Prometheus(port, session)


class Alertmanager:
    """A running Alertmanager."""

    def __init__(self, port: int, log: Path) -> None:
        self.url, self._log = f"http://127.0.0.1:{port}", log
        self._since = datetime.now(UTC) - timedelta(minutes=1)

    @property
    def log_text(self) -> str:
        return self._log.read_text(errors="replace")

    async def post(self, labels: Mapping[str, str], *, resolved: bool = False, **annotations: str) -> None:
        """Post one alert, as Prometheus does."""
        now = datetime.now(UTC)
        ends = now - timedelta(milliseconds=1) if resolved else now + timedelta(minutes=5)
        alert: dict[str, Any] = {
            "labels": dict(labels),
            "annotations": annotations,
            "startsAt": self._since.isoformat(),
            "endsAt": ends.isoformat(),
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/api/v2/alerts", json=[alert]) as answer,
        ):
            assert answer.status == 200, await answer.text()


@asynccontextmanager
async def alertmanager(
    folder: Path, config: Mapping[str, Any], port: int = 0, *flags: str
) -> AsyncIterator[Alertmanager]:
    """Run an Alertmanager with this configuration; it keeps its state for the next one in the same folder.

    `flags` take the place of the one that keeps it from looking for peers.
    """
    program, home, port = needs("prometheus-alertmanager"), folder / "alertmanager", port or free_port()
    home.mkdir(exist_ok=True)
    (home / "alertmanager.yml").write_text(yaml.safe_dump(dict(config)))
    command = [
        program,
        f"--config.file={home / 'alertmanager.yml'}",
        f"--storage.path={home / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=debug",
        *(flags or ("--cluster.listen-address=",)),
    ]
    async with running(command, home / "log", port):
        yield Alertmanager(port, home / "log")


def one_receiver(url: str, **http_config: Any) -> dict[str, Any]:
    """An Alertmanager configuration that sends everything to `url` within seconds."""
    webhook = {"url": url, "send_resolved": True, "max_alerts": 0, "http_config": http_config}
    return {
        "route": {
            "receiver": "coc",
            "group_by": ["namespace"],
            "group_wait": "1s",
            "group_interval": "2s",
            "repeat_interval": "4s",
        },
        "receivers": [{"name": "coc", "webhook_configs": [webhook]}],
    }


@asynccontextmanager
async def watchdog(service: Adapter) -> AsyncIterator[None]:
    """Post a Watchdog twice a second, so that CocAdapterNoWebhooks does not fire."""

    async with repeating(0.5, lambda: post(f"{service.url}/webhook", sample("kube-watchdog"))):
        yield


@asynccontextmanager
async def running(command: list[str], log: Path, port: int) -> AsyncIterator[None]:
    """Run a program that answers /-/ready; SIGTERM at the end, because both write their state when they stop."""
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
