"""The Chinese pages have the headings, commands, outputs, tables, keys and links of the English ones, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, code, headings, links, pictures, place_of, prose, spans, tables

NAMES = ["glossary", "install", "kubernetes", "mapping", "mapping-language", "troubleshooting", "tutorial", "upgrade"]
PAIRS = {ROOT / "docs" / f"{each}.md": ROOT / "docs" / "zh" / f"{each}.md" for each in NAMES} | {
    ROOT / "README.md": ROOT / "README.zh-CN.md",
    ROOT / "docs" / "runbooks" / "README.md": ROOT / "docs" / "zh" / "runbooks.md",
}
ENGLISH = {chinese: english for english, chinese in PAIRS.items()}
RUNBOOKS = ROOT / "docs/zh/runbooks.md"
each = pytest.mark.parametrize(("english", "chinese"), PAIRS.items(), ids=[place_of(page) for page in PAIRS.values()])


def without_comments(text: str) -> str:
    """Code without what people read in it, but for the name of the file in the first line."""
    first, _, rest = text.partition("\n")
    return first + re.sub(r"(^| +)# [^\n]*$", "", rest, flags=re.MULTILINE)


def sections(page: Path) -> list[str]:
    return re.split(r"^#+ .*$", prose(page), flags=re.MULTILINE)


def test_every_chinese_page_is_the_pair_of_an_english_one() -> None:
    assert set((ROOT / "docs" / "zh").glob("*.md")) | {ROOT / "README.zh-CN.md"} == set(ENGLISH)


@each
def test_the_headings_are_the_same_in_level_and_order(english: Path, chinese: Path) -> None:
    assert [heading.level for heading in headings(english)] == [heading.level for heading in headings(chinese)]


@each
def test_files_commands_and_what_they_print_are_the_same(english: Path, chinese: Path) -> None:
    ours, theirs = ([(kind, without_comments(text)) for kind, text in code(page)] for page in (english, chinese))
    assert ours == theirs
    assert indented(english) == indented(chinese)


def indented(page: Path) -> list[str]:
    return re.findall(r"^    (?=[a-zA-Z])(.*)$", prose(page), re.MULTILINE)


@each
def test_keys_flags_commands_and_words_of_the_output_are_named_in_the_same_places(english: Path, chinese: Path) -> None:
    if chinese == RUNBOOKS:
        return  # has a column of its own, see below
    for ours, theirs in zip(sections(english), sections(chinese), strict=True):
        assert spans(ours) == spans(theirs)


@each
def test_lists_and_tables_have_the_same_form(english: Path, chinese: Path) -> None:
    for mark in (r"^\d\. ", r"^- "):
        assert len(re.findall(mark, prose(english), re.MULTILINE)) == len(
            re.findall(mark, prose(chinese), re.MULTILINE)
        )
    if chinese != RUNBOOKS:
        assert [form(table) for table in tables(english)] == [form(table) for table in tables(chinese)]


def form(table: list[list[str]]) -> list[list[set[str]]]:
    """The words of code in each cell."""
    return [[spans(cell) for cell in row] for row in table]


@each
def test_the_links_lead_to_the_same_places(english: Path, chinese: Path) -> None:
    """In the same sections; a page that exists in Chinese is the same place."""
    assert sorted(places(english)) == sorted(places(chinese))


def places(page: Path) -> list[tuple[str, int]]:
    """The English page and the number of the heading of each link, but for the link to the other language."""
    found = []
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        number = [heading.anchor for heading in headings(target)].index(anchor) if anchor else -1
        place = ENGLISH.get(target, target)
        if place != ENGLISH.get(page, page) or anchor:
            found.append((place_of(place), number))
    return found


@each
def test_each_page_leads_to_the_other_language(english: Path, chinese: Path) -> None:
    for page, other in ((english, chinese), (chinese, english)):
        assert other in [(page.parent / path).resolve() for path, _ in links(page)]
        assert len(pictures(english)) == len(pictures(chinese))


def test_the_chinese_list_of_runbooks_has_each_alert_with_its_severity_and_a_first_step() -> None:
    (ours,), (theirs,) = tables(ROOT / "docs/runbooks/README.md"), tables(RUNBOOKS)
    assert [(row[0].replace("(", "(../runbooks/"), row[1]) for row in ours[1:]] == [
        (row[0], row[1]) for row in theirs[1:]
    ]
    assert all(len(row) == 4 and row[3] for row in theirs)


@pytest.mark.parametrize("chinese", ENGLISH, ids=place_of)
def test_chinese_prose_uses_chinese_punctuation_and_the_words_of_coc(chinese: Path) -> None:
    text = re.sub(r"`[^`]*`", "", prose(chinese))
    assert not re.findall(r"[\u4e00-\u9fff][,;?!]", text)
    assert not re.findall("转换规则|转发规则|应用程序|整合管理|(?<!告)警报|严重级别", text)
