"""First half of the road: webhook -> parsed -> committed. Before it repeating is Alertmanager's job, after it ours.

Touches no template and no network, so that neither a broken mapping nor a silent COC can slow an acknowledgement.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from adapter.alertmanager import HEAD_BYTES, Reject, Webhook, parse_webhook
from adapter.clock import Clock
from adapter.errors import PayloadError
from adapter.lifecycle import Policy
from adapter.store.contract import Intake, IntakeStore, Receipt

LARGE: Final = 64 * 1024  # bytes; a larger body is parsed in a thread, so that the event loop goes on
# The parser holds the interpreter's lock, so a second thread would gain nothing and make the event loop wait longer.
_PARSER: Final = ThreadPoolExecutor(1, "webhook-parser")


async def take_in(
    body: bytes, *, integration: str, store: IntakeStore, clock: Clock, revision: str, policy: Policy
) -> tuple[Webhook, Receipt]:
    """Parse and commit one webhook. PayloadError when it is none (its head is then kept), StoreUnavailable as it is."""
    received, loop = clock.now(), asyncio.get_running_loop()
    try:
        large = len(body) > LARGE
        webhook = await loop.run_in_executor(_PARSER, parse_webhook, body) if large else parse_webhook(body)
    except PayloadError as exc:
        await store.reject(integration, received, [Reject(reason=str(exc), head=body[:HEAD_BYTES])])
        raise
    receipt = await store.accept(
        Intake(integration=integration, webhook=webhook, received=received, revision=revision, policy=policy)
    )
    return webhook, receipt
