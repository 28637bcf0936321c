"""What is PostgreSQL's own: several replicas, leases, lost connections, migrations, settings of the server."""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from adapter.alarm import Kind, Outcome, Pause
from adapter.alertmanager import unpack
from adapter.clock import SystemClock
from adapter.errors import BacklogFull, StoreRefused, StoreUnavailable
from adapter.store.contract import Settlement
from adapter.store.postgres.connection import POOL_SIZE, Database
from adapter.store.postgres.migrations import migrate, migrations
from adapter.store.postgres.replicas import warnings
from adapter.store.postgres.store import PostgresStore, open_postgres
from adapter.store.views import AlarmQuery
from tests.builders import FOREVER, NOON, an_alert, an_intake, delivered, firing, resolved, settled_as
from tests.faults.proxy import breaking_proxy
from tests.postgres import PostgresServer, replicas, wrong_queues
from tests.stage import REPOSITORY, until

GOOD = {
    "synchronous_commit": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_standby_names": "",
    "standbys": 0,
}
PAUSE = Pause(reason="operator", since=NOON, by="test")

Pair = tuple[PostgresStore, PostgresStore]


@pytest.fixture
async def dsn(postgres: PostgresServer) -> str:
    return await postgres.new_database()


@pytest.fixture
async def pair(dsn: str) -> AsyncIterator[Pair]:
    async with replicas(dsn, 2) as (one, other):
        yield one, other


async def end_leases(server: PostgresServer, dsn: str) -> None:
    """What happens to a replica that is frozen for longer than its lease."""
    async with server.admin(dsn) as connection:
        await connection.execute("UPDATE alarm SET due = now(), lease_until = now() WHERE lease_until IS NOT NULL")


# Several replicas


async def test_the_same_alerts_at_two_replicas_at_once_are_one_episode(pair: Pair) -> None:
    names = [f"a{number}" for number in range(40)]
    orders = (names, names[::-1])  # the order of locks must not be that of the webhook
    for step in (firing, resolved, firing):
        receipts = await asyncio.gather(*(pair[n % 2].accept(step(*orders[n % 2])) for n in range(8)))
        assert sum(len(receipt.owed) for receipt in receipts) == 40
    assert {row.alarm.episode for row in await pair[0].alarms(AlarmQuery())} == {2}
    assert (await pair[1].counts())["default"].pending == 120


async def test_what_another_replica_did_is_counted_from_the_next_look_on(pair: Pair) -> None:
    await pair[0].accept(firing("a1", "a2"))
    receipt = await pair[1].accept(firing("b1"))
    assert (receipt.pending, receipt.open_alarms) == (1, 1)
    assert (await pair[1].counts())["default"].pending == 3
    receipt = await pair[1].accept(resolved("a1"))
    assert (receipt.pending, receipt.open_alarms) == (4, 2)


async def test_the_bound_of_the_backlog_counts_other_replicas_from_the_next_look_on(dsn: str) -> None:
    async with replicas(dsn, 2, backlog=20) as (one, other):
        await one.accept(firing(*(f"a{number}" for number in range(20))))
        with pytest.raises(BacklogFull):
            await one.accept(firing("own"))
        await other.accept(firing("unseen"))
        await other.counts()
        with pytest.raises(BacklogFull, match="21 reports wait"):
            await other.accept(firing("seen"))


async def test_claims_are_never_shared_by_replicas(pair: Pair) -> None:
    names = [f"a{number:03}" for number in range(100)]
    await pair[0].accept(firing(*names))
    claims = await asyncio.gather(*(pair[n % 2].claim("default", 7) for n in range(20)))
    assert sorted(claim.report.fingerprint for some in claims for claim in some.claims) == names


async def test_a_pause_of_one_replica_is_seen_by_the_other(pair: Pair) -> None:
    await pair[0].set_pause("default", PAUSE)
    assert await pair[1].pauses() == {"default": PAUSE}


async def test_replicas_know_each_other_and_their_mappings(pair: Pair) -> None:
    await pair[0].heartbeat("r1")
    await pair[1].heartbeat("r2")
    shown = {row["name"]: (row["revision"], row["alive"]) for row in pair[1].describe()["replicas"]}
    assert shown == {"replica-0": ("r1", True), "replica-1": ("r2", True)}
    await pair[0].close()
    await pair[1].probe()
    assert [row["name"] for row in pair[1].describe()["replicas"]] == ["replica-1"]


