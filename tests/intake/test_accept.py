"""Accepting a webhook: large bodies are parsed beside the event loop."""

from __future__ import annotations

import asyncio
import json
import threading

from adapter.clock import SystemClock
from adapter.intake.accept import LARGE, take_in
from adapter.store.memory import MemoryStore
from tests.builders import POLICY, START


def a_large_body(name: str) -> bytes:
    alert = {"status": "firing", "labels": {"alertname": name}, "startsAt": START}
    return json.dumps({"alerts": [{**alert, "fingerprint": f"{name}{n}"} for n in range(LARGE // 64)]}).encode()


async def test_one_thread_parses_all_large_bodies_however_many_come_at_once() -> None:
    clock = SystemClock()
    store = MemoryStore(backlog=10**6, clock=clock)
    bodies = [a_large_body(f"storm{number}") for number in range(8)]
    taken = await asyncio.gather(
        *(
            take_in(body, integration="default", store=store, clock=clock, revision="r1", policy=POLICY)
            for body in bodies
        )
    )
    assert [len(webhook.alerts) for webhook, _ in taken] == [LARGE // 64] * len(bodies)
    parsers = [thread for thread in threading.enumerate() if thread.name.startswith("webhook-parser")]
    assert len(parsers) == 1
