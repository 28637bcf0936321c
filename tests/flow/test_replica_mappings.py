"""Replicas on one PostgreSQL whose mappings differ: the newest revision decides, and the other one waits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import PostgresServer, postgres_server
from tests.stage import Adapter, adapter, alert, drained, fetch, post, sandbox, until, webhook, write_config

ALARMS = 20
MAPPING = """\
rules:
  - name: all
    alarm: {{alarmName: "{{{{ labels.alertname }}}}", alarmLevel: {level}, nameSpace: shop, applicationId: shop}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server("-c fsync=off") as running:
        yield running


def config(folder: Path, coc: int, store: str, level: str) -> Path:
    """An adapter.yml of its own, with mappings by which every alarm has this level."""
    (folder / "mappings").mkdir(parents=True)
    (folder / "mappings" / "all.yaml").write_text(MAPPING.format(level=level))
    path = write_config(folder, coc, "mappings: mappings\n")
    path.write_text(path.read_text().replace("sqlite:data/adapter.db", store))
    return path


async def status(service: Adapter) -> Any:
    return json.loads(await fetch(f"{service.admin_url}/api/v1/status"))


async def waits(service: Adapter) -> bool:
    return "newer mapping revision" in ((await status(service))["store"]["waits"] or "")


async def test_replicas_do_not_wait_for_one_with_newer_mappings_that_reaches_no_coc(
    tmp_path: Path, server: PostgresServer
) -> None:
    store = await server.new_database()
    async with (
        sandbox() as coc,
        adapter(config(tmp_path / "old", coc.port, store, "Minor")) as old,
        adapter(config(tmp_path / "new", 9, store, "Major")),  # nothing listens there
    ):
        await until(lambda: waits(old), "the replica with older mappings waits")
        body = webhook(*(alert(f"Lonely{number}") for number in range(ALARMS)))
        assert (await post(f"{old.url}/webhook", body))[0] == 200
        await until(lambda: len(coc.bodies) >= ALARMS, "every alarm at COC", 90.0)
        assert {one["alarmName"] for one in coc.bodies} == {f"Lonely{number}" for number in range(ALARMS)}


async def test_unchanged_alarms_are_updated_once_and_as_the_newest_mappings_say(
    tmp_path: Path, server: PostgresServer
) -> None:
    store = await server.new_database()
    body = webhook(*(alert(f"Same{number}") for number in range(ALARMS)))
    async with sandbox() as coc, adapter(config(tmp_path / "old", coc.port, store, "Minor")) as old:
        await post(f"{old.url}/webhook", body)
        await coc.received(ALARMS)
        async with (
            adapter(config(tmp_path / "new", coc.port, store, "Major")) as new,
            adapter(tmp_path / "old" / "adapter.yml") as older,
        ):
            for service in (old, older):
                await until(lambda service=service: waits(service), "the replica with older mappings waits")
                assert "this replica waits" in service.log_text
            assert not await waits(new)
            for _ in range(5):
                for service in (old, new, older):
                    assert (await post(f"{service.url}/webhook", body))[0] == 200
                    await drained(service.url)
            await post(f"{old.url}/webhook", webhook(alert("Fresh")))
            await coc.received(2 * ALARMS + 1)
            assert len(coc.bodies) == 2 * ALARMS + 1
            assert {one["alarmLevel"] for one in coc.bodies[ALARMS:]} == {"Major"}
        (tmp_path / "old" / "mappings" / "all.yaml").write_text(MAPPING.format(level="Major"))

        async def same() -> bool:
            return not await waits(old)

        await until(same, "nobody waits once all mappings are the same", 60.0)
