"""What an operator does to the PostgreSQL database of a running service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.postgres import PostgresServer, postgres_server
from tests.stage import adapter, alert, post, sandbox, until, webhook, write_config


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
            assert "restart" not in await reload()
            for _ in range(2):
                file.write_text("postgresql://rotated:third-s3cret@127.0.0.1:1/other")
                assert "restart to apply it" in await reload()
            assert (await post(f"{service.url}/webhook", webhook(alert("Later"))))[0] == 200
            assert "s3cret" not in service.log_text
