"""Readiness follows the probe, and what intake met at its last commits."""

from __future__ import annotations

from adapter.errors import StoreUnavailable
from adapter.server.management import INTAKE_SECONDS, Readiness
from tests.fakes import FakeClock

TOLD = "3 of the last 5 webhooks were not committed: locked"


class Store:
    def __init__(self) -> None:
        self.away = False

    async def probe(self) -> None:
        if self.away:
            raise StoreUnavailable("away")


async def test_three_failures_of_the_last_five_commits_turn_readiness_off_and_successes_on_again() -> None:
    readiness = Readiness(Store().probe, FakeClock())
    for met in ("locked", None, "locked", None):
        readiness.intake_met(met)
        assert await readiness.problem() is None
    readiness.intake_met("locked")
    assert await readiness.problem() == TOLD
    readiness.intake_met(None)
    assert await readiness.problem() is None


async def test_after_five_failures_in_a_row_the_third_commit_turns_readiness_on_again() -> None:
    readiness = Readiness(Store().probe, FakeClock())
    for met in ["locked"] * 5 + [None] * 2:
        readiness.intake_met(met)
    assert await readiness.problem() == TOLD
    readiness.intake_met(None)
    assert await readiness.problem() is None


async def test_failures_are_forgotten_where_no_webhook_comes_that_could_succeed() -> None:
    clock = FakeClock()
    readiness = Readiness(Store().probe, clock)
    for met in (None, None, "locked", "locked", "locked"):
        readiness.intake_met(met)
    clock.pass_time(INTAKE_SECONDS - 1)
    assert await readiness.problem() == TOLD
    clock.pass_time(1)
    assert await readiness.problem() is None


async def test_after_an_outage_that_the_probe_sees_readiness_does_not_wait_for_webhooks() -> None:
    clock, store = FakeClock(), Store()
    readiness = Readiness(store.probe, clock)
    store.away = True
    for _ in range(5):
        readiness.intake_met("away")
    assert await readiness.problem() == "the store cannot commit: away"
    store.away = False
    clock.pass_time(1)
    assert await readiness.problem() is None
