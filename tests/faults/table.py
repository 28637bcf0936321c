"""Write figures into docs/reliability.md, between two marks; rows that did not run keep their figures."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.faults.result import CaseResult
from tests.stage import REPOSITORY

PAGE = REPOSITORY / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
_HEAD = ("| row | case | measured |", "|---|---|---|")
_ROW = re.compile(r"^\| (\d+) \| (.*?) \| (.*) \|$")


def table(rows: Sequence[tuple[int, str, CaseResult]], before: str = "") -> str:
    """The Markdown table; `before` is the previous one."""
    lines = {(int(match[1]), match[2]): match[3] for line in before.splitlines() if (match := _ROW.match(line))}
    for row, name, result in rows:
        figure = result.figure.replace("|", "/")
        lines[row, name] = f"VIOLATED: {figure}" if result.violations else figure
    body = [f"| {row} | {name} | {figure} |" for (row, name), figure in sorted(lines.items())]
    return "\n".join([*_HEAD, *body])


def write_table(rows: Sequence[tuple[int, str, CaseResult]]) -> None:
    """Write the rows into docs/reliability.md."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    before, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n{table(rows, before)}\n{END}{tail}")
