"""Accepting a webhook: what is committed, counted, logged and kept."""

from __future__ import annotations

import asyncio
import json
import logging
import threading

import pytest

from adapter.clock import SystemClock
from adapter.errors import PayloadError
from adapter.intake.accept import LARGE_BYTES, Acceptor
from adapter.metrics import Metrics
from adapter.store.memory import MemoryStore
from tests.builders import POLICY, START
from tests.stage import alert, webhook


class Intake:
    """An acceptor over a store in memory. `owed`: the integrations that were woken."""

    def __init__(self) -> None:
        clock = SystemClock()
        self.owed: list[str] = []
        self.store = MemoryStore(backlog=10**6, clock=clock)
        self.acceptor = Acceptor(
            self.store,
            clock=clock,
            policy=POLICY,
            metrics=Metrics(["default"], clock=clock),
            revision=lambda: "r1",
            owed=self.owed.append,
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
