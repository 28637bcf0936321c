"""What version 0.1.0 left is taken over: configuration, mapping files, a store and the values of the chart."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import yaml

from tests.chart.rendering import render
from tests.docs.transcript import Terminal, blocks
from tests.stage import KEY, REPOSITORY, adapter, sandbox

OLD = Path(__file__).parent / "data" / "0.1.0"
PAGE = REPOSITORY / "docs" / "upgrade.md"
DUMP = REPOSITORY / "tests" / "store" / "data" / "sqlite-0.1.0.sql"
SECRETS = ("access-key", "secret-key", "security-token", "token", "webhook-token")


def left(folder: Path, coc: int) -> Path:
    """A folder as 0.1.0 left it; the sandbox is at port `coc`."""
    shutil.copytree(OLD, folder, dirs_exist_ok=True)
    (folder / "secrets").mkdir()
    for name in SECRETS:
        (folder / "secrets" / name).write_text(f"the-{name}\n")
    (folder / "secrets" / "integration-key").write_text(KEY)
    (folder / "data").mkdir()
    with closing(sqlite3.connect(folder / "data" / "adapter.db")) as database:
        database.executescript(DUMP.read_text())
    config = folder / "adapter.yml"
    config.write_text(config.read_text().replace("127.0.0.1:9878", f"127.0.0.1:{coc}"))
    return config


async def test_the_page_goes_as_shown(tmp_path: Path) -> None:
    before, copied, *after = [command for block in blocks(PAGE) for command in block.commands]
    async with sandbox() as coc:
        config = left(tmp_path, coc.port)
        shell = Terminal(tmp_path, {})
        for command in (before, copied):
            await asyncio.to_thread(shell.check, command)
        async with adapter(config) as service:
            shell.environment["COC_ADAPTER_URL"] = service.admin_url
            for command in after:
                await asyncio.to_thread(shell.check, command)
            assert {body["alarmId"] for body in coc.bodies} == {"ambiguous", "open", "fresh", "claimed"}
            assert await service.terminate() == 0
    with closing(sqlite3.connect(tmp_path / "data-0.1.0" / "adapter.db")) as copy:
        assert copy.execute("SELECT count(*) FROM alarm").fetchone() == (9,), "the copy is what 0.1.0 left"


def test_the_chart_takes_all_values_of_the_old_chart() -> None:
    values = yaml.safe_load((OLD / "values.yaml").read_text())
    key = {"existingSecret": "coc-credentials", "config": {"site": "cn"}}
    rendered = render(values | {"integrations": {"default": key}})
    assert rendered.workload["kind"] == "StatefulSet"
