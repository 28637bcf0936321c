"""What reconciling got wrong heals, what no webhook brought is opened once, and a webhook in between goes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.reconcile.stage import POLLS, World, front, labels, named, routed_to, serving, settings, silence, world
from tests.stage import alert, free_port, post, sandbox, webhook


async def test_an_alert_that_fires_again_between_poll_and_commit_is_not_closed(tmp_path: Path) -> None:
    """The webhook arrives while the second look is under way."""
    sender_port, port = free_port(), free_port()
    url = f"http://127.0.0.1:{sender_port}"
    async with (
        front(url) as between,
        sandbox() as coc,
        named(tmp_path, routed_to(f"http://127.0.0.1:{port}/webhook"), sender_port) as sender,
        serving(tmp_path, coc, settings(between.url, external_urls=[url]), port) as service,
    ):
        here, fired = World(coc, service, sender), []

        async def fire_again(request: web.Request) -> None:
            if request.query.get("filter"):
                again = alert("DiskFull", annotations={"summary": "DiskFull happened"}, generatorURL="")
                fired.append(await post(f"{here.url}/webhook", webhook(again, externalURL=url)))

        await here.fires("DiskFull")
        between.hook = fire_again
        async with silence(url, "DiskFull"):
            await here.resolve("DiskFull")
            await here.polls(8 * POLLS)
        assert fired
        assert {status for status, _ in fired} == {200}
        assert set(here.states("DiskFull")) == {"alarm"}
        assert await here.metric("reconcile_acts_total") == 0
        assert between.methods == {"GET"}


@pytest.mark.parametrize("mode", ["close", "repair"])
async def test_a_wrong_close_is_reopened_at_the_next_poll(tmp_path: Path, mode: str) -> None:
    sender_port, port = free_port(), free_port()
    url = f"http://127.0.0.1:{sender_port}"
    changes = {"external_urls": [url], "receivers": ["coc"], "mode": mode}
    async with (
        front(url) as between,
        sandbox() as coc,
        named(tmp_path, routed_to(f"http://127.0.0.1:{port}/webhook"), sender_port) as sender,
        serving(tmp_path, coc, settings(between.url, **changes), port) as service,
    ):
        here = World(coc, service, sender)
        await here.fires("DiskFull")
        between.fault, between.only = "empty", "/alerts"
        await here.becomes("DiskFull", "alarm", "ok")
        between.fault = ""
        await here.becomes("DiskFull", "alarm", "ok", "alarm")
        await here.polls()
        assert here.states("DiskFull") == ["alarm", "ok", "alarm"]
        assert await here.metric("reconcile_acts_total", act="reopened") == 1
        trail = await here.api("GET", f"/api/v1/alarms/default/{here.coc.bodies[0]['alarmId']}")
        assert any(line.startswith("Reopened by reconciling: ") for line in trail["explanation"])
        assert here.coc.bodies[-1]["alarmDesc"] == "DiskFull happened"


class Wiped:
    """An Alertmanager that has told an adapter everything, and an adapter with an empty store."""

    def __init__(self, folder: Path, version: str = "0.34.0", **changes: Any) -> None:
        self.folder, self.version, self.changes = folder, version, changes

    async def __aenter__(self) -> World:
        from contextlib import AsyncExitStack

        self.stack = stack = AsyncExitStack()
        sender_port, port = free_port(), free_port()
        url = f"http://127.0.0.1:{sender_port}"
        config = routed_to(f"http://127.0.0.1:{port}/webhook", route={"group_by": ["namespace"]})
        sender = await stack.enter_async_context(named(self.folder, config, sender_port))
        async with sandbox() as coc, serving(self.folder, coc, {"mode": False}, port) as service:
            await World(coc, service, sender).fires("DiskFull")
        self.between = await stack.enter_async_context(front(url, self.version))
        self.between.muted = self.changes.pop("muted", False)
        own = {"external_urls": [url], "receivers": ["coc"], "mode": "repair", **self.changes}
        coc = await stack.enter_async_context(sandbox())
        service = await stack.enter_async_context(serving(self.folder, coc, settings(self.between.url, **own), port))
        return World(coc, service, sender)

    async def __aexit__(self, *error: object) -> None:
        await self.stack.aclose()


async def test_what_an_empty_store_lacks_is_adopted_once_and_a_repeat_is_no_news(tmp_path: Path) -> None:
    async with Wiped(tmp_path) as here:
        await here.becomes("DiskFull", "alarm")
        body = here.coc.bodies[0]
        assert body["alarmDesc"] == "DiskFull happened"
        assert body["additional"]["reconciled"] == "in Alertmanager, though no webhook brought it"
        await here.fires("Another")  # of the same group, which is sent whole
        await here.polls()
        assert here.states("DiskFull") == ["alarm"]
        assert await here.metric("reconcile_acts_total", act="adopted") == 1
        await here.resolve("DiskFull")
        await here.becomes("DiskFull", "alarm", "ok")
        assert await here.metric("reconcile_alarms", state="missing") == 0


async def test_in_other_modes_it_is_shown_as_missing(tmp_path: Path) -> None:
    async with Wiped(tmp_path, mode="close") as here:
        await here.state_is("missing", 1)
        await here.polls()
        assert here.coc.bodies == []
        (row,) = (await here.api("GET", "/api/v1/reconcile"))["alertmanagers"][0]["missing"]
        assert (row["alertname"], row["integration"]) == ("DiskFull", "default")
        assert "the store was lost" in row["because"]


async def test_before_0_28_nothing_is_adopted_because_mutes_cannot_be_seen(tmp_path: Path) -> None:
    async with Wiped(tmp_path, version="") as here:
        await here.state_is("missing", 1)
        await here.polls()
        assert here.coc.bodies == []


async def test_neither_silenced_nor_muted_nor_young_alerts_are_adopted(tmp_path: Path) -> None:
    for changes in ({"muted": True}, {"adopt_after": "1h"}):
        folder = tmp_path / next(iter(changes))
        folder.mkdir()
        async with Wiped(folder, **changes) as here:
            await here.polls()
            assert (here.coc.bodies, here.view.states["missing"]) == ([], 0)
    async with world(tmp_path) as here, silence(here.alertmanager.url, "Quiet"):
        await here.alertmanager.post(labels("Quiet"), summary="x")
        await here.fires("Heard")
        await here.polls()
        assert here.view.states["missing"] == 0
