"""Dead letters that are owed again."""

from __future__ import annotations

from prometheus_client import generate_latest

from adapter.admin.letters import replay
from adapter.alarm import Kind, Outcome
from adapter.errors import StoreUnavailable
from adapter.metrics import Metrics
from adapter.store.contract import Intake, Settlement
from adapter.store.memory import MemoryStore
from adapter.store.views import Counts
from tests.builders import POLICY, a_webhook, an_alert
from tests.fakes import FakeClock
from tests.stage import values


class Forgetful(MemoryStore):
    """Cannot count."""

    async def counts(self) -> dict[str, Counts]:
        raise StoreUnavailable


async def test_a_replay_is_counted_even_if_the_store_goes_away_right_after_it() -> None:
    clock = FakeClock()
    store, metrics = Forgetful(backlog=100, clock=clock), Metrics(["default"], clock=clock)
    webhook = a_webhook(an_alert())
    receipt = await store.accept(
        Intake(integration="default", webhook=webhook, received=clock.now(), revision="r1", policy=POLICY)
    )
    metrics.webhook_accepted("default", webhook, receipt)
    (claim,) = (await store.claim("default", 1)).claims
    dead = Settlement(claim=claim, at=clock.now(), outcome=Outcome.DEAD)
    for settled in await store.settle([dead]):
        metrics.report_settled(dead, settled)

    replayed = await replay(store, [claim.report.seq], as_sent=False, count=metrics.replayed)

    assert replayed == {claim.report.seq: (Kind.ALARM,)}

    scrape = generate_latest(metrics.registry).decode()
    assert values(scrape, "coc_adapter_reports_enqueued_total", integration="default") == 2
    assert values(scrape, "coc_adapter_reports_pending", integration="default") == 1
