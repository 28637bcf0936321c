"""What is claimed from a store that one process owns: entries of a dict, and a mark on disk that there may be some."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from adapter.errors import StoreError
from adapter.store.contract import Settlement
from adapter.store.sqlite import shutdown_marker
from adapter.store.sqlite.claims import Due
from adapter.store.sqlite.writer import Writer


class InFlight:
    """Used in the loop alone; `reports` is read by the writer's thread as well."""

    def __init__(self, maybe_sent_upto: int) -> None:
        """`maybe_sent_upto`: up to which seq a process before may have sent what waits."""
        self.reports: dict[int, int] = {}  # seq -> alarm
        self.maybe_sent_upto = maybe_sent_upto
        self._serving = False  # and it is written that we are
        self._claiming = asyncio.Lock()

    @asynccontextmanager
    async def claiming(self, writer: Writer) -> AsyncIterator[None]:
        """One claim at a time; that claims are given out is written before the first."""
        async with self._claiming:
            if not self._serving:
                await writer.call(lambda db: shutdown_marker.begin(db, self.maybe_sent_upto), self._served)
            yield

    def _served(self, _: None) -> None:
        self._serving = True

    def alarms(self) -> set[int]:
        """Whose reports are in flight, to be asked before the snapshot of a claim is taken.

        A settlement commits first and leaves the dict afterwards: no snapshot shows as due what was settled since.
        """
        return set(self.reports.values())

    def take(self, due: Due) -> None:
        for claim, alarm in zip(due.claims, due.alarms, strict=True):
            self.reports[claim.report.seq] = alarm

    def leave(self, settlements: Sequence[Settlement]) -> None:
        for settlement in settlements:
            self.reports.pop(settlement.claim.report.seq, None)

    async def end(self, writer: Writer) -> None:
        """Without a word of it where claims are left or it cannot be written: the next start then doubts what waits."""
        async with self._claiming:  # a claim under way may still have been given out
            if self._serving and not self.reports:
                with contextlib.suppress(StoreError):
                    await writer.call(shutdown_marker.end, lambda result: result)
