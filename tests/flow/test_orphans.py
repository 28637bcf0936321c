"""Integrations that left adapter.yml: everybody is told of what they left, operators move or discard it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.flow.test_operator import command, listed
from tests.postgres import PostgresServer, postgres_server
from tests.stage import (
    KEY,
    REPOSITORY,
    Adapter,
    adapter,
    alert,
    drained,
    fetch,
    post,
    sandbox,
    until,
    values,
    webhook,
)

PREFIX = "coc_adapter_"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server("-c fsync=off") as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return "sqlite:data/adapter.db"
    database: PostgresServer = request.getfixturevalue("server")
    return await database.new_database()


def config(folder: Path, store: str, coc: int, names: Sequence[str], more: str = "") -> Path:
    """An adapter.yml with these integrations; those whose name begins with `dead` report to nobody."""
    path = folder / "adapter.yml"
    lines = [
        f'  {name}: {{base_url: "http://127.0.0.1:{9 if name.startswith("dead") else coc}", allow_http: true, '
        f'integration_key: "{KEY}", timeout: 5s}}'
        for name in names
    ]
    path.write_text("\n".join([f"store: {store}", "integrations:", *lines, more, ""]))
    return path


async def send(service: Adapter, integration: str, *alerts: dict[str, Any]) -> int:
    return (await post(f"{service.url}/webhook/{integration}", webhook(*alerts)))[0]


async def row(service: Adapter, name: str) -> dict[str, Any]:
    (found,) = [one for one in await listed(service, "integrations") if one["integration"] == name]
    return found


async def leave_behind(folder: Path, store: str, names: Sequence[str] = ("dead-old", "keep")) -> None:
    """An alarm that fires and is resolved, and one that fires, of an integration whose COC is down."""
    async with adapter(config(folder, store, 9, names)) as service:
        assert await send(service, names[0], alert("Ended"), alert("Open")) == 200
        assert await send(service, names[0], alert("Ended", "resolved")) == 200
        assert await service.terminate() == 0


async def test_what_an_integration_left_is_told_by_log_list_status_metrics_check_and_explain(
    tmp_path: Path, store: str
) -> None:
    await leave_behind(tmp_path, store)
    path = config(tmp_path, store, 9, ["new", "keep"])
    told = "warning: the store holds 3 pending reports, 1 open alarms and 0 dead letters of integration 'dead-old'"
    before = sorted(tmp_path.glob("data/*"))
    code, out, _ = await checked(path)
    assert (code, f"{path}:2:1: {told}" in out) == (0, True), out
    assert sorted(tmp_path.glob("data/*")) == before
    async with adapter(path) as service:
        assert f"{path}:2:1: {told}" in (await checked(path))[1]  # beside the service
        assert "integration=dead-old pending=3 open_alarms=1 dead_letters=0" in service.log_text
        found = await row(service, "dead-old")
        assert (found["state"], found["pending"], found["open_alarms"]) == ("orphan", 3, 1)
        status = json.loads(await fetch(f"{service.admin_url}/api/v1/status"))
        assert [one["state"] for one in status["integrations"]] == ["running", "running", "orphan"]
        scrape = await fetch(f"{service.url}/metrics")
        name = f"{PREFIX}integration_orphaned"
        assert values(scrape, name, integration="dead-old") == values(scrape, name) == 1
        assert "not in adapter.yml" in (await command(service, "integrations"))[1]
        assert "integrations move dead-old NEW" in (await command(service, "alarms", "explain", "Open"))[1]


async def test_a_moved_backlog_reaches_coc_in_its_order_and_the_law_holds(tmp_path: Path, store: str) -> None:
    await leave_behind(tmp_path, store)
    async with sandbox() as coc, adapter(config(tmp_path, store, coc.port, ["new", "keep"])) as service:
        code, out, errors = await command(service, "integrations", "move", "dead-old", "new")
        assert (code, out, errors) == (
            0,
            "moved what dead-old left to new: 2 alarms, 3 pending reports, 0 dead letters\n",
            "",
        )
        bodies = await coc.received(3)
        assert [(one["alarmName"], one["alarmStatus"]) for one in bodies if one["alarmName"] == "Ended"] == [
            ("Ended", "alarm"),
            ("Ended", "ok"),
        ]
        await drained(service.url)
        assert await send(service, "new", alert("Open")) == 200  # a repeat: it is known there
        assert await send(service, "new", alert("Open", "resolved")) == 200
        await coc.received(4)
        scrape = await drained(service.url)
        if store.startswith("sqlite"):
            for name in ("dead-old", "new"):
                owed = values(scrape, f"{PREFIX}reports_enqueued_total", integration=name)
                assert owed == values(scrape, f"{PREFIX}reports_total", integration=name)
        assert values(scrape, f"{PREFIX}open_alarms") == 0
        await until(lambda: orphaned(service, 0), "no orphan is left")
        assert len(await listed(service, "integrations")) == 2


async def test_an_open_alarm_is_told_to_a_coc_that_never_heard_of_it(tmp_path: Path, store: str) -> None:
    async with sandbox() as coc, adapter(config(tmp_path, store, coc.port, ["old", "keep"])) as service:
        assert await send(service, "old", alert("Open"), alert("Ended")) == 200
        await coc.received(2)
        assert await send(service, "old", alert("Ended", "resolved")) == 200
        await coc.received(3)
        await drained(service.url)
    async with sandbox() as coc, adapter(config(tmp_path, store, coc.port, ["new", "keep"])) as service:
        code, out, _ = await command(service, "integrations", "move", "old", "new")
        assert (code, "0 pending reports, 0 dead letters, 1 more owed" in out) == (0, True), out
        (body,) = await coc.received(1)
        assert (body["alarmName"], body["alarmStatus"]) == ("Open", "alarm")
        scrape = await drained(service.url)
        assert values(scrape, f"{PREFIX}reports_enqueued_total", integration="new", kind="carried") == 1
        assert await send(service, "new", alert("Open", "resolved")) == 200
        await coc.received(2)
        assert coc.states(body["alarmId"]) == ["alarm", "ok"]


async def test_an_alarm_that_fired_anew_under_the_old_name_is_sent_at_once(tmp_path: Path, store: str) -> None:
    async with sandbox() as coc, adapter(config(tmp_path, store, coc.port, ["dead-old", "new"])) as service:
        for count, status in enumerate(("firing", "resolved"), start=1):
            assert await send(service, "new", alert("Back", status)) == 200
            await coc.received(count)
        assert await send(service, "dead-old", alert("Back")) == 200
    async with sandbox() as coc, adapter(config(tmp_path, store, coc.port, ["new", "keep"])) as service:
        code, out, _ = await command(service, "integrations", "move", "dead-old", "new")
        assert (code, "superseded" in out) == (0, False), out
        (body,) = await coc.received(1)
        assert (body["alarmName"], body["alarmStatus"]) == ("Back", "alarm")
        assert values(await drained(service.url), f"{PREFIX}open_alarms", integration="new") == 1


async def test_of_two_replicas_that_remove_at_once_each_takes_what_the_other_leaves(
    tmp_path: Path, server: PostgresServer
) -> None:
    alarms, names = 4000, ["new", "other", "keep"]
    store = await server.new_database()
    async with adapter(config(tmp_path, store, 9, ["dead-old", *names])) as service:
        for first in range(0, alarms, 1000):
            assert await send(service, "dead-old", *(alert(f"Left{first + number}") for number in range(1000))) == 200
    path = config(tmp_path, store, 9, [f"dead-{name}" for name in names])
    async with adapter(path) as one, adapter(path) as two:
        asked = [(one, "move", b'{"to": "dead-new"}'), (two, "move", b'{"to": "dead-other"}'), (two, "discard", b"")]
        answers = await asyncio.gather(
            *(post(f"{each.admin_url}/api/v1/integrations/dead-old/{verb}", body) for each, verb, body in asked)
        )
        done = [json.loads(text)["alarms"] if status == 200 else 0 for status, text in answers]
        assert {status for status, _ in answers} <= {200, 404}
        assert sum(done) == alarms
        left = [(await row(two, name))["pending"] for name in ("dead-new", "dead-other")]
        assert left == done[:2]
        assert sum(done[:2]) + done[2] == alarms
        scrapes = [await fetch(f"{each.url}/metrics") for each in (one, two)]
        gone = [
            values(scrape, f"{PREFIX}reports_total", integration="dead-old", outcome=outcome)
            for scrape in scrapes for outcome in ("superseded", "discarded")
        ]  # fmt: skip
        assert sum(gone) == alarms


async def test_a_removal_that_is_asked_for_during_another_one_takes_nothing_of_it(tmp_path: Path, store: str) -> None:
    alarms = 5000
    async with adapter(config(tmp_path, store, 9, ["dead-old", "dead-keep"])) as service:
        for first in range(0, alarms, 1000):
            assert await send(service, "dead-old", *(alert(f"Left{first + number}") for number in range(1000))) == 200
    async with adapter(config(tmp_path, store, 9, ["dead-keep"])) as service:
        integrations = f"{service.admin_url}/api/v1/integrations"
        moving = asyncio.create_task(post(f"{integrations}/dead-old/move", b'{"to": "dead-keep"}'))

        async def begun() -> bool:
            return bool((await row(service, "dead-keep"))["pending"])

        await until(begun, "the move has begun")
        status, text = await post(f"{integrations}/dead-old/discard", b"")
        moved = json.loads((await moving)[1])
        assert (moved["alarms"], (await row(service, "dead-keep"))["pending"]) == (alarms, alarms)
        assert status == 404, text


async def test_a_discarded_backlog_is_gone_and_nothing_of_it_is_sent(tmp_path: Path, store: str) -> None:
    await leave_behind(tmp_path, store)
    async with sandbox() as coc, adapter(config(tmp_path, store, coc.port, ["new", "keep"])) as service:
        (done,) = [json.loads((await command(service, "integrations", "discard", "dead-old", "--output=json"))[1])]
        assert (done["alarms"], done["reports"], done["to"]) == (2, 3, None)
        await until(lambda: orphaned(service, 0), "no orphan is left")
        scrape = await fetch(f"{service.url}/metrics")
        assert values(scrape, f"{PREFIX}reports_total", outcome="discarded") == 3
        assert values(scrape, f"{PREFIX}reports_pending") == values(scrape, f"{PREFIX}open_alarms") == 0
        assert await send(service, "new", alert("Open")) == 200
        assert len(await coc.received(1)) == 1
    async with adapter(config(tmp_path, store, 9, ["new", "keep"])) as service:
        assert "dead-old" not in service.log_text


async def test_a_dead_letter_of_an_orphan_is_not_replayed_in_vain(tmp_path: Path, store: str) -> None:
    async with sandbox() as coc, adapter(config(tmp_path, store, coc.port, ["old", "keep"])) as service:
        await coc.fail({"status": 400, "times": 4})
        assert await send(service, "old", alert("Refused")) == 200
        assert await send(service, "keep", alert("Kept")) == 200
        await until(lambda: letters(service, 2), "two dead letters")
    async with sandbox() as coc, adapter(config(tmp_path, store, coc.port, ["new", "keep"])) as service:
        rows = {one["integration"]: str(one["id"]) for one in await listed(service, "dead-letters")}
        code, out, errors = await command(service, "dead-letters", "replay", rows["keep"], rows["old"])
        assert (code, out) == (1, "")
        assert f"dead letters {rows['old']}; first give them to another one, `integrations move old NEW`" in errors
        assert await letters(service, 2)
        assert (await command(service, "integrations", "move", "old", "new"))[0] == 0
        assert (await command(service, "dead-letters", "replay", *rows.values()))[0] == 0
        assert {body["alarmName"] for body in await coc.received(2)} == {"Refused", "Kept"}


async def letters(service: Adapter, count: int) -> bool:
    return len(await listed(service, "dead-letters")) == count


async def orphaned(service: Adapter, count: int) -> bool:
    return values(await fetch(f"{service.url}/metrics"), f"{PREFIX}integration_orphaned") == count


async def test_only_what_is_in_no_adapter_yml_can_be_moved_or_discarded(tmp_path: Path, store: str) -> None:
    await leave_behind(tmp_path, store)
    async with adapter(config(tmp_path, store, 9, ["new", "keep"])) as service:
        for arguments, why in (
            (("discard", "keep"), "answered 409: this integration is in adapter.yml"),
            (("move", "keep", "new"), "answered 409: this integration is in adapter.yml"),
            (("move", "dead-old", "elsewhere"), "answered 404: no such integration"),
            (("discard", "elsewhere"), "answered 404: the store holds nothing"),
        ):
            code, _, errors = await command(service, "integrations", *arguments)
            assert (code, why in errors) == (1, True), errors
        assert (await row(service, "dead-old"))["pending"] == 3


async def test_neither_an_orphan_nor_a_dead_coc_stops_the_intake_of_others(tmp_path: Path, store: str) -> None:
    bound, old = "limits: {backlog: 12}", [alert(f"Old{number}") for number in range(12)]
    async with adapter(config(tmp_path, store, 9, ["dead-old"], bound)) as service:
        assert await send(service, "dead-old", *old) == 200
        assert await send(service, "dead-old", alert("More")) == 503
    async with sandbox() as coc:
        names = ["dead-new", "second", "third"]
        async with adapter(config(tmp_path, store, coc.port, names, bound)) as service:
            taken = [await send(service, "dead-new", alert(f"Dead{number}")) for number in range(12)]
            assert taken == [200] * 8 + [503] * 4
            await until(lambda: share(service, "dead-new", 8), "the share is told")
            for number in range(6):
                for name in names[1:]:
                    assert await send(service, name, alert(f"{name}{number}")) == 200
                    await coc.received(2 * number + names.index(name))


async def share(service: Adapter, name: str, count: int) -> bool:
    return values(await fetch(f"{service.url}/metrics"), f"{PREFIX}backlog_share", integration=name) == count


async def checked(path: Path) -> tuple[int, str, str]:
    """Exit code and output of `check`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "adapter", "check", f"--config.file={path}",
        cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()
