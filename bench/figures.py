"""Medians of repeats, ratios of pairs, goals, and which figures are too noisy. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

NOISY: Final = 0.25  # (max - min) / median above which a difference means nothing
CROWDED: Final = 0.15  # cores used by other processes during a case


class Verdict(StrEnum):
    AIM = "pass, aim met"
    PASS = "pass"
    SHORT = "short"
    NONE = ""  # a figure without a goal, or an aim alone that is not met


@dataclass(frozen=True, slots=True)
class Series:
    """Repeated measurements of one figure."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a series needs at least one value")

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    @property
    def spread(self) -> float:
        """(max - min) / median; 0 when nothing varies, infinite when only the median is 0."""
        width = self.high - self.low
        if width == 0:
            return 0.0
        return width / abs(self.median) if self.median else math.inf


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a figure, and what is aimed at beyond it; the value itself meets either. At least one is given."""

    sense: Literal["at least", "at most", "exactly"]
    bound: float | None
    unit: str = ""
    aim: float | None = None

    def judge(self, value: float) -> Verdict:
        if self.aim is not None and self._met(value, self.aim):
            return Verdict.AIM
        if self.bound is None:
            return Verdict.NONE
        return Verdict.PASS if self._met(value, self.bound) else Verdict.SHORT

    def _met(self, value: float, bound: float) -> bool:
        return {"at least": value >= bound, "at most": value <= bound, "exactly": value == bound}[self.sense]

    def __str__(self) -> str:
        sign = {"at least": ">=", "at most": "<=", "exactly": "="}[self.sense]
        unit = self.unit if self.unit in ("", "x") else f" {self.unit}"
        parts = [f"{sign} {self.bound:g}{unit}"] if self.bound is not None else []
        return ", ".join([*parts, *([f"aim {self.aim:g}{unit}"] if self.aim is not None else [])])


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. The goal is compared with the median of `figure`, a ratio if there is an `against`."""

    case: str
    name: str
    unit: str
    measured: Series
    against: Series | None = None
    against_name: str = ""
    figure: Series
    goal: Goal | None = None
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        return self.goal.judge(self.figure.median) if self.goal else Verdict.NONE

    @property
    def noisy(self) -> bool:
        """Whether the spread is wide and the verdict differs between its ends."""
        if self.goal is None or self.figure.spread <= NOISY:
            return False
        return self.goal.judge(self.figure.low) != self.goal.judge(self.figure.high)


def plain(
    case: str, name: str, unit: str, values: Sequence[float], goal: Goal | None = None, notes: Sequence[str] = ()
) -> Row:
    """A figure whose goal bounds the value itself."""
    series = Series(tuple(values))
    return Row(case=case, name=name, unit=unit, measured=series, figure=series, goal=goal, notes=tuple(notes))


def compared(
    case: str,
    name: str,
    unit: str,
    values: Sequence[float],
    against: tuple[str, Sequence[float]],
    goal: Goal | None = None,
    notes: Sequence[str] = (),
) -> Row:
    """A figure whose goal bounds its ratio to another one; both are measured alternately, each pair has a ratio."""
    other = against[1]
    if len(values) != len(other):
        raise ValueError(f"{case} {name}: {len(values)} values against {len(other)}; pairs are needed")
    return Row(
        case=case,
        name=name,
        unit=unit,
        measured=Series(tuple(values)),
        against=Series(tuple(other)),
        against_name=against[0],
        figure=Series(tuple(ratio(value, base) for value, base in zip(values, other, strict=True))),
        goal=goal,
        notes=tuple(notes),
    )


def ratio(value: float, base: float) -> float:
    """value / base; 1 for 0 / 0, infinite for other values over 0."""
    if base:
        return value / base
    return math.inf if value else 1.0


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that at least `share` (0..1] of them do not exceed."""
    if not values:
        raise ValueError("no values")
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def steady_rate(arrivals: Sequence[float], skip: float = 0.2) -> float:
    """Arrivals per second without the first and the last `skip` share of them.

    `arrivals` are monotonic seconds in order.
    """
    first, last = int(len(arrivals) * skip), int(len(arrivals) * (1 - skip)) - 1
    if last <= first or arrivals[last] <= arrivals[first]:
        raise ValueError(f"{len(arrivals)} arrivals are too few or too close together for a rate")
    return (last - first) / (arrivals[last] - arrivals[first])
