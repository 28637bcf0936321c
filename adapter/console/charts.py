"""PURE: small charts as SVG, drawn by the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

WIDTH: Final = 90
HEIGHT: Final = 24
_INSET: Final = 1.5  # so that the line is not cut off at its extremes


def line(values: Sequence[float], label: str) -> Markup:
    """A line of values, the oldest first; `label` says in words what it shows."""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in _points(values))
    return Markup(
        '<svg class="chart" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}">'
        '<polyline points="{}" fill="none" vector-effect="non-scaling-stroke"></polyline></svg>'
    ).format(label, WIDTH, HEIGHT, WIDTH, HEIGHT, points)


def by_minute(values: Sequence[float | None], step_seconds: int, *, highest: bool = False) -> list[float]:
    """Sums of the steps of each minute, the last one whole; with `highest` the highest value instead."""
    size = max(60 // step_seconds, 1)
    known = [value or 0.0 for value in values]
    starts = range(len(known) % size, len(known), size)
    return [(max if highest else sum)(known[at : at + size]) for at in starts]


def _points(values: Sequence[float]) -> list[tuple[float, float]]:
    if not values:
        return []
    series = values if len(values) > 1 else [values[0], values[0]]
    top = max(*series, 0) or 1.0
    step, height = WIDTH / (len(series) - 1), HEIGHT - 2 * _INSET
    return [(index * step, HEIGHT - _INSET - height * value / top) for index, value in enumerate(series)]
