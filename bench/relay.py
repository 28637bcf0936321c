"""Scripts to compare with: simple relays. They keep nothing and answer 200 if COC accepted every alarm, else 502.

    python -m bench.relay PORT SINK_URL jinja2|plain|tuned

`jinja2` renders the eight fields with compiled templates, `plain` computes them in Python. `tuned` also computes them
in Python, and does the rest in compiled code: uvloop, JSON by pydantic_core, HTTP by aiohttp's C parser.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import aiohttp
import jinja2
import pydantic_core
import uvloop
import yarl
from aiohttp import web

FIELDS = {
    "alarmName": "{{ labels.alertname }}",
    "alarmLevel": "{{ levels.get(labels.severity, 'Major') }}",
    "nameSpace": "{{ labels.namespace }}",
    "applicationId": "{{ applications.get(labels.namespace, 'kubernetes') }}",
    "resourceName": "{{ labels.pod }}",
    "alarmDesc": "{{ (annotations.description or annotations.summary)[:255] }}",
    "URL": "{{ annotations.runbook_url }}",
    "cluster": "{{ labels.cluster }}",
}
LEVELS = {"critical": "Critical", "warning": "Minor", "info": "Info"}
APPLICATIONS = {"shop-0": "18cfa0a5ef8d", "shop-1": "18cfa0a5ef8e"}
JINJA = jinja2.Environment()
JINJA.globals.update(levels=LEVELS, applications=APPLICATIONS)
TEMPLATES = {name: JINJA.from_string(text) for name, text in FIELDS.items()}


def render(alert: dict[str, Any]) -> dict[str, Any]:
    return finished(alert, {name: template.render(**alert) for name, template in TEMPLATES.items()})


def compute(alert: dict[str, Any]) -> dict[str, Any]:
    """The same fields as `render`, without templates."""
    labels, annotations = alert["labels"], alert["annotations"]
    fields = {
        "alarmName": labels.get("alertname", ""),
        "alarmLevel": LEVELS.get(labels.get("severity"), "Major"),
        "nameSpace": labels.get("namespace", ""),
        "applicationId": APPLICATIONS.get(labels.get("namespace"), "kubernetes"),
        "resourceName": labels.get("pod", ""),
        "alarmDesc": (annotations.get("description") or annotations.get("summary", ""))[:255],
        "URL": annotations.get("runbook_url", ""),
        "cluster": labels.get("cluster", ""),
    }
    return finished(alert, fields)


def finished(alert: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    fields["additional"] = {"cluster": fields.pop("cluster")}
    fields["alarmId"] = alert["fingerprint"]
    fields["alarmStatus"] = "alarm" if alert["status"] == "firing" else "ok"
    fields["alarmSource"] = "prometheus"
    fields["time"] = int(time.time() * 1000)
    return fields


class Relay:
    def __init__(self, url: str, mapping: Any) -> None:
        self.url, self.mapping = url, mapping

    async def run(self, _app: web.Application) -> Any:
        async with aiohttp.ClientSession() as self.session:
            yield

    async def report(self, alert: dict[str, Any]) -> None:
        async with self.session.post(self.url, json=self.mapping(alert)) as response:
            if (await response.json())["error_code"] != "COC.00000000":
                raise web.HTTPBadGateway

    async def webhook(self, request: web.Request) -> web.Response:
        await asyncio.gather(*(self.report(alert) for alert in (await request.json())["alerts"]))
        return web.Response(text="ok")


class TunedRelay:
    def __init__(self, url: str) -> None:
        self.url = yarl.URL(url)

    async def run(self, _app: web.Application) -> Any:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Content-Type": "application/json"},
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
            timeout=aiohttp.ClientTimeout(),
        ) as self.session:
            yield

    async def report(self, alert: dict[str, Any]) -> None:
        async with self.session.post(self.url, data=pydantic_core.to_json(compute(alert))) as response:
            if pydantic_core.from_json(await response.read())["error_code"] != "COC.00000000":
                raise web.HTTPBadGateway

    async def webhook(self, request: web.Request) -> web.Response:
        alerts = pydantic_core.from_json(await request.read())["alerts"]
        await asyncio.gather(*(self.report(alert) for alert in alerts))
        return web.Response(text="ok")


def serve(relay: Any, port: int, loop: asyncio.AbstractEventLoop | None = None) -> None:
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.cleanup_ctx.append(relay.run)
    app.router.add_post("/webhook", relay.webhook)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None, loop=loop)


VARIANTS = {"jinja2": lambda url: Relay(url, render), "plain": lambda url: Relay(url, compute), "tuned": TunedRelay}


if __name__ == "__main__":
    _, port, url, variant = sys.argv
    serve(VARIANTS[variant](url), int(port), uvloop.new_event_loop() if variant == "tuned" else None)
