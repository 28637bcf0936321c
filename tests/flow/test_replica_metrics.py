"""Two replicas on one PostgreSQL: the law holds for their sum, both show the same backlog, they share one rate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapter.app import REFRESH_SECONDS
from tests.postgres import PostgresServer, postgres_server
from tests.stage import Adapter, adapter, alert, fetch, post, sandbox, values, webhook, write_config

PREFIX = "coc_adapter_"
PATIENCE = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


async def test_the_law_holds_over_the_sum_of_the_replicas_and_each_shows_the_same_backlog(
    tmp_path: Path, server: PostgresServer
) -> None:
    async with sandbox() as coc:
        config = write_config(tmp_path, coc.port)
        config.write_text(config.read_text().replace("sqlite:data/adapter.db", await server.new_database()))
        await coc.fail({"status": 503})
        async with adapter(config) as one, adapter(config) as other:
            for number in range(20):
                await post(f"{(one, other)[number % 2].url}/webhook", webhook(alert(f"Shared{number}")))
            await agree(one, other, pending=20)
            await coc.fail()
            await post(f"{one.url}/webhook", webhook(alert("After")))
            await coc.received(21)
            await agree(one, other, pending=0)


async def test_a_rate_limit_holds_over_the_sum_of_the_replicas(tmp_path: Path, server: PostgresServer) -> None:
    rate, alerts = 20.0, 100
    async with sandbox() as coc:
        config = write_config(tmp_path, coc.port, f"    rate_limit: {rate}")
        config.write_text(config.read_text().replace("sqlite:data/adapter.db", await server.new_database()))
        async with adapter(config) as one, adapter(config) as other:
            await heartbeats(one, other)
            started = asyncio.get_running_loop().time()
            for number in range(alerts):
                await post(f"{(one, other)[number % 2].url}/webhook", webhook(alert(f"Limited{number}")))
            await coc.received(alerts)
            seconds = asyncio.get_running_loop().time() - started
    assert alerts / rate * 0.9 <= seconds <= alerts / rate * 1.6


async def heartbeats(*replicas: Adapter) -> None:
    """Wait until all replicas have run for longer than a heartbeat, so that each has counted the others."""
    async with asyncio.timeout(PATIENCE):
        while True:
            status = json.loads(await fetch(f"{replicas[0].admin_url}/api/v1/status"))
            ages = [replica["age"] for replica in status["store"]["replicas"]]
            if len(ages) == len(replicas) and min(ages) > REFRESH_SECONDS + 1:
                return
            await asyncio.sleep(0.1)


async def agree(*replicas: Adapter, pending: int) -> None:
    """Wait until every replica shows this backlog, and the law holds for the sum of their counters."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while True:
        scrapes = [await fetch(f"{replica.url}/metrics") for replica in replicas]
        shown = [values(scrape, f"{PREFIX}reports_pending") for scrape in scrapes]
        owed = sum(values(scrape, f"{PREFIX}reports_enqueued_total") for scrape in scrapes)
        settled = sum(values(scrape, f"{PREFIX}reports_total") for scrape in scrapes)
        if shown == [pending] * len(replicas) and owed - settled == pending:
            return
        assert asyncio.get_running_loop().time() < end, f"pending {shown}, enqueued {owed}, settled {settled}"
        await asyncio.sleep(0.2)