async def test_a_heartbeat_counts_the_replicas_that_live(postgres: PostgresServer, dsn: str, pair: Pair) -> None:
    assert [await store.heartbeat("r1") for store in pair] == [2, 2]
    async with postgres.admin(dsn) as connection:
        await connection.execute("UPDATE replica SET seen = now() - interval '36 s' WHERE name = 'replica-1'")
    assert await pair[0].heartbeat("r1") == 1
    assert await pair[1].heartbeat("r1") == 2


async def test_no_refresh_is_owed_where_coc_answers_no_other_replica_and_reports_wait(dsn: str) -> None:
    async with replicas(dsn, 3) as (one, two, three):
        await one.accept(firing("a1", integration="down"))

        async def told(*silent: list[str]) -> list[bool]:
            for store, names in zip((one, two, three), silent, strict=True):
                await store.heartbeat("r1", names)
            for store, names in zip((one, two, three), silent, strict=True):
                await store.heartbeat("r1", names)
                await store.counts()
            return [store.silent("down") for store in (one, two, three)]

        assert await told([], ["down", "quiet"], ["down"]) == [True, False, False]
        assert not one.silent("quiet")  # nothing waits: a refresh will tell
        assert await told([], ["down"], []) == [False, False, False]
        await three.close()
        await one.heartbeat("r1")
        assert one.silent("down")
        await two.close()
        await one.heartbeat("r1")
        assert not one.silent("down")  # alone it goes by what it meets itself


async def test_an_alarm_that_another_replica_pruned_does_not_hold_back_when_others_were_last_seen(
    postgres: PostgresServer, dsn: str, pair: Pair
) -> None:
    names = [f"a{number}" for number in range(1001)]  # more than are written at a time
    for _ in range(2):
        await pair[0].accept(firing("pruned", *names))
    async with postgres.admin(dsn) as connection:
        await connection.execute("DELETE FROM report WHERE alarm = (SELECT id FROM alarm WHERE fingerprint = 'pruned')")
        await connection.execute("DELETE FROM alarm WHERE fingerprint = 'pruned'")
    await pair[0].maintain(NOON, FOREVER)
    assert [row.repeats for row in await pair[1].alarms(AlarmQuery(limit=2000))] == [1] * len(names)


# Leases


async def test_a_worker_frozen_beyond_its_lease_makes_the_last_state_be_said_again(
    postgres: PostgresServer, dsn: str, pair: Pair
) -> None:
    await pair[0].accept(firing("a1"))
    (late,) = (await pair[0].claim("default", 1)).claims
    await pair[0].accept(resolved("a1"))
    await end_leases(postgres, dsn)
    for kind in (Kind.ALARM, Kind.OK):
        (claim,) = (await pair[1].claim("default", 1)).claims
        assert claim.report.kind is kind
        await pair[1].settle([delivered(claim)])

    (settled,) = await pair[0].settle([delivered(late)])
    assert (settled.counted, settled.reasserted) == (False, True)
    assert (await pair[0].counts())["default"].pending == 1

    (again,) = (await pair[1].claim("default", 1)).claims
    assert (again.report.kind, again.report.body) == (Kind.REASSERT, claim.report.raw)
    assert unpack(again.report.raw)[0]["status"] == "resolved"
    (settled,) = await pair[1].settle([delivered(again)])
    assert settled.counted
    assert await pair[1].counts() == {}
    assert await wrong_queues(postgres, dsn) == 0


async def test_nothing_is_said_again_while_something_newer_waits(
    postgres: PostgresServer, dsn: str, pair: Pair
) -> None:
    await pair[0].accept(firing("a1"))
    (late,) = (await pair[0].claim("default", 1)).claims
    await end_leases(postgres, dsn)
    (claim,) = (await pair[1].claim("default", 1)).claims
    await pair[1].settle([delivered(claim)])
    await pair[1].accept(resolved("a1"))
    (settled,) = await pair[0].settle([delivered(late)])
    assert (settled.counted, settled.reasserted) == (False, False)
    assert (await pair[0].counts())["default"].pending == 1


