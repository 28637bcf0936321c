"""Row 54: open alarms are repeated to COC, which is slow and limited in rate; news does not wait for that."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from adapter.alarm import Accepted, Outcome
from adapter.alertmanager import parse_webhook
from adapter.clock import SECOND, Micros, SystemClock
from adapter.lifecycle import Policy
from adapter.store.contract import Claim, Intake, Settlement
from adapter.store.sqlite.store import SqliteStore
from tests.faults.chaos import process
from tests.faults.result import CaseResult, case_result, unless
from tests.stage import Coc, alert, fetch, post, sandbox, values, webhook, write_config

HOUR = 3600 * SECOND
BODY = b'{"alarmName":"a","alarmLevel":"Minor","nameSpace":"shop","applicationId":"x","resourceName":"r"}'
BATCH = 1000  # alerts of a webhook, reports of a claim
PENDING = "coc_adapter_reports_pending"


async def news_first(folder: Path, *, alarms: int, fresh: int, rate: float, delay: float, seconds: float) -> CaseResult:
    """Of `alarms` open alarms half is due to be refreshed, half to be updated by new mappings; all are repeated.

    Then `fresh` alerts come one by one, each after the one before has arrived, in `seconds` at most.
    """
    async with sandbox() as coc:
        config = write_config(folder, coc.port, f"    rate_limit: {rate}")
        async with process(config) as service:
            assert service.now is not None
            status = json.loads(await fetch(f"http://127.0.0.1:{service.admin}/api/v1/status"))
            await service.now.terminate()
        repeats = [[alert(f"Open{n}") for n in range(first, first + BATCH)][: alarms - first]
                   for first in range(0, alarms, BATCH)]  # fmt: skip
        revisions = [status["mapping"]["revision"], "older"]
        await _at_coc(folder / "data" / "adapter.db", repeats, revisions)
        await coc.fail({"delay": delay})
        async with process(config) as service:
            for body in repeats:
                answered, text = await post(f"{service.url}/webhook", webhook(*body))
                assert answered == 200, text
            waiting = values(await fetch(f"{service.url}/metrics"), PENDING)
            took = [await _arrival(service.url, coc, number, seconds) for number in range(fresh)]
            behind = values(await fetch(f"{service.url}/metrics"), PENDING)
    return case_result(
        {"open alarms": alarms, "reports waited": round(waiting), "fresh alerts": fresh,
         "s to COC at most": round(max(took), 1)},
        unless(waiting > 0.9 * alarms, f"only {waiting:.0f} reports waited"),
        unless(behind > fresh, "nothing waited any more when the last fresh alert arrived"),
        unless(max(took) <= seconds, f"a fresh alert took {max(took):.1f} s to COC"),
    )  # fmt: skip


async def _at_coc(path: Path, webhooks: list[list[dict[str, Any]]], revisions: list[str]) -> None:
    """A store in which COC accepted all these alerts two hours ago, the webhooks in turn under these revisions."""
    clock = SystemClock()
    store = await SqliteStore.open(path, backlog=10**7, clock=clock)
    then, policy = clock.now() - 2 * HOUR, Policy(HOUR, id_per_episode=False)
    for number, alerts in enumerate(webhooks):
        parsed = await asyncio.to_thread(parse_webhook, webhook(*alerts))
        revision = revisions[number % len(revisions)]
        await store.accept(
            Intake(integration="default", webhook=parsed, received=then, revision=revision, policy=policy)
        )
        while claims := (await store.claim("default", BATCH)).claims:
            await store.settle([_accepted(one, then) for one in claims])
    await store.close()


def _accepted(claim: Claim, at: Micros) -> Settlement:
    accepted = Accepted(body=BODY, status="alarm", at=at, episode=claim.report.episode)
    return Settlement(claim=claim, at=at, outcome=Outcome.DELIVERED, accepted=accepted)


async def _arrival(url: str, coc: Coc, number: int, most: float) -> float:
    """Seconds until a fresh alert is at COC, looked for until twice as long as `most`."""
    count, began = coc.count, time.monotonic()
    assert (await post(f"{url}/webhook", webhook(alert(f"Fresh{number}"))))[0] == 200
    while time.monotonic() < began + 2 * most:
        if any(body["alarmName"] == f"Fresh{number}" for body in coc.after(count)):
            break
        await asyncio.sleep(0.02)
    return time.monotonic() - began
