"""The demo that goes on: what is not delivered, and reconciling where an Alertmanager is installed."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
import pytest

from tests.needs import needs
from tests.stage import REPOSITORY


class Demo(NamedTuple):
    shown: str
    admin: str  # URL of its admin listener


@pytest.fixture
async def demo() -> AsyncIterator[Demo]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "adapter", "demo",
        cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    shown = ""
    async with asyncio.timeout(60):
        while "max_alerts: 0" not in shown:
            shown += (await process.stdout.readline()).decode()
        yield Demo(shown, re.findall(r"(http://127\.0\.0\.1:\d+)/ui/", shown)[0])
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    logged = {re.sub(r".*? msg=(\"[^\"]*\"|\w+).*", r"\1", line).strip('"') for line in errors.decode().splitlines()}
    assert (process.returncode, logged) == (
        0,
        {"dead letter", "integration paused", "not a webhook", "webhook truncated"},
    )


async def test_a_resolve_that_alertmanager_throws_away_is_shown_to_be_closed(demo: Demo) -> None:
    needs("prometheus-alertmanager")
    steps = (
        "the alert fires: COC has the alarm",
        "Alertmanager sends nothing",
        "closed by reconciling, COC has the ok",
    )
    assert [step in demo.shown for step in steps] == [True] * 3


async def test_the_demo_leaves_dead_letters_a_paused_integration_and_a_reject_to_look_at(demo: Demo) -> None:
    async with aiohttp.ClientSession(demo.admin) as session:

        async def rows(path: str) -> list[dict[str, object]]:
            async with session.get(f"/api/v1/{path}") as answer:
                found: list[dict[str, object]] = json.loads(await answer.read())
                return found

        letters, rejects, integrations = [await rows(path) for path in ("dead-letters", "rejects", "integrations")]
    assert len(letters) == 10
    assert len(rejects) == 1
    assert {row["id"]: (row["state"], row["pending"]) for row in integrations} == {
        "default": ("running", 0),
        "dba": ("paused", 3),
    }