async def test_a_late_worker_that_sent_nothing_changes_nothing(postgres: PostgresServer, dsn: str, pair: Pair) -> None:
    await pair[0].accept(firing("a1"))
    (late,) = (await pair[0].claim("default", 1)).claims
    await end_leases(postgres, dsn)
    (claim,) = (await pair[1].claim("default", 1)).claims
    (settled,) = await pair[0].settle([Settlement(claim=late, at=NOON)])
    assert settled.counted is False
    assert (await pair[0].claim("default", 1)).claims == ()  # still the other's
    (settled,) = await pair[1].settle([delivered(claim)])
    assert settled.counted is True


async def test_only_under_a_lease_that_was_not_given_back_may_a_report_have_been_sent(
    postgres: PostgresServer, dsn: str, pair: Pair
) -> None:
    await pair[0].accept(firing("a1", "a2", "a3"))
    for _ in range(2):
        held, given_back = (await pair[0].claim("default", 2)).claims
        assert (held.maybe_sent, given_back.maybe_sent) == (False, False)
        await pair[0].settle([Settlement(claim=claim, at=NOON) for claim in (held, given_back)])
    held, given_back = (await pair[0].claim("default", 2)).claims
    await pair[0].settle([Settlement(claim=given_back, at=NOON)])
    await end_leases(postgres, dsn)
    claims = (await pair[1].claim("default", 3)).claims
    assert {claim.report.fingerprint for claim in claims if claim.maybe_sent} == {held.report.fingerprint}


async def test_after_a_late_worker_sent_something_the_report_that_waits_may_have_been_sent(
    postgres: PostgresServer, dsn: str, pair: Pair
) -> None:
    await pair[0].accept(firing("a1"))
    (late,) = (await pair[0].claim("default", 1)).claims
    await pair[0].accept(firing("a1", text="1"))
    await end_leases(postgres, dsn)
    (claim,) = (await pair[1].claim("default", 1)).claims
    await pair[1].settle([delivered(claim)])
    await pair[0].settle([delivered(late)])
    (update,) = (await pair[1].claim("default", 1)).claims
    assert (update.report.kind, update.maybe_sent) == (Kind.UPDATE, True)


async def test_an_update_under_way_is_not_replaced_until_its_lease_is_over(
    postgres: PostgresServer, dsn: str, pair: Pair
) -> None:
    await pair[0].accept(firing("a1"))
    (claim,) = (await pair[0].claim("default", 1)).claims
    await pair[0].settle([delivered(claim)])
    await pair[0].accept(firing("a1", text="1"))
    await pair[0].claim("default", 1)
    assert (await pair[1].accept(firing("a1", text="2"))).superseded == 0
    assert (await pair[1].accept(firing("a1", text="3"))).superseded == 1
    await end_leases(postgres, dsn)
    (claim,) = (await pair[1].claim("default", 1)).claims
    await pair[1].settle([delivered(claim)])
    assert (await pair[1].accept(firing("a1", text="4"))).superseded == 1


async def test_sending_ends_well_before_the_lease_does(dsn: str) -> None:
    async with replicas(dsn, 1, lease=25.0) as (store,):
        await store.accept(firing("a1"))
        before = time.monotonic()
        (claim,) = (await store.claim("default", 1)).claims
        assert claim.send_before is not None
        assert before + 12.5 <= claim.send_before <= time.monotonic() + 12.5


# Lost connections


async def test_a_settlement_that_was_not_confirmed_counts_even_if_the_next_report_was_claimed_meanwhile(
    postgres: PostgresServer, dsn: str
) -> None:
    committed = 0
    async with replicas(dsn, 1) as (direct,), breaking_proxy(postgres) as proxy:
        store = await open_postgres(proxy.dsn(dsn), backlog=1000, clock=SystemClock(), replica="wired")
        for message in range(1, 20):
            name = f"i{message}"
            await store.accept(firing("a1", integration=name))
            await store.accept(resolved("a1", integration=name))
            (claim,) = (await store.claim(name, 1)).claims
            proxy.break_at(message, "after")
            with suppress(StoreUnavailable):
                await store.settle([delivered(claim)])
            if not proxy.broke:
                break
            next_ones = (await direct.claim(name, 1)).claims
            (settled,) = await store.settle([delivered(claim)])
            assert (settled.counted, settled.reasserted) == (True, False)
            for one in next_ones:
                committed += 1
                (settled,) = await direct.settle([delivered(one)])
                assert (settled.counted, settled.pending) == (True, 0)
        await store.close()
    assert committed
    assert await wrong_queues(postgres, dsn) == 0


