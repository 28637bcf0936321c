"""PURE: what each integration did lately, for charts: the last hour in steps of 10 s, the last day in steps of 5 min.

Kept in memory since the start of this process, about 80 KB an integration. An owner calls `sample` every 10 s.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from adapter.clock import SECOND, Micros

STEP_SECONDS: Final = 10
FINE: Final = 360  # steps: an hour
LONG_STEP_SECONDS: Final = 300
LONG: Final = 288  # long steps: a day
MOST_TIMED: Final = 2000  # answers of a step, the first ones

_SUMMED: Final = ("received", "delivered", "fell_back", "refused", "failed")
_HIGHEST: Final = ("waiting", "p95")
NAMES: Final = (*_SUMMED, *_HIGHEST)
"""Alerts received; reports delivered and those of them that fell back; answers of COC that refused a content or a
caller, and attempts without a usable answer; reports waiting at the end of a step; seconds until COC answered, of all
but the slowest twentieth, None without an answer. A long step has the sums, of `waiting` and `p95` the highest."""

Step = Mapping[str, float | None]


class Series(NamedTuple):
    """Values by integration and name, the oldest first."""

    since: Micros  # when the first step began
    step_seconds: int
    series: Mapping[str, Mapping[str, Sequence[float | None]]]


class History:
    def __init__(self, integrations: Iterable[str]) -> None:
        self._rings = {name: _Rings() for name in integrations}
        self._ended: dict[int, Micros] = {}  # when the last step ended, by its length
        self._steps = 0

    def count(self, integration: str, name: str, number: int = 1) -> None:
        if ring := self._rings.get(integration):
            ring.counts[name] += number

    def answered(self, integration: str, seconds: float) -> None:
        ring = self._rings.get(integration)
        if ring and len(ring.seconds) < MOST_TIMED:
            ring.seconds.append(seconds)

    def waiting(self, pending: Mapping[str, int]) -> None:
        """How many reports wait now, of every integration of which any do."""
        for name, ring in self._rings.items():
            ring.waiting = pending.get(name, 0)

    def sample(self, now: Micros) -> None:
        """End a step."""
        self._steps += 1
        is_long = self._steps % (LONG_STEP_SECONDS // STEP_SECONDS) == 0
        self._ended[STEP_SECONDS] = now
        if is_long:
            self._ended[LONG_STEP_SECONDS] = now
        for ring in self._rings.values():
            ring.end(is_long=is_long)

    def series(self, step_seconds: int, now: Micros) -> Series:
        """Of one of the two lengths of steps."""
        rings = {name: ring.of(step_seconds) for name, ring in self._rings.items()}
        count = max(map(len, rings.values()), default=0)
        since = self._ended.get(step_seconds, now) - count * step_seconds * SECOND
        series = {name: {one: [step[one] for step in ring] for one in NAMES} for name, ring in rings.items()}
        return Series(since, step_seconds, series)


class _Rings:
    """Of one integration."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.waiting = 0
        self._fine: deque[Step] = deque(maxlen=FINE)
        self._long: deque[Step] = deque(maxlen=LONG)

    def of(self, step_seconds: int) -> Sequence[Step]:
        return self._long if step_seconds == LONG_STEP_SECONDS else self._fine

    def end(self, *, is_long: bool) -> None:
        step: dict[str, float | None] = {name: self.counts[name] for name in _SUMMED}
        self._fine.append(step | {"waiting": self.waiting, "p95": _p95(self.seconds)})
        self.counts.clear()
        self.seconds.clear()
        if is_long:
            self._long.append(_joined(list(self._fine)[-(LONG_STEP_SECONDS // STEP_SECONDS) :]))


def _joined(steps: Sequence[Step]) -> Step:
    known = {name: [value for step in steps if (value := step[name]) is not None] for name in NAMES}
    sums: dict[str, float | None] = {name: sum(known[name]) for name in _SUMMED}
    return sums | {name: max(known[name], default=None) for name in _HIGHEST}


def _p95(seconds: Sequence[float]) -> float | None:
    """The 95th percentile by nearest rank."""
    return round(sorted(seconds)[-(-len(seconds) * 95 // 100) - 1], 3) if seconds else None
