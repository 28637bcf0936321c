"""The demo shows reconciling where an Alertmanager is installed."""

from __future__ import annotations

import asyncio
import signal
import sys

from tests.needs import needs
from tests.stage import REPOSITORY


async def test_a_resolve_that_alertmanager_throws_away_is_shown_to_be_closed() -> None:
    needs("prometheus-alertmanager")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "adapter", "demo",
        cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    shown = ""
    async with asyncio.timeout(60):
        while "curl -s" not in shown:
            shown += (await process.stdout.readline()).decode()
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    steps = (
        "the alert fires: COC has the alarm",
        "Alertmanager sends nothing",
        "closed by reconciling, COC has the ok",
    )
    assert [step in shown for step in steps] == [True] * 3
    assert (process.returncode, errors) == (0, b"")
