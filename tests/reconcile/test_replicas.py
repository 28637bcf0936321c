"""Of three replicas on one PostgreSQL one polls; when it is killed, another does, within two intervals."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from adapter.alertmanager import fingerprint_of
from tests.postgres import PostgresServer, postgres_server
from tests.reconcile.stage import labels, named, routed_to, settings, silence, write_config
from tests.stage import Adapter, adapter, fetch, free_port, sandbox, until, values

INTERVAL = 1.0  # seconds


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    with postgres_server("-c fsync=off") as server:
        yield server


async def polls(replicas: list[Adapter]) -> list[float]:
    texts = [await fetch(f"{replica.url}/metrics") for replica in replicas]
    return [values(text, "coc_adapter_reconcile_polls_total") for text in texts]


async def test_three_replicas_are_one_poller_and_one_ok_and_another_takes_over(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    sender_port, port = free_port(), free_port()
    url = f"http://127.0.0.1:{sender_port}"
    own = settings(url, external_urls=[url], interval=f"{INTERVAL:.0f}s", absent_polls=2, grace="1s")
    async with AsyncExitStack() as stack:
        coc = await stack.enter_async_context(sandbox())
        sender = await stack.enter_async_context(
            named(tmp_path, routed_to(f"http://127.0.0.1:{port}/webhook"), sender_port)
        )
        config = write_config(tmp_path, coc.port, own, await postgres.new_database())
        flags = (f"--web.listen-address=127.0.0.1:{port}", "--web.listen-address=127.0.0.1:0")
        first, *others = [
            await stack.enter_async_context(adapter(config, flag)) for flag in (flags[0], flags[1], flags[1])
        ]
        replicas = [first, *others]
        await sender.post(labels("DiskFull"), summary="x")
        await sender.post(labels("Later"), summary="x")
        names = [fingerprint_of(labels(name)) for name in ("DiskFull", "Later")]
        await until(lambda: all(coc.states(name) == ["alarm"] for name in names), "two alarms")
        async with silence(url, "DiskFull|Later"):
            await sender.post(labels("DiskFull"), resolved=True, summary="x")
            await until(lambda: coc.states(names[0]) == ["alarm", "ok"], "an ok")
            (leader,) = [number for number, count in enumerate(await polls(replicas)) if count]

            replicas.pop(leader).kill()
            killed = asyncio.get_running_loop().time()

            async def taken_over() -> bool:
                return any(await polls(replicas))

            await until(taken_over, "another poller")
            assert asyncio.get_running_loop().time() - killed < 2 * INTERVAL + 1
            await sender.post(labels("Later"), resolved=True, summary="x")
            await until(lambda: coc.states(names[1]) == ["alarm", "ok"], "another ok")
            assert sorted(map(bool, await polls(replicas))) == [False, True]
        assert [coc.states(name) for name in names] == [["alarm", "ok"]] * 2
