"""What a case came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """`figure` is what a person reads; any violation means that a promise was broken."""

    figure: str
    violations: tuple[str, ...] = ()


def found(figures: Mapping[str, object], *violations: str | Sequence[str]) -> Found:
    """Figures as `name value`, and the violations that are not empty; lists of them are joined."""
    flat: list[str] = []
    for item in violations:
        flat += [item] if isinstance(item, str) else item
    words = ", ".join(f"{value} {name}" for name, value in figures.items())
    return Found(words, tuple(item for item in flat if item))


def unless(held: bool, violation: str) -> str:
    """The violation, or nothing when the claim held."""
    return "" if held else violation


def quantile(values: Sequence[float], part: float) -> float:
    """0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0
