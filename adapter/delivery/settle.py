"""Writes settlements to the store, many in one commit; waits while the store cannot write.

Meanwhile the claims stay taken, so that this process sends nothing twice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from adapter.clock import Clock
from adapter.delivery.backoff import back_off
from adapter.errors import StoreUnavailable
from adapter.logs import RepeatFilter, event
from adapter.store.contract import DeliveryStore, Settled, Settlement

GIVEN_BACK_SECONDS: Final = 60.0  # until a report whose settlement cannot be written is tried again

logger = logging.getLogger(__name__)


async def settle(
    store: DeliveryStore, clock: Clock, batch: Sequence[Settlement], repeats: RepeatFilter
) -> list[tuple[Settlement, Settled]]:
    """What was written, with the store's answers. Leaves out a claim that cannot even be given back."""
    failures = 0
    while True:
        try:
            return list(zip(batch, await store.settle(batch), strict=True))
        except StoreUnavailable as exc:
            failures += 1
            if failures == 1:
                event(logger, logging.ERROR, "cannot settle, waiting for the store", error=exc, reports=len(batch))
            await clock.sleep(back_off(min(failures, 3), 1.0))
        except Exception as exc:
            # A bug must cost the one report that shows it, not all that are settled with it.
            repeats.bug(logger, "a settlement failed (a bug in the adapter)", exc)
            if len(batch) > 1:
                return [pair for one in batch for pair in await settle(store, clock, [one], repeats)]
            # Sending twice is better than never again: a claim that is not settled blocks its alarm for ever.
            given_back = [Settlement(claim=batch[0].claim, at=batch[0].at, delay=GIVEN_BACK_SECONDS)]
            if batch == given_back:
                return []
            batch = given_back
