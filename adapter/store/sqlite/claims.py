"""Claims of a SQLite store: entries of a dict, because no other process can claim.

A crash forgets them, so everything is due again at the next start. The file tells such a start by a marker: it is set
before the first claim and cleared by an orderly end to which every claim was given back. Where it is still set, every
report that was pending may already have been sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import zlib
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

from adapter.alarm import Priority
from adapter.clock import SECOND
from adapter.errors import StoreError
from adapter.memory import bounded
from adapter.store.contract import Claim, Claims, Settlement
from adapter.store.records import CLAIM_COLUMNS, claim_of
from adapter.store.sqlite.reader import Reader
from adapter.store.sqlite.recovery import DamagedRow, checksum
from adapter.store.sqlite.writer import Writer

CLAIM_BYTES: Final = 8 * 1024 * 1024  # of alerts in one answer, one at least
_NEVER: Final = 2**62  # later than any due time

_LATER: Final = """SELECT min(due_at) FROM alarm WHERE integration = ? AND priority = ? AND head IS NOT NULL
    AND due_at > ?"""
# CROSS JOIN keeps the order of the tables: the index of what is due, then one report for each alarm.
_DUE: Final = f"""SELECT alarm.id, alarm.accepted_crc, report.crc, {CLAIM_COLUMNS}
    FROM alarm CROSS JOIN report ON report.seq = alarm.head
    WHERE alarm.integration = ? AND alarm.priority = ? AND alarm.head IS NOT NULL AND alarm.due_at <= ?
    AND alarm.id NOT IN (SELECT value FROM json_each(?)) ORDER BY alarm.due_at, alarm.id LIMIT ?"""  # noqa: S608
_MARK: Final = "UPDATE counter SET maybe_sent_upto = max(maybe_sent_upto, ?), claiming = 1"
_UNMARK: Final = "UPDATE counter SET claiming = 0"


class SqliteClaims:
    """Promises 4 and 6. Used in the event loop, but `reports` is read by the writer's thread too."""

    def __init__(self, reader: Reader, writer: Writer, tick: Callable[[], int], maybe_sent_upto: int) -> None:
        """`tick`: steady microseconds, comparable with alarm.due_at."""
        self.reports: dict[int, int] = {}  # the claimed: seq -> alarm
        self.maybe_sent_upto = maybe_sent_upto
        self._reader = reader
        self._writer = writer
        self._tick = tick
        self._marked = False
        self.claiming = asyncio.Lock()
        """Held while claims are looked for and noted."""

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        async with self.claiming:
            if not self._marked:
                upto = (self.maybe_sent_upto,)
                await self._writer.commit(lambda connection: connection.execute(_MARK, upto), self._set_marked)
            # Before the snapshot is taken: a settlement commits first and leaves the dict afterwards, so that no
            # snapshot shows as due what was settled since.
            claimed = set(self.reports.values())
            tick = _NEVER if ignore_delay else self._tick()
            due = await self._reader.call(_due, integration, limit, tick=tick, claimed=claimed)
            self.reports.update((claim.report.seq, alarm) for alarm, claim in due.claims)
        next_due = None if due.next_due is None else max(0.0, (due.next_due - self._tick()) / SECOND)
        return Claims(claims=tuple([claim for _, claim in due.claims]), next_due=next_due)

    def _set_marked(self, _: object) -> None:
        self._marked = True

    def release(self, settlements: Sequence[Settlement]) -> None:
        for settlement in settlements:
            self.reports.pop(settlement.claim.report.seq, None)

    async def end(self) -> None:
        """Clear the marker unless claims are outstanding."""
        async with self.claiming:  # a claim under way may still be given out
            if self._marked and not self.reports:
                with contextlib.suppress(StoreError):
                    await self._writer.call(sqlite3.Connection.execute, _UNMARK)


class _Due(NamedTuple):
    claims: list[tuple[int, Claim]]  # with the id of the alarm
    next_due: int | None  # steady microseconds


def _due(connection: sqlite3.Connection, integration: str, limit: int, *, tick: int, claimed: Collection[int]) -> _Due:
    """The alarms due by `tick`, those of news first, then longest first, without the `claimed`."""
    upto = connection.execute("SELECT maybe_sent_upto FROM counter").fetchone()[0]
    claims: list[tuple[int, Claim]] = []
    size, most, taken = 0, bounded(CLAIM_BYTES), json.dumps(list(claimed))
    for priority in Priority:
        for row in connection.execute(_DUE, (integration, priority, tick, taken, limit - len(claims))):
            if size >= most:
                return _Due(claims, next_due=0)
            claim = _claim(row, upto)
            claims.append((row["id"], claim))
            size += len(claim.report.raw)
        if len(claims) == limit:
            return _Due(claims, None)
    later = [connection.execute(_LATER, (integration, priority, tick)).fetchone()[0] for priority in Priority]
    return _Due(claims, min((due for due in later if due is not None), default=None))


def _claim(row: sqlite3.Row, maybe_sent_upto: int) -> Claim:
    try:
        claim = claim_of(row, maybe_sent_upto=maybe_sent_upto)
        sound = checksum(claim.report.raw, claim.report.body) == row["crc"]
    except (TypeError, ValueError) as exc:
        raise DamagedRow("a row of an alarm or its report holds what was never written") from exc
    if not sound or (claim.accepted is not None and zlib.crc32(claim.accepted.body) != row["accepted_crc"]):
        raise DamagedRow("the bytes of a report do not match their checksum")
    return claim
