"""What joins the parts, asked without starting them."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import generate_latest

from adapter.alarm import Kind, Outcome
from adapter.config.load import load_config
from adapter.errors import StoreUnavailable
from adapter.metrics import Metrics
from adapter.service import Options, Service
from adapter.store.contract import Intake, Settlement
from adapter.store.memory import MemoryStore
from adapter.store.views import Counts
from tests.builders import POLICY, a_webhook, an_alert
from tests.fakes import FakeClock
from tests.stage import values, write_config


class Forgetful(MemoryStore):
    """Cannot count."""

    async def counts(self) -> dict[str, Counts]:
        raise StoreUnavailable


async def test_a_replay_is_counted_even_if_the_store_goes_away_right_after_it(tmp_path: Path) -> None:
    file, clock = write_config(tmp_path, 1), FakeClock()
    store, metrics = Forgetful(backlog=100, clock=clock), Metrics(["default"], clock=clock)
    service = Service(load_config(file), Options(config_file=file), clock, store, metrics)
    webhook = a_webhook(an_alert())
    receipt = await store.accept(
        Intake(integration="default", webhook=webhook, received=clock.now(), revision="r1", policy=POLICY)
    )
    metrics.webhook_accepted("default", webhook, receipt)
    (claim,) = (await store.claim("default", 1)).claims
    dead = Settlement(claim=claim, at=clock.now(), outcome=Outcome.DEAD)
    for settled in await store.settle([dead]):
        metrics.report_settled(dead, settled)

    assert await service.replay([claim.report.seq], as_sent=False) == {claim.report.seq: (Kind.ALARM,)}

    scrape = generate_latest(metrics.registry).decode()
    assert values(scrape, "coc_adapter_reports_enqueued_total", integration="default") == 2
    assert values(scrape, "coc_adapter_reports_pending", integration="default") == 1