async def test_the_store_is_unavailable_while_the_server_is_away_and_comes_back_by_itself(
    postgres: PostgresServer, dsn: str
) -> None:
    async with replicas(dsn, 1) as (store,):
        await store.accept(firing("a1"))
        postgres.stop()
        try:
            for call in (lambda: store.accept(firing("a2")), lambda: store.claim("default", 1), store.probe):
                with pytest.raises(StoreUnavailable):
                    await call()
        finally:
            postgres.start()
        assert (await store.accept(firing("a2"))).pending == 2


@asynccontextmanager
async def standby_gone(server: PostgresServer) -> AsyncIterator[None]:
    """Every commit waits for a synchronous standby that is not there."""
    async with server.admin() as admin:
        await admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await admin.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            await admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            await admin.execute("SELECT pg_reload_conf()")


async def test_a_commit_that_did_not_reach_its_standby_is_not_acknowledged(postgres: PostgresServer, dsn: str) -> None:
    async with replicas(dsn, 1) as (store,), standby_gone(postgres), postgres.admin() as admin:
        accepting = asyncio.ensure_future(store.accept(firing("a1")))
        async with asyncio.timeout(5):
            cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            while not await admin.fetch(cancel):
                await asyncio.sleep(0.02)
        with pytest.raises(StoreUnavailable, match="not on the standby"):
            await accepting


async def test_while_a_standby_is_gone_a_replica_keeps_to_its_connections_and_goes_on_when_it_is_back(
    postgres: PostgresServer,
) -> None:
    served, starting = await postgres.new_database(), await postgres.new_database()

    async def backends(dsn: str) -> int:
        async with postgres.admin() as connection:
            count = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1"
            return int(await connection.fetchval(count, dsn.rpartition("/")[2]))

    async with replicas(starting, 1):
        pass
    async with replicas(served, 1) as (store,):
        async with standby_gone(postgres):
            for turn in range(3):
                calls: list[Awaitable[object]] = [store.accept(firing(f"{turn}-{n}")) for n in range(POOL_SIZE)]
                if turn == 0:
                    calls.append(open_postgres(starting, backlog=9, clock=SystemClock()))
                results = await asyncio.gather(*calls, return_exceptions=True)
                assert all(isinstance(result, StoreUnavailable) for result in results), results
            assert await backends(served) == POOL_SIZE
            assert await backends(starting) == 0
            with pytest.raises(StoreUnavailable, match="10 commits wait for PostgreSQL"):
                await store.probe()

        async def serves() -> bool:
            with suppress(StoreUnavailable):
                await store.probe()
                return True
            return False

        await until(serves, "the store to commit again")
        assert (await store.counts())["default"].pending == POOL_SIZE
        assert (await store.accept(firing("new"))).pending == POOL_SIZE + 1
        assert await backends(served) <= POOL_SIZE


async def test_a_dead_server_is_noticed_by_an_idle_connection_within_seconds(pair: Pair, dsn: str) -> None:
    port = int(dsn.rpartition(":")[2].partition("/")[0])
    fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    timers = [row[5].split(":") for row in fields if row[2].endswith(f":{port:04X}") and row[3] == "01"]
    assert timers
    for kind, ticks in timers:
        assert (kind, int(ticks, 16) <= 5 * os.sysconf("SC_CLK_TCK")) == ("02", True)  # 02: keepalive


async def test_a_cancelled_call_ends_and_leaves_the_store_usable(dsn: str) -> None:
    async with replicas(dsn, 1) as (store,):
        for turn in range(20):
            task = asyncio.ensure_future(store.accept(firing(f"a{turn}")))
            for _ in range(turn):
                await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.wait({task}, timeout=10)
            assert task.done()
        await store.accept(firing(*(f"a{turn}" for turn in range(20))))
        assert (await store.counts())["default"].pending == 20  # a cancelled call may have been committed, uncounted


async def test_a_repeat_commits_nothing(dsn: str) -> None:
    commits: list[float] = []
    store = await open_postgres(dsn, backlog=9, clock=SystemClock(), on_commit=commits.append)
    await store.accept(firing("a1"))
    before = len(commits)
    await store.accept(firing("a1"))
    assert len(commits) == before
    await store.accept(resolved("a1"))
    assert len(commits) == before + 1
    await store.close()


