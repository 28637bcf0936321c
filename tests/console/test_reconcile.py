"""The page of reconciling, over answers of the API that take long to bring about."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from adapter.admin.openapi import Call, Operation, Problem
from adapter.admin.schemas import ApprovedModel, IntegrationModel, ReconcileModel
from adapter.clock import SystemClock
from adapter.console.console import Around, Console

HELD = [
    {"integration": "default", "fingerprint": f"{number:016x}", "alertname": f"Vanished{number}"}
    for number in range(61)
]
MISSING = [
    {"integration": "default", "fingerprint": "ff", "alertname": "<b>Lost</b>", "because": "no webhook came"},
]
MEMBER = {
    "address": "http://am-1:9093", "result": "settling", "cluster_status": "ready", "up_since": 1, "alerts": 19,
    "seconds": 0.031, "error": "",
}  # fmt: skip
CLUSTER = {
    "name": "main", "mode": "close", "replica": "", "valid_at": 1, "members": [MEMBER], "origins": [],
    "states": {"in_step": 19, "absent": 61}, "held": HELD, "missing": MISSING,
}  # fmt: skip


def client(approved: list[str], *, read_only: bool = False) -> TestClient[web.Request, web.Application]:
    async def integrations(call: Call) -> list[Any]:
        return []

    async def reconcile(call: Call) -> dict[str, Any]:
        return {"alertmanagers": [CLUSTER]}

    async def approve(call: Call) -> dict[str, Any]:
        if call.path["name"] != "main":
            raise Problem(404, "no such Alertmanager")
        approved.append(call.path["name"])
        return {"name": "main", "approved": len(HELD)}

    operations = [
        Operation("GET", "/api/v1/integrations", "", integrations, list[IntegrationModel]),
        Operation("GET", "/api/v1/reconcile", "", reconcile, ReconcileModel),
        Operation("POST", "/api/v1/reconcile/{name}/approve", "", approve, ApprovedModel),
    ]
    around = Around(clock=SystemClock(), webhook_port=lambda: 9876, reconciles=True, read_only=read_only)
    app = web.Application()
    app.add_routes(Console(operations, around).routes())
    return TestClient(TestServer(app))


async def test_what_is_held_stands_first_and_can_be_let_through() -> None:
    approved: list[str] = []
    async with client(approved) as http:
        page = await (await http.get("/ui/reconcile")).text()
        assert "HELD: 61 open alarms vanished at once" in page
        assert "Vanished49" in page
        assert "11 more" in page
        assert page.index("HELD") < page.index("in step")
        assert "settling: no evidence" in page
        assert "&lt;b&gt;Lost&lt;/b&gt;" in page
        answer = await http.post("/ui/reconcile/main/approve", data={}, allow_redirects=False)
        assert (answer.status, await answer.text()) == (303, "Let through: 61.\n")
    assert approved == ["main"]


async def test_a_read_only_console_lets_nothing_through() -> None:
    approved: list[str] = []
    async with client(approved, read_only=True) as http:
        assert "approve" not in await (await http.get("/ui/reconcile")).text()
        assert (await http.post("/ui/reconcile/main/approve", data={"x": "y"})).status == 403
    assert approved == []
