"""Accepting a webhook: what is committed, counted, logged and kept."""

from __future__ import annotations

import asyncio
import json
import logging
import threading

import pytest

from adapter.clock import SystemClock
from adapter.errors import PayloadError
from adapter.intake.accept import LARGE_BYTES, PARSED_BYTES, Acceptor
from adapter.metrics import Metrics
from adapter.server.body import Overloaded
from adapter.store.contract import Intake as Committed
from adapter.store.contract import Receipt
from adapter.store.memory import MemoryStore
from tests.builders import POLICY, START
from tests.stage import alert, until, webhook


class SlowStore(MemoryStore):
    """Commits nothing until `go_on` is set. `waiting`: bytes of the webhooks that wait for that."""

    def __init__(self) -> None:
        super().__init__(backlog=10**6, clock=SystemClock())
        self.go_on, self.waiting = asyncio.Event(), 0

    async def accept(self, intake: Committed) -> Receipt:
        self.waiting += intake.webhook.size
        await self.go_on.wait()
        return await super().accept(intake)


class Intake:
    """An acceptor over a store in memory. `owed`: the integrations that were woken."""

    def __init__(self, store: MemoryStore | None = None, turn_seconds: float = 60.0) -> None:
        clock = SystemClock()
        self.owed: list[str] = []
        self.store = store or MemoryStore(backlog=10**6, clock=clock)
        self.acceptor = Acceptor(
            self.store,
            clock=clock,
            policy=POLICY,
            metrics=Metrics(["default"], clock=clock),
            revision=lambda: "r1",
            owed=self.owed.append,
            turn_seconds=turn_seconds,
        )


def a_large_body(name: str) -> bytes:
    alert = {"status": "firing", "labels": {"alertname": name}, "startsAt": START}
    return json.dumps({"alerts": [{**alert, "fingerprint": f"{name}{n}"} for n in range(LARGE_BYTES // 64)]}).encode()


async def test_only_a_webhook_that_owes_a_report_wakes_its_integration() -> None:
    intake = Intake()
    for _ in range(2):
        await intake.acceptor.accept("default", webhook(alert("A")))
    assert intake.owed == ["default"]


async def test_a_body_that_is_no_webhook_is_kept_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    intake = Intake()
    for _ in range(3):
        with pytest.raises(PayloadError):
            await intake.acceptor.accept("default", b"no webhook")
    assert [record.getMessage() for record in caplog.records] == ["not a webhook"]
    kept = await intake.store.rejects(0, 10)
    assert [reject.head for reject in kept] == [b"no webhook"] * 3


async def test_one_log_line_names_few_of_the_reports_that_are_owed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "adapter"):
        await Intake().acceptor.accept("default", webhook(*(alert(f"A{number}") for number in range(40))))
    fields = [record.event_fields for record in caplog.records]  # type: ignore[attr-defined]
    assert [each["reports"] for each in fields] == [16, 16, 8]


async def test_one_thread_parses_all_large_bodies_however_many_come_at_once() -> None:
    intake = Intake()
    bodies = [a_large_body(f"storm{number}") for number in range(8)]
    accepted = await asyncio.gather(*(intake.acceptor.accept("default", body) for body in bodies))
    assert [len(parsed.alerts) for parsed, _ in accepted] == [LARGE_BYTES // 64] * len(bodies)
    assert [thread.name for thread in threading.enumerate()].count("webhook-parser_0") == 1
    assert not any(thread.name == "webhook-parser_1" for thread in threading.enumerate())


async def test_a_small_body_of_many_values_is_parsed_beside_the_event_loop() -> None:
    body = b'{"alerts": [' + b"1," * 30_000 + b"1]}"
    assert len(body) <= LARGE_BYTES
    sent = asyncio.ensure_future(Intake().acceptor.accept("default", body))
    turns = 0
    while not sent.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 50
    assert sent.result()[0].rejected == 30_001


async def turns_of(bodies: list[bytes]) -> int:
    """Turns of the event loop until all of them, which arrive at once, are accepted."""
    intake = Intake()
    sent = [asyncio.ensure_future(intake.acceptor.accept("default", body)) for body in bodies]
    turns = 0
    while not all(each.done() for each in sent):
        turns += 1
        await asyncio.sleep(0)
    return turns


async def test_many_small_bodies_that_arrive_at_once_are_parsed_in_turns_of_the_event_loop() -> None:
    body = webhook(*(alert("Same") for _ in range(200)))
    assert len(body) <= LARGE_BYTES
    assert await turns_of([body] * 50) > 10


async def test_behind_many_bodies_of_one_alert_nobody_waits_a_turn_for_each() -> None:
    assert await turns_of([webhook(alert("One"))] * 200) < 100


async def test_a_body_that_nobody_waits_for_any_more_is_not_parsed_and_those_behind_it_are() -> None:
    intake = Intake()
    sent = [
        asyncio.ensure_future(intake.acceptor.accept("default", webhook(*(alert(f"A{n}-{i}") for i in range(200)))))
        for n in range(20)
    ]
    await asyncio.sleep(0)
    for each in sent[10:19]:
        each.cancel()
    await asyncio.wait(sent)
    assert [each.cancelled() for each in sent] == [False] * 10 + [True] * 9 + [False]


async def test_bodies_that_are_no_webhook_do_not_keep_those_behind_them_from_being_parsed() -> None:
    intake, good = Intake(), webhook(*(alert("Same") for _ in range(200)))
    bodies = [good, b"no JSON"] * 20
    results = await asyncio.gather(
        *(intake.acceptor.accept("default", body) for body in bodies), return_exceptions=True
    )
    assert [isinstance(result, PayloadError) for result in results] == [False, True] * 20


@pytest.mark.parametrize("alerts", [100, 8_000], ids=["small", "large"])
async def test_alerts_of_few_bodies_are_in_memory_however_long_the_store_takes(alerts: int) -> None:
    body = webhook(*(alert(f"A{number}") for number in range(alerts)))
    store = SlowStore()
    intake = Intake(store)
    sent = [
        asyncio.ensure_future(intake.acceptor.accept("default", body)) for _ in range(2 * PARSED_BYTES // len(body))
    ]
    await until(lambda: store.waiting > PARSED_BYTES - len(body), "as many as may be parsed")
    await asyncio.sleep(0.05)
    assert store.waiting <= PARSED_BYTES
    store.go_on.set()
    assert {len(parsed.alerts) for parsed, _ in await asyncio.gather(*sent)} == {alerts}


async def test_a_body_larger_than_all_that_may_be_parsed_has_its_turn_and_those_behind_it_give_up() -> None:
    body = webhook(*(alert(f"A{number}", labels={"text": "x" * 10_000}) for number in range(600)))
    assert len(body) > PARSED_BYTES
    store = SlowStore()
    intake = Intake(store, turn_seconds=0.05)
    first = asyncio.ensure_future(intake.acceptor.accept("default", body))
    await until(lambda: store.waiting, "the first at the store")
    with pytest.raises(Overloaded):
        await intake.acceptor.accept("default", body)
    small = asyncio.ensure_future(intake.acceptor.accept("default", webhook(alert("Small"))))
    await until(lambda: store.waiting > len(body), "a small one that waits for no large one")
    store.go_on.set()
    await asyncio.gather(first, small)
    assert (await intake.acceptor.accept("default", body))[0].size == len(body)
