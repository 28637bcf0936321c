from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.figures import Goal, compared, plain
from bench.metrics import sums
from bench.report import BEGIN, END, Report, as_json, cells, markdown, number, put_into, remarks, summary, table

GOOD = compared("B1", "rate", "/s", [4000.0, 4400.0], ("journal", [2000.0, 2000.0]), Goal("at least", 2.0, "x"))
SHORT = plain("B5", "p99", "ms", [7.0], Goal("at most", 6.0, "ms"), ["one connection"])
INFO = plain("B3", "CPU", "s", [1.5])
REPORT = Report(
    rows=(GOOD, SHORT, INFO),
    strangers={"B1": 0.01, "B5": 0.8},
    repeats=2,
    date="2026-11-23 20:00 UTC",
    machine="2 cores",
)


def test_a_line_holds_figure_baseline_ratio_goal_and_verdict() -> None:
    assert cells(GOOD) == (
        "B1",
        "rate",
        "4200 (4000..4400) /s",
        "journal: 2000",
        "2.1 (2..2.2)",
        ">= 2x",
        "pass",
    )


def test_a_goal_not_met_says_short_and_a_figure_without_one_says_nothing() -> None:
    assert [cells(row)[-1] for row in REPORT.rows] == ["pass", "short", ""]
    assert summary(REPORT.rows) == "1 of 2 goals met"


def test_the_terminal_table_lines_its_columns_up() -> None:
    lines = table(REPORT.rows).splitlines()
    column = lines[0].index("measured")
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)


def test_a_shared_machine_is_told_for_the_cases_it_hit() -> None:
    shared = [remark for remark in remarks(REPORT) if "shared" in remark]
    assert len(shared) == 1
    assert "B5 (0.80 cores)" in shared[0]
    assert "B1" not in shared[0]


def test_json_holds_every_value_measured() -> None:
    figures = json.loads(as_json(REPORT))["figures"]
    assert figures[0]["measured"]["values"] == [4000.0, 4400.0]
    assert figures[0]["beside"]["name"] == "journal"
    assert [figure["verdict"] for figure in figures] == ["pass", "short", None]


def test_only_what_is_between_the_marks_of_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_into(page, markdown(REPORT))
    put_into(page, markdown(REPORT))
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n2026-11-23 20:00 UTC, 2 cores")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert text.count("| B1 |") == 1


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("prose")
    with pytest.raises(ValueError, match="marks"):
        put_into(page, "block")
    assert page.read_text() == "prose"


@pytest.mark.parametrize(
    ("value", "text"), [(4213.4, "4213"), (3.0, "3"), (0.12345, "0.123"), (0.00004, "0.000040"), (float("inf"), "inf")]
)
def test_numbers_are_short_and_never_in_exponents(value: float, text: str) -> None:
    assert number(value) == text


def test_metrics_are_added_up_over_their_labels() -> None:
    text = '# HELP a x\na_total{integration="x",code="200"} 3.0\na_total{integration="y",code="200"} 4.0\nb 1e3\n'
    assert sums(text) == {"a_total": 7.0, "b": 1000.0}
