"""`coc-adapter reconcile` and `alarms list --unseen` against a running adapter."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from adapter.clock import SECOND, SystemClock
from tests.reconcile.stage import World, serving, settings, silence, world
from tests.stage import REPOSITORY, alert, free_port, post, sandbox, until, webhook


async def command(here: World, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one operator command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "adapter", *arguments, f"--adapter.url={here.admin_url}",
        cwd=REPOSITORY, env=os.environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def test_status_and_approve_over_the_admin_api(tmp_path: Path) -> None:
    gone = [f"Gone{number}" for number in range(3)]
    async with world(tmp_path, max_close=1) as here:
        await here.fires(*gone)
        code, out, errors = await command(here, "reconcile", "approve", "main")
        assert (code, out) == (1, "")
        assert "409: nothing is held of main" in errors
        assert (await command(here, "reconcile", "approve", "nobody"))[0] == 1
        async with silence(here.alertmanager.url, "Gone.*"):
            await here.state_is("suppressed", 3)
            await here.resolve(*gone)
            await until(lambda: here.view.held, "something held")
            code, out, errors = await command(here, "reconcile")
            assert (code, errors) == (0, "")
            for words in ("main: close, last valid poll 20", here.alertmanager.url, "absent 3", "held:", "Gone2",
                          "coc-adapter reconcile approve main"):  # fmt: skip
                assert words in out
            code, out, _ = await command(here, "reconcile", "status", "--output=json")
            assert {row["alertname"] for row in json.loads(out)["alertmanagers"][0]["held"]} == set(gone)
            code, out, _ = await command(here, "reconcile", "approve", "main")
            assert (code, out) == (0, "3 alarms of main are closed at the next valid poll\n")
            for name in gone:
                await here.becomes(name, "alarm", "ok")


async def test_a_cluster_before_its_first_valid_poll_and_none_at_all(tmp_path: Path) -> None:
    async with sandbox() as coc:
        down = f"http://127.0.0.1:{free_port()}"
        async with serving(tmp_path, coc, settings(down)) as service:
            here = World(coc, service, None)
            await here.polls(1, "unreachable")
            _, out, _ = await command(here, "reconcile")
            assert "no valid poll yet" in out
            assert "cannot connect" in out
        async with serving(tmp_path, coc, {"mode": False}) as service:
            here = World(coc, service, None)
            assert (await command(here, "reconcile"))[:2] == (
                0, "reconcile is off: adapter.yml names no Alertmanager to ask\n",
            )  # fmt: skip
            assert await here.api("GET", "/api/v1/reconcile") == {"alertmanagers": []}
            await here.api("POST", "/api/v1/reconcile/main/approve", 404)


class Ahead(SystemClock):
    """A wall clock that can be set ahead."""

    def __init__(self) -> None:
        self.ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead


async def test_open_alarms_of_which_nobody_spoke_are_listed_and_counted(tmp_path: Path) -> None:
    clock = Ahead()
    async with sandbox() as coc, serving(tmp_path, coc, {"mode": False}, clock=clock, store="sqlite:a.db") as service:
        here = World(coc, service, None)

        async def listed(*arguments: str) -> list[Any]:
            code, out, errors = await command(here, "alarms", "list", *arguments, "--output=json")
            assert code == 0, errors
            return [row["labels"]["alertname"] for row in json.loads(out)]

        await post(f"{here.url}/webhook", webhook(alert("Forgotten"), alert("Repeated"), alert("Over")))
        await post(f"{here.url}/webhook", webhook(alert("Over", "resolved")))
        assert await listed("--unseen=24h") == []
        clock.ahead = 25 * 3600 * SECOND
        await post(f"{here.url}/webhook", webhook(alert("Repeated")))
        assert await listed("--unseen=24h") == ["Forgotten"]
        assert await listed("--unseen=2d") == []
        assert await listed("--unseen=24h", "--integration=other") == []
        await service.maintain()
        assert await here.metric("open_alarms_unseen", integration="default") == 1
        code, _, errors = await command(here, "alarms", "list", "--unseen=soon")
        assert (code, "is not a duration" in errors) == (2, True)
        await here.api("GET", "/api/v1/alarms?unseen=soon", 400)
