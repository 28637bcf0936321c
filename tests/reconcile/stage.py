"""A real Alertmanager, an adapter in this process that reconciles with it in tenths of seconds, and a sandbox COC."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from adapter.alertmanager import fingerprint_of
from adapter.app import Options, Service, running
from adapter.clock import Clock
from adapter.config import load_config
from adapter.reconcile.view import View
from tests.flow.monitoring import Alertmanager, alertmanager
from tests.stage import KEY, Coc, fetch, free_port, sandbox, until, values

POLLS = 3
RECONCILE: dict[str, Any] = {
    "mode": "close",
    "interval": "100ms",
    "absent_polls": POLLS,
    "grace": "300ms",
    "settle": "0s",
    "timeout": "2s",
    "adopt_after": "100ms",
}


def labels(name: str, **more: str) -> dict[str, str]:
    return {"alertname": name, "namespace": "shop", "severity": "warning", **more}


def routed_to(url: str, **more: Any) -> dict[str, Any]:
    """A configuration that sends to one receiver at once, and never repeats."""
    route = {"receiver": "coc", "group_by": ["alertname"], "group_wait": "10ms", "group_interval": "100ms"}
    return {
        "route": {**route, "repeat_interval": "24h", **more.pop("route", {})},
        "receivers": [{"name": "coc", "webhook_configs": [{"url": url}]}, {"name": "other"}],
        **more,
    }


class Front:
    """Stands before an Alertmanager: passes questions on, claims another version, and answers wrongly when told to."""

    def __init__(self, behind: str, version: str) -> None:
        self.behind, self.version = behind, version
        self.fault = ""
        self.only = ""  # the path that the fault is for; every one
        self.hook: Any = None  # awaited with each request before it is passed on
        self.asked: list[str] = []  # paths and queries
        self.methods: set[str] = set()
        self.muted = False  # every alert of a group, as 0.28 tells it
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        self.methods.add(request.method)
        if self.hook is not None:
            await self.hook(request)
        if self.fault and self.only in request.path:
            return await self._wrong(request)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.behind}{request.path}", params=request.query) as answer,
        ):
            body = await answer.read()
        if request.path.endswith("/status") and self.version:
            data = json.loads(body)
            data["versionInfo"]["version"] = self.version
            body = json.dumps(data).encode()
        if request.path.endswith("/groups") and self.muted:
            data = json.loads(body)
            for group in data:
                for alert in group["alerts"]:
                    alert["status"]["mutedBy"] = ["always"]
            body = json.dumps(data).encode()
        return web.Response(status=answer.status, body=body, content_type="application/json")

    async def _wrong(self, request: web.Request) -> web.StreamResponse:
        if self.fault == "html":
            return web.Response(text="<!DOCTYPE html><p>please log in", content_type="text/html")
        if self.fault == "slow":
            await asyncio.sleep(3600)
        if self.fault == "empty":
            return web.json_response([])
        if self.fault in ("half", "endless"):
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            if self.fault == "half":
                response.content_length = 1000
            await response.prepare(request)
            await response.write(b'[{"fingerprint": "0123456789abcdef", "status": {"state": "act')
            while self.fault == "endless":
                await response.write(b"[" + b'{"labels": {}},' * 10_000)
            request.transport.close()  # type: ignore[union-attr]
            return response
        if self.fault == "302":
            return web.Response(status=302, headers={"Location": self.behind})
        return web.Response(status=int(self.fault))


@asynccontextmanager
async def front(behind: str, version: str = "0.34.0") -> AsyncIterator[Front]:
    stand_in = Front(behind, version)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stand_in.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stand_in.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield stand_in
    finally:
        await runner.cleanup()


class World:
    """Everything that runs in one test."""

    def __init__(self, coc: Coc, service: Service, sender: Alertmanager | None) -> None:
        self.coc, self.service, self._sender = coc, service, sender

    @property
    def alertmanager(self) -> Alertmanager:
        assert self._sender is not None
        return self._sender

    @property
    def view(self) -> View:
        return self.service.reconciling.views()[0]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.service.ports[0]}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.service.ports[1]}"

    async def fires(self, *names: str, **more: str) -> None:
        """Alerts that Alertmanager has, and COC."""
        for name in names:
            await self.alertmanager.post(labels(name, **more), summary=f"{name} happened")
        for name in names:
            await until(lambda name=name: self.states(name, **more), f"{name} at COC")

    async def resolve(self, *names: str, **more: str) -> None:
        for name in names:
            await self.alertmanager.post(labels(name, **more), resolved=True, summary=f"{name} happened")

    def states(self, name: str, **more: str) -> list[str]:
        """What COC was told of an alarm."""
        return self.coc.states(fingerprint_of(labels(name, **more)))

    async def becomes(self, name: str, *states: str, **more: str) -> None:
        wanted = list(states)
        await until(lambda: self.states(name, **more) == wanted, f"{name} to be {wanted}")

    async def polls(self, count: int = 2 * POLLS + 2, result: str = "valid") -> None:
        """Wait until so many more polls have come to this result."""
        start = await self.metric("reconcile_polls_total", result=result)

        async def done() -> bool:
            return await self.metric("reconcile_polls_total", result=result) >= start + count

        await until(done, f"{count} polls that are {result}, of {self.view}")

    async def metric(self, name: str, **wanted: str) -> float:
        return values(await fetch(f"{self.url}/metrics"), f"coc_adapter_{name}", **wanted)

    async def state_is(self, state: str, count: int) -> None:
        await until(lambda: self.view.states.get(state) == count, f"{count} {state}, of {self.view.states}")

    async def api(self, method: str, path: str, status: int = 200) -> Any:
        async with aiohttp.ClientSession() as session, session.request(method, self.admin_url + path) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()


def named(folder: Path, config: Mapping[str, Any], port: int) -> AbstractAsyncContextManager[Alertmanager]:
    """An Alertmanager whose webhooks carry its own address."""
    return alertmanager(
        folder, config, port, "--cluster.listen-address=", f"--web.external-url=http://127.0.0.1:{port}"
    )


@asynccontextmanager
async def silence(url: str, names: str) -> AsyncIterator[str]:
    """Silence the alerts with these names, a regular expression; its id."""
    now = datetime.now(UTC)
    body = {
        "matchers": [{"name": "alertname", "value": names, "isRegex": True, "isEqual": True}],
        "startsAt": (now - timedelta(minutes=1)).isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
        "createdBy": "li",
        "comment": "db move",
    }
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/api/v2/silences", json=body) as answer:
            id_ = (await answer.json())["silenceID"]
        yield id_
        async with session.delete(f"{url}/api/v2/silence/{id_}"):
            pass


def write_config(folder: Path, coc: int, reconcile: Mapping[str, Any], store: str = "memory:", **more: Any) -> Path:
    config = {
        "store": store,
        "integrations": {
            "default": {
                "base_url": f"http://127.0.0.1:{coc}",
                "allow_http": True,
                "integration_key": KEY,
                "timeout": "5s",
            }
        },
        "reconcile": dict(reconcile),
        **more,
    }
    path = folder / "adapter.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def settings(*members: str, **changes: Any) -> dict[str, Any]:
    """The key `reconcile`; what is no key of it belongs to its only Alertmanager."""
    own = {"receivers", "external_urls", "watchdog", "integrations", "basic_auth", "headers", "dns"}
    entry = {"name": "main", **{name: changes.pop(name) for name in own & changes.keys()}}
    if members:
        entry["members"] = list(members)
    return {**RECONCILE, "alertmanagers": [entry], **changes}


@asynccontextmanager
async def serving(
    folder: Path, coc: Coc, reconcile: Mapping[str, Any], port: int = 0, clock: Clock | None = None, **more: Any
) -> AsyncIterator[Service]:
    """The adapter in this process."""
    file = write_config(folder, coc.port, reconcile, **more)
    options = Options(config_file=file, listen_address=f"127.0.0.1:{port}", admin_address="127.0.0.1:0")
    async with running(load_config(file), options, clock) as service:
        yield service


@asynccontextmanager
async def world(folder: Path, config: Mapping[str, Any] | None = None, **changes: Any) -> AsyncIterator[World]:
    """One Alertmanager and one adapter; `changes` are those of `settings`, and of adapter.yml by `more`."""
    port, sender_port, more = free_port(), free_port(), changes.pop("more", {})
    config = config or routed_to(f"http://127.0.0.1:{port}/webhook")
    url = f"http://127.0.0.1:{sender_port}"
    changes.setdefault("external_urls", [f"{url}/"])
    text = json.dumps(config).replace("ADAPTER", f"http://127.0.0.1:{port}")
    members = [url, *changes.pop("also", [])]
    async with (
        named(folder, json.loads(text), sender_port) as sender,
        sandbox() as coc,
        serving(folder, coc, settings(*members, **changes), port, **more) as service,
    ):
        yield World(coc, service, sender)
