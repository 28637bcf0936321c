"""Pruning by a wall clock that jumps: the service, its store and its log, with a clock that the test moves."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from adapter.app import Options, running
from adapter.clock import SECOND, Micros, SystemClock
from adapter.config import load_config
from tests.stage import alert, post, sandbox, until, webhook, write_config

DAY = 86_400


class ShiftedClock(SystemClock):
    """The system's clock, moved on by `passed` seconds; the wall clock is `wrong` by some seconds more."""

    passed = wrong = 0

    def now(self) -> Micros:
        return super().now() + (self.passed + self.wrong) * SECOND

    def monotonic(self) -> float:
        return super().monotonic() + self.passed


async def test_a_clock_that_jumps_ahead_prunes_no_fresh_dead_letter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="adapter.app")
    clock = ShiftedClock()
    async with sandbox() as coc:
        path = write_config(tmp_path, coc.port)
        options = Options(config_file=path, listen_address="127.0.0.1:0", admin_address="127.0.0.1:0")
        await coc.fail({"status": 400})
        async with running(load_config(path), options, clock) as service:

            async def letters() -> int:
                return len(await service.store.dead_letters(None, 0, 10))

            await post(f"http://127.0.0.1:{service.ports[0]}/webhook", webhook(alert("Dead")))
            await until(letters, "the dead letter")
            for seconds, wrong in ((3600, 0), (60, 400 * DAY), (60, 400 * DAY), (60, 0), (60, -DAY), (60, 0)):
                clock.passed, clock.wrong = clock.passed + seconds, wrong
                await service.maintain()
                assert await letters() == 1
            assert said(caplog) == {"the wall clock has jumped ahead; pruning goes by it once it has held for an hour"}

            clock.passed += 91 * DAY
            await service.maintain()
            assert await letters() == 0
            assert "pruned" in said(caplog)


def said(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {record.getMessage() for record in caplog.records if record.name == "adapter.app"} - {"listening"}
