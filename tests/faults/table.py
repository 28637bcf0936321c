"""The figures in docs/reliability.md, between two marks; rows that did not run keep what stood there."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.faults.found import Found
from tests.stage import REPOSITORY

PAGE = REPOSITORY / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
_HEAD = ("| row | case | measured |", "|---|---|---|")
_ROW = re.compile(r"^\| (\d+) \| (.*?) \| (.*) \|$")


def table(rows: Sequence[tuple[int, str, Found]], before: str = "") -> str:
    """The Markdown table; `before` is the one that stood there."""
    lines = {(int(match[1]), match[2]): match[3] for line in before.splitlines() if (match := _ROW.match(line))}
    for row, name, result in rows:
        told = result.figure.replace("|", "/")
        lines[row, name] = f"VIOLATED: {told}" if result.violations else told
    body = [f"| {row} | {name} | {told} |" for (row, name), told in sorted(lines.items())]
    return "\n".join([*_HEAD, *body])


def write_table(rows: Sequence[tuple[int, str, Found]]) -> None:
    """Into the page."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    before, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n{table(rows, before)}\n{END}{tail}")