# What alerts may hold


async def test_a_fingerprint_of_any_length_and_with_nul_is_taken(dsn: str) -> None:
    async with replicas(dsn, 1) as (store,):
        names = ["a\0b", "x" * 100_000, "x" * 100_001]
        assert len((await store.accept(firing(*names))).owed) == 3
        assert (await store.accept(firing(*names))).owed == ()
        claims = (await store.claim("default", 10)).claims
        assert {claim.report.fingerprint for claim in claims} == set(names)
        assert [settled.counted for settled in await store.settle([delivered(claim) for claim in claims])] == [True] * 3


async def test_labels_with_nul_are_found_by_text(dsn: str) -> None:
    async with replicas(dsn, 1) as (store,):
        await store.accept(an_intake(an_alert("a1", labels={"x": "left\0Right"}), an_alert("a2")))
        assert [row.alarm.fingerprint for row in await store.alarms(AlarmQuery(text="t\0r"))] == ["a1"]


# Schema and settings


def test_each_migration_has_a_number_of_its_own_without_a_gap() -> None:
    files = [*(REPOSITORY / "adapter/store/postgres/schema").glob("*.sql")]
    assert list(migrations()) == list(range(1, len(files) + 1))


async def test_replicas_that_start_at_once_migrate_once(postgres: PostgresServer, dsn: str) -> None:
    async def start(number: int) -> None:
        store = await open_postgres(dsn, backlog=9, clock=SystemClock(), replica=f"replica-{number}")
        await store.close()

    await asyncio.gather(*(start(number) for number in range(5)))
    async with postgres.admin(dsn) as connection:
        assert await connection.fetchval("SELECT value FROM meta WHERE name = 'schema'") == str(max(migrations()))


async def test_a_later_migration_is_applied_by_one_of_those_that_start(dsn: str) -> None:
    steps = migrations()
    more = steps | {max(steps) + 1: "CREATE TABLE later (id int); INSERT INTO later VALUES (1)"}
    databases = [await Database.connect(dsn, clock=SystemClock()) for _ in range(3)]
    try:
        await migrate(databases[0], steps)
        await asyncio.gather(*(migrate(database, more) for database in databases))
        async with databases[0].read() as connection:
            assert await connection.fetchval("SELECT count(*) FROM later") == 1
        with pytest.raises(StoreRefused, match="newer adapter"):
            await migrate(databases[0], steps)
    finally:
        for database in databases:
            await database.close()


async def test_a_failed_migration_leaves_the_schema_as_it_was(dsn: str) -> None:
    steps = migrations()
    database = await Database.connect(dsn, clock=SystemClock())
    try:
        await migrate(database, steps)
        with pytest.raises(Exception, match="syntax"):
            await migrate(database, steps | {max(steps) + 1: "CREATE TABLE later (id int); oops"})
        await migrate(database, steps)
    finally:
        await database.close()


async def test_a_newer_schema_is_refused(postgres: PostgresServer, dsn: str) -> None:
    async with replicas(dsn, 1):
        pass
    async with postgres.admin(dsn) as connection:
        await connection.execute("UPDATE meta SET value = '999' WHERE name = 'schema'")
    with pytest.raises(StoreRefused, match="version 999"):
        await open_postgres(dsn, backlog=9, clock=SystemClock())


@pytest.mark.parametrize(
    "breakage",
    ["DELETE FROM meta", *(f"UPDATE meta SET value = '{value}'" for value in ("", "abc", "-1", "1.5", "9" * 40))],
)
async def test_a_broken_row_of_the_schemas_version_is_refused_in_one_line(
    postgres: PostgresServer, dsn: str, breakage: str
) -> None:
    async with replicas(dsn, 1):
        pass
    async with postgres.admin(dsn) as connection:
        await connection.execute(breakage)
    with pytest.raises(StoreRefused, match=r"^the row of coc_adapter\.meta with the schema's version is [^\n]*$"):
        await open_postgres(dsn, backlog=9, clock=SystemClock())


