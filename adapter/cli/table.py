"""Prints rows as columns that line up in a terminal. Chinese characters and emoji take two cells."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any


def table(
    columns: Mapping[str, int | None], rows: Sequence[Mapping[str, Any]], *, rule: bool = False, edge: int | None = None
) -> str:
    """Heading -> the column's width in cells, or None for as wide as its values; rows have the headings as keys.

    `rule` draws a line below the headings. Lines end at the cell `edge`.
    """
    cells = [[cell(row.get(heading)) for heading in columns] for row in rows]
    widths = [
        width or max(_width(text) for text in (heading, *(line[index] for line in cells)))
        for index, (heading, width) in enumerate(columns.items())
    ]
    lines = [list(columns), *([["-" * width for width in widths]] if rule else []), *cells]
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
