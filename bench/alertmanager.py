"""An Alertmanager that lists so many alerts, all of them active, and nothing else.

python -m bench.alertmanager PORT ALERTS
"""

from __future__ import annotations

import json
import sys

from aiohttp import web

from bench.payloads import alert

_STATUS = {
    "uptime": "2020-01-01T00:00:00.000Z",
    "versionInfo": {"version": "0.34.0"},
    "cluster": {"status": "disabled", "peers": []},
    "config": {"original": "route: {receiver: coc}"},
}


def listed(number: int) -> dict[str, object]:
    """The alert that `bench.payloads` sends by this number, as GET /api/v2/alerts lists it."""
    state = {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []}
    times = {"endsAt": "2036-01-01T00:00:00.000Z", "updatedAt": "2026-11-23T15:15:43.208Z"}
    return {**json.loads(alert(number)), **times, "status": state, "receivers": [{"name": "coc"}]}


def main(port: int, alerts: int) -> None:
    bodies = {
        "/api/v2/status": json.dumps(_STATUS).encode(),
        "/api/v2/alerts": json.dumps([listed(number) for number in range(alerts)]).encode(),
        "/-/healthy": b"[]",
    }

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=bodies[request.path], content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
