"""Prints rows as columns that line up in a terminal. Chinese characters and emoji take two cells."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
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
    lines = [list(headings.values()), *([["-" * width for width in widths]] if widths else []), *cells]
    widths = widths or [max(map(_width, column)) for column in zip(*lines, strict=True)]
    texts = ("  ".join(_fit(text, width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join(text if edge is None else _fit(text, min(edge, _width(text))) for text in texts)


def cell(value: object) -> str:
    """A value as one line of text that cannot change the terminal."""
    text = "" if value is None else str(value)
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _fit(text: str, width: int) -> str:
    """Exactly `width` cells; a longer text ends with an ellipsis."""
    if _width(text) > width:
        while text and _width(text) > width - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
