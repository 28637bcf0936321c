"""Whose alarms are judged, and how many may be closed at once."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import yaml

from tests.flow.monitoring import alertmanager
from tests.reconcile.stage import POLLS, labels, routed_to, silence, world
from tests.stage import until


async def test_an_alert_whose_route_moved_is_unrouted_and_kept_open(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.fires("DiskFull")
        await here.polls(1)
        file = tmp_path / "alertmanager" / "alertmanager.yml"
        config = yaml.safe_load(file.read_text())
        config["route"]["receiver"] = "other"
        file.write_text(yaml.safe_dump(config))
        async with aiohttp.ClientSession() as session, session.post(f"{here.alertmanager.url}/-/reload") as answer:
            assert answer.status == 200
        await here.state_is("unrouted", 1)
        await here.polls()
        assert here.states("DiskFull") == ["alarm"]
        trail = await here.api("GET", f"/api/v1/alarms/default/{here.coc.bodies[0]['alarmId']}")
        assert any("no longer routed here" in line for line in trail["explanation"])


async def test_an_alarm_of_another_alertmanager_is_foreign_and_never_touched(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.fires("Ours")
        (tmp_path / "second").mkdir()
        async with alertmanager(tmp_path / "second", routed_to(f"{here.url}/webhook")) as second:
            await second.post(labels("Theirs"), summary="x")
            await here.becomes("Theirs", "alarm")
        await here.state_is("foreign", 1)
        await here.polls(4 * POLLS)
        assert (here.states("Theirs"), here.states("Ours")) == (["alarm"], ["alarm"])
        assert await here.metric("reconcile_alarms", integration="default", state="foreign") == 1
        origins = (await here.api("GET", "/api/v1/reconcile"))["alertmanagers"][0]["origins"]
        assert here.alertmanager.url in origins
        assert len(origins) == 2
        trail = await here.api("GET", f"/api/v1/alarms/default/{here.coc.bodies[1]['alarmId']}")
        assert any("`external_urls`" in line for line in trail["explanation"])


async def test_many_that_vanish_at_once_are_held_until_an_operator_lets_them_through(tmp_path: Path) -> None:
    gone, stay = [f"Gone{number}" for number in range(6)], [f"Stay{number}" for number in range(4)]
    async with world(tmp_path, max_close=2) as here:
        await here.fires(*gone, *stay)
        await here.api("POST", "/api/v1/reconcile/main/approve", 409)
        await here.api("POST", "/api/v1/reconcile/other/approve", 404)
        async with silence(here.alertmanager.url, "Gone.*"):
            await here.state_is("suppressed", 6)
            await here.resolve(*gone)

            async def held() -> bool:
                return await here.metric("reconcile_held", alertmanager="main") == 6

            await until(held, "six held")
            await here.polls()
            assert [here.states(name) for name in gone] == [["alarm"]] * 6
            shown = (await here.api("GET", "/api/v1/reconcile"))["alertmanagers"][0]["held"]
            assert sorted(row["alertname"] for row in shown) == gone
            assert await here.api("POST", "/api/v1/reconcile/main/approve") == {"name": "main", "approved": 6}
            for name in gone:
                await here.becomes(name, "alarm", "ok")
            await here.polls()
        assert [here.states(name) for name in stay] == [["alarm"]] * 4
        assert await here.metric("reconcile_held", alertmanager="main") == 0
        assert await here.metric("reconcile_acts_total", act="closed") == 6


async def test_few_of_many_are_closed_a_few_at_a_poll(tmp_path: Path) -> None:
    gone, stay = [f"Gone{number}" for number in range(3)], [f"Stay{number:02}" for number in range(13)]
    async with world(tmp_path, max_close=2) as here:
        await here.fires(*gone, *stay)
        async with silence(here.alertmanager.url, "Gone.*"):
            await here.state_is("suppressed", 3)
            await here.resolve(*gone)
            for name in gone:
                await here.becomes(name, "alarm", "ok")
        assert here.view.held == []


async def test_nothing_is_closed_of_a_paused_integration_and_a_resume_counts_anew(tmp_path: Path) -> None:
    async with world(tmp_path, absent_polls=2 * POLLS) as here:
        await here.fires("DiskFull")
        await here.api("POST", "/api/v1/integrations/default/pause")
        async with silence(here.alertmanager.url, "DiskFull"):
            await here.resolve("DiskFull")
            await here.state_is("absent", 1)
            await here.polls(4 * POLLS)
            assert await here.metric("reports_enqueued_total", kind="ok") == 0
            await here.api("POST", "/api/v1/integrations/default/resume")
            resumed = await here.metric("reconcile_polls_total", result="valid")
            await here.becomes("DiskFull", "alarm", "ok")
            assert await here.metric("reconcile_polls_total", result="valid") >= resumed + 2 * POLLS
