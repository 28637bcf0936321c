"""What an operator does to the database of a running service."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from tests.postgres import PostgresServer, postgres_server
from tests.stage import Adapter, adapter, alert, fetch, post, sandbox, until, webhook, write_config


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server("-c fsync=off") as running:
        yield running


async def test_a_new_password_in_the_file_of_the_store_is_used_without_a_restart(
    tmp_path: Path, server: PostgresServer
) -> None:
    dsn = await server.new_database()
    file = tmp_path / "store.url"
    async with server.admin() as admin, sandbox() as coc:

        async def require(password: str) -> None:
            file.write_text(dsn.replace("app@", f"rotated:{password}@"))
            await admin.execute(f"ALTER ROLE rotated PASSWORD '{password}'")
            await admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'rotated'"
            )

        await admin.execute("CREATE ROLE rotated LOGIN SUPERUSER")
        rules = server.folder / "data" / "pg_hba.conf"
        rules.write_text("host all rotated 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
        await admin.execute("SELECT pg_reload_conf()")
        await require("first-s3cret")
        config = write_config(tmp_path, coc.port)
        config.write_text(config.read_text().replace("store: sqlite:data/adapter.db", f"store_file: {file}"))
        async with adapter(config) as service:
            assert (await post(f"{service.url}/webhook", webhook(alert("Before"))))[0] == 200
            await require("second-s3cret")

            async def taken() -> bool:
                return (await post(f"{service.url}/webhook", webhook(alert("After"))))[0] == 200

            await until(taken, "a webhook to be taken by the new password")
            assert "store's changed URL" in service.log_text
            await coc.received(2)

            async def reload() -> str:
                async with aiohttp.ClientSession() as session, session.post(f"{service.admin_url}/-/reload") as answer:
                    assert answer.status == 200
                    return await answer.text()

            file.write_text(dsn.replace("app@", "rotated:third-s3cret@"))
            assert "restart" not in (answer := await reload())
            assert f"{file}:1:1: warning: PostgreSQL refuses the login of the store's URL" in answer
            assert (await post(f"{service.url}/webhook", webhook(alert("Meanwhile"))))[0] == 200
            await require("third-s3cret")

            async def accepted() -> bool:
                return json.loads(await fetch(f"{service.admin_url}/api/v1/status"))["mapping"]["findings"] == []

            await until(accepted, "the login to be accepted")
            assert "refuses" not in await reload()
            for _ in range(2):
                file.write_text("postgresql://rotated:third-s3cret@127.0.0.1:1/other")
                assert "restart to apply it" in await reload()
            assert (await post(f"{service.url}/webhook", webhook(alert("Later"))))[0] == 200
            assert service.log_text.count('msg="store warning"') == 1
            assert "s3cret" not in service.log_text


_numbers = itertools.count()


async def ready(service: Adapter) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"{service.url}/-/ready") as answer:
        return answer.status, await answer.text()


async def new_alarms(service: Adapter) -> set[int]:
    """The answers to five webhooks, each with an alert of its own."""
    bodies = [webhook(alert(f"New{next(_numbers)}")) for _ in range(5)]
    return {status for status, _ in await asyncio.gather(*(post(f"{service.url}/webhook", body) for body in bodies))}


async def refused_until_mended(service: Adapter, named: str) -> None:
    """Every new alarm is answered 503, readiness says so with the table, and the log in one line."""
    lines = service.log_text.count('msg="webhook refused"')
    assert await new_alarms(service) == {503}
    status, text = await ready(service)
    assert (status, named in text) == (503, True), text
    assert "webhooks were not committed: " in text
    assert service.log_text.count('msg="webhook refused"') <= lines + 1
    assert "a bug in the adapter" not in service.log_text


async def takes_again(service: Adapter) -> None:
    assert await new_alarms(service) == {200}
    assert (await ready(service))[0] == 200


def trigger(does: str, table: str = "report") -> str:
    return (
        f"CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {does}; END$$;"
        f"CREATE TRIGGER refusing BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()"
    )


async def test_readiness_follows_what_intake_meets_on_postgresql(tmp_path: Path, server: PostgresServer) -> None:
    dsn = await server.new_database()
    async with server.admin(dsn) as admin, sandbox() as coc:
        await admin.execute("CREATE ROLE plain LOGIN; GRANT CREATE ON DATABASE " + dsn.rpartition("/")[2] + " TO plain")
        config = write_config(tmp_path, coc.port)
        config.write_text(config.read_text().replace("sqlite:data/adapter.db", dsn.replace("app@", "plain@")))
        async with adapter(config) as service:
            await takes_again(service)
            for fault, mended, named in (
                ("REVOKE INSERT ON report FROM plain", "GRANT INSERT ON report TO plain", "for table report"),
                ("ALTER TABLE report RENAME raw TO gone", "ALTER TABLE report RENAME gone TO raw", "report"),
                ("ALTER TABLE alarm RENAME TO gone", "ALTER TABLE gone RENAME TO alarm", "alarm"),
                (
                    "ALTER TABLE webhook ADD x int NOT NULL DEFAULT 1; ALTER TABLE webhook ALTER x DROP DEFAULT",
                    "ALTER TABLE webhook DROP x",
                    "webhook",
                ),
                (
                    "ALTER TABLE report ADD CONSTRAINT few CHECK (episode > 5) NOT VALID",
                    "ALTER TABLE report DROP CONSTRAINT few",
                    "report",
                ),
                (
                    "ALTER TABLE alarm ALTER coc_alarm_id TYPE varchar(8) USING 'short'",
                    "ALTER TABLE alarm ALTER coc_alarm_id TYPE text",
                    "alarm",
                ),
                (trigger("RAISE EXCEPTION 'no'"), "DROP TRIGGER refusing ON report", "report"),
                (trigger("RETURN NULL"), "DROP TRIGGER refusing ON report", "the table report"),
                (trigger("RETURN NULL", "alarm"), "DROP TRIGGER refusing ON alarm", ""),
            ):
                await admin.execute(fault)
                await refused_until_mended(service, named)
                await admin.execute(mended)
                await takes_again(service)
            async with admin.transaction():  # as CREATE INDEX does for minutes
                await admin.execute("LOCK TABLE report IN SHARE MODE")
                await refused_until_mended(service, "(in a statement on webhook, report)")
            await takes_again(service)
            (line,) = [
                line for line in service.log_text.splitlines() if "permission denied" in line and "webhook" in line
            ]
            assert "permission denied for table report (in a statement on webhook, report)" in line


def renamed(table: str, column: str) -> tuple[str, str, str]:
    return f"ALTER TABLE {table} RENAME {column} TO gone", f"ALTER TABLE {table} RENAME gone TO {column}", table


def refusing(table: str, how: str) -> tuple[str, str, str]:
    made = f"CREATE TRIGGER refusing BEFORE INSERT ON {table} BEGIN SELECT RAISE({how}); END"
    return made, "DROP TRIGGER refusing", table


def viewed(table: str) -> tuple[str, str, str]:
    made = f"ALTER TABLE {table} RENAME TO gone; CREATE VIEW {table} AS SELECT * FROM gone"
    return made, f"DROP VIEW {table}; ALTER TABLE gone RENAME TO {table}", table


SQLITE_FAULTS = (
    ("ALTER TABLE webhook RENAME TO gone", "ALTER TABLE gone RENAME TO webhook", "webhook"),
    renamed("report", "raw"),
    renamed("alarm", "receiver"),
    renamed("sums", "open_alarms"),
    refusing("report", "ABORT, 'no'"),
    refusing("alarm", "FAIL, 'no'"),
    refusing("webhook", "ROLLBACK, 'no'"),
    refusing("report", "IGNORE"),
    refusing("alarm", "IGNORE"),
    viewed("report"),
    viewed("sums"),
    ("UPDATE counter SET seq = 1", "UPDATE counter SET seq = (SELECT max(seq) FROM report)", "report"),
)


async def test_readiness_follows_what_intake_meets_on_sqlite(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        await takes_again(service)
        with closing(sqlite3.connect(tmp_path / "data" / "adapter.db", isolation_level=None)) as shell:
            for fault, mended, named in SQLITE_FAULTS:
                shell.executescript(fault)
                await refused_until_mended(service, named)
                shell.executescript(mended)
                await takes_again(service)
        assert len(await coc.received(5 + 5 * len(SQLITE_FAULTS))) == 5 + 5 * len(SQLITE_FAULTS)