async def test_no_server_is_unavailable_not_refused() -> None:
    with pytest.raises(StoreUnavailable, match="PostgreSQL"):
        await open_postgres("postgresql://app:canary@127.0.0.1:1/none", backlog=9, clock=SystemClock())


@pytest.mark.parametrize(
    ("dsn", "error", "message"),
    [
        ("postgresql://app:s3cret@127.0.0.1:1/coc", StoreUnavailable, "PostgreSQL at 127.0.0.1:1 cannot be used: "),
        (
            "postgresql://[::1]:1,127.0.0.1:2/coc",
            StoreUnavailable,
            "PostgreSQL at [::1]:1, 127.0.0.1:2 cannot be used: ",
        ),
        ("postgresql:///coc?host=/nowhere&password=s3cret", StoreUnavailable, "PostgreSQL at /nowhere:5432 cannot "),
        ("postgresql://app:s3cret@127.0.0.1:s3cret/coc", StoreRefused, "the store's URL cannot be read; "),
        ("postgresql://app:s3cret/#x@127.0.0.1:1/coc", StoreRefused, "the store's URL cannot be read; "),
        ("postgresql://app:1/s3cret@127.0.0.1:1/coc", StoreRefused, "the store's URL cannot be read; "),
        ("postgresql://app:1?s3cret@127.0.0.1:1/coc", StoreRefused, "the store's URL cannot be read; "),
        ("postgresql://app:s3cret@[::1/coc", StoreRefused, "the store's URL cannot be read; "),
        ("postgresql://app:s3cret@h/coc?sslmode=x", StoreRefused, "the store's URL cannot be used: "),
    ],
)
async def test_a_start_without_postgresql_names_host_and_port_in_one_line_and_no_password(
    dsn: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        await open_postgres(dsn, backlog=1, clock=SystemClock())
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


async def test_a_password_may_come_from_the_environment_or_a_password_file(
    postgres: PostgresServer, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = postgres.folder / "data" / "pg_hba.conf"
    async with postgres.admin(dsn) as connection:
        await connection.execute("CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 's3cret'")
        rules.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
        await connection.execute("SELECT pg_reload_conf()")
    guarded = dsn.replace("app@", "guarded@")
    with pytest.raises(StoreUnavailable, match="password"):
        await open_postgres(guarded, backlog=1, clock=SystemClock())
    passwords = tmp_path / "pgpass"
    passwords.write_text("*:*:*:guarded:s3cret\n")
    passwords.chmod(0o600)
    for name, value in (("PGPASSWORD", "s3cret"), ("PGPASSFILE", str(passwords))):
        with monkeypatch.context() as environment:
            environment.setenv(name, value)
            await (await open_postgres(guarded, backlog=1, clock=SystemClock())).close()


@asynccontextmanager
async def guarded(server: PostgresServer, dsn: str, password: str) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    """The role `rotated` needs this password, or the next one; a new one ends its connections."""
    rules = server.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    async with server.admin(dsn) as connection:

        async def rotate(password: str) -> None:
            await connection.execute(f"ALTER ROLE rotated PASSWORD '{password}'")
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename='rotated'"
            )

        await connection.execute(f"CREATE ROLE rotated LOGIN SUPERUSER PASSWORD '{password}'")
        rules.write_text("host all rotated 127.0.0.1/32 scram-sha-256\n" + before)
        await connection.execute("SELECT pg_reload_conf()")
        try:
            yield rotate
        finally:
            rules.write_text(before)
            await connection.execute("SELECT pg_reload_conf()")
            await connection.execute("DROP OWNED BY rotated CASCADE; DROP ROLE rotated")


async def test_a_rotated_password_is_read_again_whichever_of_server_and_file_learns_it_first(
    postgres: PostgresServer, dsn: str
) -> None:
    held = "one"

    def url() -> str:
        return dsn.replace("app@", f"rotated:{held}@")

    async def problem() -> str:
        try:
            await store.probe()
        except StoreUnavailable as exc:
            return str(exc)
        return ""

    async def refused() -> bool:
        return 'password authentication failed for user "rotated"' in await problem()

    async def serves() -> bool:
        return not await problem()

    async with guarded(postgres, dsn, "one") as rotate:
        store = await open_postgres(url(), backlog=9, clock=SystemClock(), reread=url)
        await rotate("two")
        await until(refused, "a refused login")
        held = "two"
        await until(serves, "a login by the new password")
        held = "three"
        assert store.log_in_by(url())
        await rotate("two")
        await until(serves, "a login by the password that the server still knows")
        await rotate("three")
        await until(serves, "a login by the password of the file")
        await store.close()


@pytest.mark.parametrize("other", ["other@127.0.0.1:1/x", "app@[::1]/none", "app:a/b@127.0.0.1/x", "?sslmode=disable"])
async def test_a_running_store_stays_on_its_database_whatever_its_file_names(dsn: str, other: str) -> None:
    async with replicas(dsn, 1) as (store,):
        assert store.log_in_by(dsn.replace("app@", "app:new@"))
        assert not store.log_in_by(dsn + other if other.startswith("?") else f"postgresql://{other}")
        await store.probe()


async def test_the_password_is_shown_nowhere(dsn: str) -> None:
    secret = dsn.replace("app@", "app:canary@")
    async with replicas(secret, 1) as (store,):
        assert "canary" not in str(store.describe())
        assert store.describe()["place"] == dsn.replace("app@", "")


async def test_a_server_without_fsync_is_warned_of(pair: Pair) -> None:
    assert any("fsync is off" in warning for warning in pair[0].describe()["warnings"])


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, None),
        ({"fsync": "off"}, "fsync is off"),
        ({"full_page_writes": "off"}, "full_page_writes is off"),
        ({"synchronous_commit": "local"}, "synchronous_commit is local"),
        ({"standbys": 1}, "synchronous_standby_names is empty"),
        ({"standbys": 1, "synchronous_standby_names": "b"}, None),
    ],
)
def test_settings_that_weaken_the_promise_are_named(changed: dict[str, object], text: str | None) -> None:
    found = warnings(GOOD | changed)
    assert found == [] if text is None else [text in warning for warning in found] == [True]


