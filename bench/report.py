"""Writes the figures as a table, as JSON, and into docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.figures import CROWDED, NOISY, Row, Series, Verdict

BEGIN: Final = "<!-- begin: written by `make bench WRITE=1` -->"
END: Final = "<!-- end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of the benchmark. `other_load`: cores that other processes used, by case."""

    rows: Sequence[Row]
    other_load: dict[str, float]
    repeats: int
    date: str
    machine: str


def machine() -> str:
    """Cores, Python and kernel; no host name."""
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, Linux {platform.release().split('-')[0]}"


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 or value == 0 else f"{value:.6f}"


def span(series: Series) -> str:
    """The median, and the range where there is one."""
    if series.low == series.high:
        return number(series.median)
    return f"{number(series.median)} ({number(series.low)}..{number(series.high)})"


HEADER: Final = ("#", "figure", "measured", "compared with", "ratio", "goal", "")


def cells(row: Row) -> tuple[str, ...]:
    against = f"{row.against_name}: {span(row.against)}" if row.against else ""
    unit = f" {row.unit}" if row.unit else ""
    return (
        row.case,
        row.name,
        span(row.measured) + unit,
        against,
        span(row.figure) if row.against else "",
        str(row.goal) if row.goal else "",
        row.verdict.value + (" (noisy)" if row.noisy else ""),
    )


def table(rows: Sequence[Row]) -> str:
    """Columns for a terminal."""
    lines = [HEADER, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(report: Report) -> str:
    """The block between the marks in docs/performance.md."""
    lines = [
        f"{report.date}, {report.machine}; {report.repeats} alternating repeats: the median, and (lowest..highest).",
        "",
        "| " + " | ".join(HEADER) + " |",
        "|" + "---|" * len(HEADER),
        *("| " + " | ".join(cells(row)) + " |" for row in report.rows),
        "",
        *(f"- {remark}" for remark in remarks(report)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def remarks(report: Report) -> list[str]:
    """Notes on rows, noisy figures, and cases with other load on the machine."""
    remarks = [f"{row.case} {row.name}: {note}." for row in report.rows for note in row.notes]
    noisy = [f"{row.case} {row.name}" for row in report.rows if row.noisy]
    if noisy:
        remarks.append(
            f"Spread over {NOISY:.0%} and across the goal or aim, so not decided by this run: {', '.join(noisy)}."
        )
    crowded = [f"{case} ({cores:.2f} cores)" for case, cores in report.other_load.items() if cores > CROWDED]
    if crowded:
        remarks.append(f"Other processes used the machine during {', '.join(crowded)}; absolute figures are low.")
    return remarks


def summary(rows: Sequence[Row]) -> str:
    judged = [row.verdict for row in rows if row.goal and row.goal.bound is not None]
    return f"{len(judged) - judged.count(Verdict.SHORT)} of {len(judged)} goals met"


def as_json(report: Report) -> str:
    rows = [
        {
            "case": row.case,
            "name": row.name,
            "unit": row.unit,
            "measured": _series(row.measured),
            "against": {"name": row.against_name, **_series(row.against)} if row.against else None,
            "ratio": _series(row.figure) if row.against else None,
            "goal": str(row.goal) if row.goal else None,
            "verdict": row.verdict.value or None,
            "noisy": row.noisy,
            "notes": list(row.notes),
        }
        for row in report.rows
    ]
    head = {"date": report.date, "machine": report.machine, "repeats": report.repeats, "other_load": report.other_load}
    return json.dumps({**head, "figures": rows}, indent=2) + "\n"


def _series(series: Series) -> dict[str, Any]:
    return {"median": series.median, "min": series.low, "max": series.high, "values": list(series.values)}


def replace_block(page: Path, block: str) -> None:
    """Replace the text between the marks of a page."""
    text = page.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{page}: the marks {BEGIN!r} and {END!r} are missing")
    head, rest = text.split(BEGIN, 1)
    page.write_text(f"{head}{BEGIN}\n{block}{END}{rest.split(END, 1)[1]}")
