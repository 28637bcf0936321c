"""What Alertmanager dropped is closed at COC, once, after N polls; COC hears at intervals of what still fires."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from adapter.clock import SystemClock
from adapter.store.contract import Retention, Store
from tests.builders import DAY
from tests.reconcile.stage import POLLS, World, labels, routed_to, silence, world
from tests.stage import until


async def closed_once(here: World, name: str, *others: str) -> None:
    """It is closed, not before it was absent, and nothing else is."""
    await here.state_is("absent", 1)
    assert here.states(name) == ["alarm"]
    await here.becomes(name, "alarm", "ok")
    await here.polls()
    assert here.states(name) == ["alarm", "ok"]
    assert [here.states(other) for other in others] == [["alarm"]] * len(others)


async def test_a_resolve_under_a_silence_is_one_ok_after_n_polls_and_not_before(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.fires("DiskFull", "Stays")
        async with silence(here.alertmanager.url, "DiskFull"):
            await here.state_is("suppressed", 1)
            await here.resolve("DiskFull")
            await closed_once(here, "DiskFull", "Stays")
        ok = here.coc.bodies[-1]
        assert ok["additional"]["reconciled"].startswith("not in Alertmanager since 20")
        assert ok["alarmDesc"] == "DiskFull happened"
        assert await here.metric("reconcile_acts_total", act="closed") == 1
        trail = await here.api("GET", f"/api/v1/alarms/default/{ok['alarmId']}")
        (evidence,) = [line for line in trail["explanation"] if line.startswith("Closed by reconciling: ")]
        assert f"polls of {here.alertmanager.url} from 20" in evidence
        assert int(evidence.split()[3]) >= POLLS


async def test_a_resolve_under_an_inhibition_is_one_ok(tmp_path: Path) -> None:
    inhibit = {"source_matchers": ['alertname="Down"'], "target_matchers": ['alertname="Slow"']}
    async with world(tmp_path, routed_to("ADAPTER/webhook", inhibit_rules=[inhibit])) as here:
        await here.fires("Slow")
        await here.fires("Down")
        await here.state_is("suppressed", 1)
        await here.resolve("Slow")
        await closed_once(here, "Slow", "Down")


async def test_a_resolve_in_a_mute_interval_is_one_ok(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.fires("DiskFull", "Stays")
        await here.polls(1)
        file = tmp_path / "alertmanager" / "alertmanager.yml"
        config = yaml.safe_load(file.read_text())
        whole_day = {"times": [{"start_time": "00:00", "end_time": "24:00"}]}
        config["time_intervals"] = [{"name": "always", "time_intervals": [whole_day]}]
        config["route"]["routes"] = [{"receiver": "coc", "mute_time_intervals": ["always"]}]
        file.write_text(yaml.safe_dump(config))
        async with aiohttp.ClientSession() as session, session.post(f"{here.alertmanager.url}/-/reload") as answer:
            assert answer.status == 200
        await until(lambda: here.metric("reconcile_polls_total", result="reloaded"), "a poll that saw it")
        await here.resolve("DiskFull")
        await closed_once(here, "DiskFull", "Stays")


async def test_a_silenced_alert_that_fires_is_never_closed_and_explain_names_the_silence(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.fires("DiskFull")
        async with silence(here.alertmanager.url, "DiskFull") as id_:
            await here.state_is("suppressed", 1)
            await here.polls(4 * POLLS)
            assert here.states("DiskFull") == ["alarm"]
            trail = await here.api("GET", f"/api/v1/alarms/default/{here.coc.bodies[0]['alarmId']}")
            (told,) = [line for line in trail["explanation"] if id_ in line]
            assert "'db move' of li until 20" in told


async def test_coc_hears_of_what_fires_at_every_refresh_interval_without_any_webhook(tmp_path: Path) -> None:
    async with world(tmp_path, more={"relay": {"refresh_interval": "300ms"}}) as here:
        await here.fires("DiskFull")
        webhooks = await here.metric("webhooks_total")
        await until(lambda: len(here.states("DiskFull")) >= 4, "three refreshes")
        assert await here.metric("reports_enqueued_total", kind="refresh") >= 3
        assert await here.metric("webhooks_total") == webhooks
        times = {body["time"] for body in here.coc.bodies}
        assert len(times) == 1
        assert here.coc.bodies[-1]["alarmDesc"] == "DiskFull happened"


async def test_no_refresh_is_owed_while_nothing_is_reported(tmp_path: Path) -> None:
    async with world(tmp_path, more={"relay": {"refresh_interval": "2s"}}) as here:
        await here.fires("DiskFull")
        await here.coc.fail({"status": 401})
        await here.alertmanager.post(labels("Other"), summary="COC refuses the credentials")
        await until(lambda: paused(here), "a pause")
        before = await here.metric("reports_enqueued_total", kind="refresh")
        await here.polls(30)  # three seconds, longer than the interval
        assert await here.metric("reports_enqueued_total", kind="refresh") == before
        await here.coc.fail()
        await here.api("POST", "/api/v1/integrations/default/resume")
        await until(lambda: len(here.states("DiskFull")) > 1, "a refresh")


async def paused(here: World) -> bool:
    return await here.metric("integration_paused", reason="credentials") == 1


@pytest.mark.parametrize("changes", [{"mode": "observe"}, {"refresh": False}], ids=["observe", "off"])
async def test_no_refresh_is_sent_where_none_is_wanted(tmp_path: Path, changes: dict[str, Any]) -> None:
    async with world(tmp_path, more={"relay": {"refresh_interval": "100ms"}}, **changes) as here:
        await here.fires("DiskFull")
        await here.polls()
        assert here.states("DiskFull") == ["alarm"]


async def test_observe_shows_what_is_gone_and_sends_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, mode="observe") as here:
        await here.fires("DiskFull")
        async with silence(here.alertmanager.url, "DiskFull"):
            await here.resolve("DiskFull")
            await here.state_is("absent", 1)
            await here.polls()
        assert here.states("DiskFull") == ["alarm"]
        assert await here.metric("reconcile_alarms", integration="default", state="absent") == 1


async def test_an_alarm_whose_reports_are_pruned_is_refreshed_by_what_alertmanager_lists_and_closed_as_coc_has_it(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, more={"relay": {"refresh_interval": "1s"}}) as here:
        await here.fires("DiskFull")
        store, nothing = here.service.store, Retention(delivered=-DAY, dead=-DAY, resolved=DAY)
        await until(lambda: prunes(store, nothing), "its report to be pruned")
        alarm = here.coc.bodies[0]
        await until(lambda: len(here.states("DiskFull")) == 2, "a refresh")
        assert here.coc.bodies[1] == alarm
        await until(lambda: prunes(store, nothing), "the refresh to be pruned")
        async with silence(here.alertmanager.url, "DiskFull"):
            await here.resolve("DiskFull")
            await until(lambda: here.states("DiskFull")[-1] == "ok", "an ok")
        ok = here.coc.bodies[-1]
        assert [ok[name] for name in ("alarmId", "alarmName", "alarmLevel", "nameSpace")] == [
            alarm[name] for name in ("alarmId", "alarmName", "alarmLevel", "nameSpace")
        ]


async def prunes(store: Store, retention: Retention) -> bool:
    return (await store.maintain(SystemClock().now(), retention)).reports > 0
