"""What Alertmanager dropped is closed at COC, once, after N polls; what fires is not."""

from __future__ import annotations

from pathlib import Path

from tests.reconcile.stage import POLLS, routed_to, silence, world


async def test_a_resolve_under_a_silence_is_one_ok_after_n_polls_and_not_before(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.fires("DiskFull", "Stays")
        async with silence(here.alertmanager.url, "DiskFull"):
            await here.state_is("suppressed", 1)
            await here.resolve("DiskFull")
            await here.state_is("absent", 1)
            assert here.states("DiskFull") == ["alarm"]
            await here.becomes("DiskFull", "alarm", "ok")
        await here.polls()
        assert here.states("DiskFull") == ["alarm", "ok"]
        assert here.states("Stays") == ["alarm"]
        ok = here.coc.bodies[-1]
        assert ok["additional"]["reconciled"].startswith("not in Alertmanager since 20")
        assert ok["alarmDesc"] == "DiskFull happened"
        assert await here.metric("reconcile_acts_total", act="closed") == 1
        trail = await here.api("GET", f"/api/v1/alarms/default/{ok['alarmId']}")
        (evidence,) = [line for line in trail["explanation"] if line.startswith("Closed by reconciling: ")]
        assert f"polls of {here.alertmanager.url} from 20" in evidence
        assert int(evidence.split()[3]) >= POLLS
