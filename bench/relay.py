"""A script to compare with: a simple relay. It keeps nothing and answers 200 if COC accepted every alarm, else 502.

python -m bench.relay PORT SINK_URL
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import aiohttp
import jinja2
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
JINJA = jinja2.Environment()
JINJA.globals["levels"] = {"critical": "Critical", "warning": "Minor", "info": "Info"}
JINJA.globals["applications"] = {"shop-0": "18cfa0a5ef8d", "shop-1": "18cfa0a5ef8e"}
TEMPLATES = {name: JINJA.from_string(text) for name, text in FIELDS.items()}


def render(alert: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {name: template.render(**alert) for name, template in TEMPLATES.items()}
    fields["additional"] = {"cluster": fields.pop("cluster")}
    fields["alarmId"] = alert["fingerprint"]
    fields["alarmStatus"] = "alarm" if alert["status"] == "firing" else "ok"
    fields["alarmSource"] = "prometheus"
    fields["time"] = int(time.time() * 1000)
    return fields


class Relay:
    def __init__(self, url: str) -> None:
        self.url = url

    async def run(self, _app: web.Application) -> Any:
        async with aiohttp.ClientSession() as self.session:
            yield

    async def report(self, alert: dict[str, Any]) -> None:
        async with self.session.post(self.url, json=render(alert)) as response:
            if (await response.json())["error_code"] != "COC.00000000":
                raise web.HTTPBadGateway

    async def webhook(self, request: web.Request) -> web.Response:
        await asyncio.gather(*(self.report(alert) for alert in (await request.json())["alerts"]))
        return web.Response(text="ok")


def serve(relay: Any, port: int) -> None:
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.cleanup_ctx.append(relay.run)
    app.router.add_post("/webhook", relay.webhook)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    serve(Relay(sys.argv[2]), int(sys.argv[1]))