async def test_the_outcome_of_a_late_worker_is_not_counted_twice(
    postgres: PostgresServer, dsn: str, pair: Pair
) -> None:
    await pair[0].accept(firing("a1"))
    (late,) = (await pair[0].claim("default", 1)).claims
    await end_leases(postgres, dsn)
    (claim,) = (await pair[1].claim("default", 1)).claims
    await pair[1].settle([settled_as(claim, Outcome.DEAD)])
    (settled,) = await pair[0].settle([replace(delivered(late), outcome=Outcome.DELIVERED)])
    assert (settled.counted, settled.reasserted) == (False, False)
    (row,) = await pair[0].alarms(AlarmQuery())
    assert row.accepted is not None  # COC has it, although the lease was lost


async def test_the_newest_revision_of_the_living_replicas_decides_whatever_was_reloaded_since(
    postgres: PostgresServer,
) -> None:
    async with replicas(await postgres.new_database(), 3) as (one, two, three):
        await one.heartbeat("r1")
        assert one.deciding("r1") == "r1"
        await two.heartbeat("r2")
        await three.heartbeat("r1")
        await one.heartbeat("r1")
        assert [store.deciding(own) for store, own in ((one, "r1"), (two, "r2"), (three, "r1"))] == ["r2"] * 3
        assert one.deciding("r3") == "r3", "it is newer than what the last heartbeat told"
        assert "newer mapping revision r2, this one has r1" in one.describe()["waits"]
        assert two.describe()["waits"] is None
        await two.heartbeat("r1")  # taken back: nobody has r2 any more
        await one.heartbeat("r1")
        assert one.deciding("r1") == "r1"


async def test_a_replica_with_older_mappings_claims_only_what_others_left(postgres: PostgresServer) -> None:
    dsn = await postgres.new_database()
    async with replicas(dsn, 2) as (old, new):
        await old.heartbeat("r1")
        await new.heartbeat("r2")
        await old.heartbeat("r1")
        await old.accept(firing("a1", "a2"))
        waiting = await old.claim("default", 9)
        assert waiting.claims == ()
        assert waiting.next_due == pytest.approx(30, abs=2)
        assert (await old.claim("default", 9, ignore_delay=True)).claims == ()
        assert len((await new.claim("default", 1)).claims) == 1
        async with postgres.admin(dsn) as connection:
            await connection.execute("UPDATE alarm SET due = due - interval '31 s' WHERE lease_until IS NULL")
        assert len((await old.claim("default", 9)).claims) == 1
