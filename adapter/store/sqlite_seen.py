"""When alerts that changed nothing were last seen: kept in memory, written in batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from adapter.clock import Micros
from adapter.store.base import AlarmRow
from adapter.store.sqlite_intake import Seen

BATCH: Final = 1000

Tally = tuple[Micros, int, int]
"""Last seen, repeats and stale alerts since it was last written."""


class SeenLater:
    """By alarm id. Used in the loop alone."""

    def __init__(self) -> None:
        self._tallies: dict[int, Tally] = {}

    def add(self, seen: Iterable[Seen]) -> None:
        tallies = self._tallies
        for alarm, at, stale in seen:
            _, repeats, stales = tallies.get(alarm, (0, 0, 0))
            tallies[alarm] = (at, repeats, stales + 1) if stale else (at, repeats + 1, stales)

    def take(self) -> dict[int, Tally]:
        """At most BATCH of them, which the caller now has to write or put back."""
        if len(self._tallies) <= BATCH:
            taken, self._tallies = self._tallies, {}
            return taken
        return dict(self._tallies.popitem() for _ in range(BATCH))

    def put_back(self, taken: dict[int, Tally]) -> None:
        for alarm, (at, repeats, stale) in taken.items():
            newer, more, stales = self._tallies.get(alarm, (at, 0, 0))
            self._tallies[alarm] = (newer, repeats + more, stale + stales)

    def shown(self, rows: list[AlarmRow]) -> list[AlarmRow]:
        """The rows with what is not written yet."""
        return [self._shown(row) for row in rows]

    def _shown(self, row: AlarmRow) -> AlarmRow:
        if row.id not in self._tallies:
            return row
        at, repeats, stale = self._tallies[row.id]
        return replace(row, last_seen=at, repeats=row.repeats + repeats, stale=row.stale + stale)
