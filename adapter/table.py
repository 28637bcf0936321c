"""PURE: rows as columns that line up in a terminal. Chinese characters and emoji take two cells, accents none."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any


def table(
    headings: Mapping[str, str],
    rows: Sequence[Mapping[str, Any]],
    *,
    widths: Sequence[int] = (),
    edge: int | None = None,
) -> str:
    """Column -> its heading; rows have the columns as keys. Lines end at the cell `edge`.

    With `widths` in cells a line is drawn below the headings, else a column is as wide as its values.
    """
    cells = [[cell(row.get(column)) for column in headings] for row in rows]
    lines = [list(headings.values()), *([["-" * size for size in widths]] if widths else []), *cells]
    widths = widths or [max(map(width, column)) for column in zip(*lines, strict=True)]
    texts = ("  ".join(fit(text, size) for text, size in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join(text if edge is None else fit(text, min(edge, width(text))) for text in texts)


def cell(value: object) -> str:
    """A value as one line of text that cannot change the terminal."""
    text = "" if value is None else str(value)
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def fit(text: str, cells: int) -> str:
    """Exactly so many cells; a longer text ends with an ellipsis."""
    if width(text) > cells:
        ends = accumulate(map(_width, text))
        text = "".join(char for char, end in zip(text, ends, strict=True) if end < cells) + "…"
    return text + " " * (cells - width(text))


def width(text: str) -> int:
    """In cells."""
    return sum(map(_width, text))


def _width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
