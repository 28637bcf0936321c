"""The benchmark's large stores have the reports that as many webhooks would leave."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from adapter.alertmanager import parse_webhook
from adapter.clock import SystemClock
from adapter.lifecycle import Policy
from adapter.store import open_store
from adapter.store.contract import Claim, Intake, Store
from bench import multiply
from bench.payloads import fresh
from tests.postgres import postgres_server

TIMES = 3


async def _opened(url: str) -> Store:
    return await open_store(url, backlog=10**6, clock=SystemClock())


async def _seed(url: str) -> None:
    store, clock = await _opened(url), SystemClock()
    policy = Policy(refresh_interval=0, id_per_episode=False)
    for body in fresh(multiply.SEED, per_webhook=100):
        webhook = parse_webhook(body)
        await store.accept(
            Intake(integration="default", webhook=webhook, received=clock.now(), revision="r", policy=policy)
        )
    await store.close()


async def _all_claims(url: str) -> list[Claim]:
    """Check the counts, then claim every report."""
    store = await _opened(url)
    try:
        counts = (await store.counts())["default"]
        assert (counts.pending, counts.open_alarms) == (TIMES * multiply.SEED, TIMES * multiply.SEED)
        every: list[Claim] = []
        while claims := (await store.claim("default", 500)).claims:
            every += claims
        return every
    finally:
        await store.close()


def _sound(claims: list[Claim]) -> bool:
    """Every alarm has one report, with its alert."""
    names = {claim.report.fingerprint for claim in claims}
    seqs = {claim.report.seq for claim in claims}
    whole = all(claim.report.raw.startswith(b'{"alert":') for claim in claims)
    return len(names) == len(seqs) == len(claims) == TIMES * multiply.SEED and whole


async def test_every_report_of_a_multiplied_sqlite_store_can_be_claimed(tmp_path: Path) -> None:
    path = tmp_path / "adapter.db"
    await _seed(f"sqlite:{path}")
    multiply.sqlite(path, TIMES * multiply.SEED)
    assert _sound(await _all_claims(f"sqlite:{path}"))


async def test_every_report_of_a_multiplied_postgresql_store_can_be_claimed() -> None:
    with postgres_server() as server:
        dsn = await server.new_database()
        await _seed(dsn)
        connection = await asyncpg.connect(dsn)
        await multiply.postgres(connection, TIMES * multiply.SEED)
        await connection.close()
        assert _sound(await _all_claims(dsn))


def test_a_statement_changes_the_given_columns_and_copies_the_others() -> None:
    statement = multiply.insertion("report", ["seq", "raw"], {"seq": "seq + n"}, "numbers")
    assert statement == "INSERT INTO report (seq, raw) SELECT seq + n, raw FROM report t, numbers"
