"""The result of a fault case: figures for the table, and violations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CaseResult:
    """`figure` is shown in the table; each violation is a broken promise."""

    figure: str
    violations: tuple[str, ...] = ()


def case_result(figures: Mapping[str, object], *violations: str | Sequence[str]) -> CaseResult:
    """Figures as `value name`, and all violations that are not empty."""
    flat: list[str] = []
    for item in violations:
        flat += [item] if isinstance(item, str) else item
    words = ", ".join(f"{value} {name}" for name, value in figures.items())
    return CaseResult(words, tuple(item for item in flat if item))


def unless(held: bool, violation: str) -> str:
    """The violation, or an empty text when the claim held."""
    return "" if held else violation


def quantile(values: Sequence[float], part: float) -> float:
    """The value at this part of the sorted values; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0
