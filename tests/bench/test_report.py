from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.figures import Goal, compared, plain
from bench.report import BEGIN, END, Report, as_json, cells, markdown, number, remarks, replace_block, summary, table

GOOD = compared("B1", "rate", "/s", [4000.0, 4400.0], ("journal", [2000.0, 2000.0]), Goal("at least", 2.0, "x"))
SHORT = plain("B5", "p99", "ms", [7.0], Goal("at most", 6.0, "ms"), ["one connection"])
INFO = plain("B3", "CPU", "s", [1.5])
REPORT = Report(
    rows=(GOOD, SHORT, INFO),
    other_load={"B1": 0.01, "B5": 0.8},
    repeats=2,
    date="2026-11-23 20:00 UTC",
    machine="2 cores",
)


def test_a_line_has_figure_baseline_ratio_goal_and_verdict() -> None:
    assert cells(GOOD) == (
        "B1",
        "rate",
        "4200 (4000..4400) /s",
        "journal: 2000",
        "2.1 (2..2.2)",
        ">= 2x",
        "pass",
    )


def test_a_goal_not_met_is_short_and_a_figure_without_one_has_no_verdict() -> None:
    assert [cells(row)[-1] for row in REPORT.rows] == ["pass", "short", ""]
    assert summary(REPORT.rows) == "1 of 2 goals met"


def test_the_columns_of_the_terminal_table_are_aligned() -> None:
    lines = table(REPORT.rows).splitlines()
    column = lines[0].index("measured")
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)


def test_remarks_name_the_cases_with_other_load() -> None:
    shared = [remark for remark in remarks(REPORT) if remark.startswith("Other processes")]
    assert len(shared) == 1
    assert "B5 (0.80 cores)" in shared[0]
    assert "B1" not in shared[0]


def test_json_has_every_measured_value() -> None:
    figures = json.loads(as_json(REPORT))["figures"]
    assert figures[0]["measured"]["values"] == [4000.0, 4400.0]
    assert figures[0]["against"]["name"] == "journal"
    assert [figure["verdict"] for figure in figures] == ["pass", "short", None]


def test_only_the_text_between_the_marks_of_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    replace_block(page, markdown(REPORT))
    replace_block(page, markdown(REPORT))
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n2026-11-23 20:00 UTC, 2 cores")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert text.count("| B1 |") == 1


def test_a_page_without_marks_is_not_changed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("prose")
    with pytest.raises(ValueError, match="marks"):
        replace_block(page, "block")
    assert page.read_text() == "prose"


@pytest.mark.parametrize(
    ("value", "text"), [(4213.4, "4213"), (3.0, "3"), (0.12345, "0.123"), (0.00004, "0.000040"), (float("inf"), "inf")]
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert number(value) == text
