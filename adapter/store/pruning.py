"""PURE: the time that rows are pruned by, which a wall clock that jumps cannot lead astray.

Rows are stamped by the wall clock. Were they pruned by it too, a clock that is a year ahead for a minute would delete
fresh dead letters. So pruning goes on by the steady clock, and believes a jump ahead, and the clock at a start, once it
has held for an hour. A clock set back is believed at once: it deletes less.
"""

from __future__ import annotations

from typing import Final

from adapter.clock import SECOND, Clock, Micros

HELD_SECONDS: Final = 3600.0
_JUMP: Final = 60 * SECOND  # at least; less is the drift between both clocks


class PruningTime:
    """Asked again and again, since a jump shows only between two calls."""

    def __init__(self, clock: Clock) -> None:
        self.jumped: Micros = 0  # how far the wall clock jumped ahead before the last call
        self._clock = clock
        self._believed: Micros | None = None  # the wall clock less the steady clock, as believed
        self._seen, self._since = self._offset(), clock.monotonic()

    def now(self) -> Micros:
        """The wall time as far as it is believed; 0, by which nothing is pruned, until it was believed once."""
        offset, steady = self._offset(), self._clock.monotonic()
        self.jumped = 0
        if abs(offset - self._seen) > _JUMP:
            self.jumped = max(0, offset - self._seen)
            self._seen, self._since = offset, steady
        held = steady - self._since >= HELD_SECONDS
        if held or (self._believed is not None and offset <= self._believed + _JUMP):
            self._believed = self._seen = offset
        return 0 if self._believed is None else self._believed + int(steady * SECOND)

    def _offset(self) -> Micros:
        return self._clock.now() - int(self._clock.monotonic() * SECOND)
