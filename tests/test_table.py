"""Tables that an operator reads in a terminal."""

from __future__ import annotations

from adapter.table import cell, fit, table, width


def test_columns_line_up_with_wide_characters() -> None:
    rows = [{"name": "磁盘已满", "level": "Critical"}, {"name": "DiskFull"}]
    lines = table({"name": "NAME", "level": "LEVEL"}, rows)
    assert lines.splitlines() == ["NAME      LEVEL", "磁盘已满  Critical", "DiskFull"]


def test_a_value_longer_than_its_column_ends_with_an_ellipsis() -> None:
    lines = table({"n": "n"}, [{"n": "告警名称"}, {"n": "abcdefg"}], widths=[6]).splitlines()
    assert lines == ["n", "------", "告警…", "abcde…"]


def test_lines_end_at_the_edge_of_the_terminal() -> None:
    lines = table({"a": "a", "b": "b"}, [{"a": "xxxx", "b": "yyyy"}], edge=7).splitlines()
    assert lines == ["a     b", "xxxx  …"]


def test_a_value_cannot_change_the_terminal() -> None:
    assert cell("a\x1b[2K\r\nb\u202e") == "a\N{REPLACEMENT CHARACTER}[2K" + "\N{REPLACEMENT CHARACTER}" * 2 + (
        "b\N{REPLACEMENT CHARACTER}"
    )


def test_accents_and_what_joins_emoji_take_no_cell() -> None:
    assert width("e\N{COMBINING ACUTE ACCENT}") == 1
    assert width("❤\N{VARIATION SELECTOR-16}") == width("❤")
    assert fit("e\N{COMBINING ACUTE ACCENT}x", 3) == "e\N{COMBINING ACUTE ACCENT}x "


def test_a_wide_character_is_not_cut_in_half() -> None:
    assert fit("磁盘已满", 4) == "磁… "
    assert fit("a磁盘已满", 4) == "a磁…"
