"""The end of the road: what became of claims is written in batches, in the order it became known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from adapter.clock import Clock
from adapter.delivery.backoff import back_off
from adapter.errors import StoreUnavailable
from adapter.logs import event
from adapter.store.contract import DeliveryStore, Settled, Settlement

GIVEN_BACK_SECONDS: Final = 60.0  # until a report whose settlement cannot be written is tried again

logger = logging.getLogger(__name__)


class SettlementWriter:
    """Collects settlements while one batch is being written, then writes them as the next.

    While the store cannot write, `unsettled` grows and the claims stay taken, so that nothing is sent twice by this
    process; delivery stops claiming when too many are unsettled.
    """

    def __init__(self, store: DeliveryStore, clock: Clock, on_settled: Callable[[Settlement, Settled], None]) -> None:
        self.unsettled = 0
        self.bytes_settled = 0  # of all alerts that left, since the start
        self._store, self._clock, self._on_settled = store, clock, on_settled
        self._waiting: list[Settlement] = []
        self._writing: asyncio.Task[None] | None = None

    def add(self, settlement: Settlement) -> None:
        self._waiting.append(settlement)
        self.unsettled += 1
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write())

    async def drained(self, seconds: float) -> None:
        """Wait until everything is written, at most `seconds`."""
        if self._writing is not None and not self._writing.done():
            await asyncio.wait({self._writing}, timeout=seconds)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            settled = await self._settled(batch)
            self.unsettled -= len(batch)
            self.bytes_settled += sum(len(settlement.claim.report.raw) for settlement in batch)
            for settlement, result in settled:
                self._on_settled(settlement, result)

    async def _settled(self, batch: list[Settlement]) -> list[tuple[Settlement, Settled]]:
        """What was written and what the store made of it; nothing of a claim that cannot even be given back."""
        failures = 0
        while True:
            try:
                return list(zip(batch, await self._store.settle(batch), strict=True))
            except StoreUnavailable as exc:
                failures += 1
                if failures == 1:
                    event(logger, logging.ERROR, "cannot settle, waiting for the store", error=exc, reports=len(batch))
                await self._clock.sleep(back_off(min(failures, 3), 1.0))
            except Exception:
                # A defect must cost the one report that shows it, not all that were settled with it.
                logger.exception("%s", "a settlement failed; this is a defect of the adapter")
                if len(batch) > 1:
                    return [pair for one in batch for pair in await self._settled([one])]
                # Sent twice is better than never again: a claim nobody settles would hold up its alarm for ever.
                given_back = [Settlement(claim=batch[0].claim, at=batch[0].at, delay=GIVEN_BACK_SECONDS)]
                if batch == given_back:
                    return []
                batch = given_back
