"""The background tasks: one that fails is called again, and its failures are logged once in a while."""

from __future__ import annotations

import pytest

from adapter.errors import StoreUnavailable
from adapter.tasks import Tasks
from tests.fakes import FakeClock


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("broken"), "a periodic task failed (a bug in the adapter)"),
        (StoreUnavailable("not now"), "store unavailable"),
    ],
)
async def test_a_task_that_fails_every_second_is_logged_every_five_minutes(
    error: Exception, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    tasks = Tasks(clock)
    calls = 0

    async def fail() -> None:
        nonlocal calls
        calls += 1
        raise error

    tasks.repeat(1.0, fail)
    await clock.advance(550)
    assert calls == 550
    assert [record.getMessage() for record in caplog.records] == [message] * 2
    assert tasks.problem() is None
    await tasks.stop()
