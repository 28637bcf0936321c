"""Pages as readers of Markdown see them: headings with their anchors, code, tables and links."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))

_CODE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`` (.+?) ``|`([^`\n]+)`")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


class Heading(NamedTuple):
    """A heading; `anchor` is what links to it end with."""

    level: int
    text: str
    anchor: str


def place_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _CODE.sub("", page.read_text(encoding="utf-8"))


def code(page: Path) -> list[tuple[str, str]]:
    """The blocks of code, each with its kind."""
    return [(found[2], found[3]) for found in _CODE.finditer(page.read_text(encoding="utf-8"))]


def headings(page: Path) -> list[Heading]:
    found = re.findall(r"^(#+) (.*)$", prose(page), re.MULTILINE)
    return [Heading(len(marks), text, _anchor(text)) for marks, text in found]


def _anchor(text: str) -> str:
    """As GitHub makes it: small letters, no punctuation, a hyphen for each blank."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def links(page: Path) -> list[tuple[str, str]]:
    """Where each link inside the repository leads: a path, empty for the page itself, and an anchor, empty for none."""
    targets = [target for mark, _, target in _LINK.findall(prose(page)) if not mark and "://" not in target]
    return [(path, anchor) for path, _, anchor in (target.partition("#") for target in targets)]


def pictures(page: Path) -> list[tuple[str, str]]:
    """The alternative text and the address of each picture."""
    return [(text, target) for mark, text, target in _LINK.findall(prose(page)) if mark]


def tables(page: Path) -> list[list[list[str]]]:
    """The tables: rows of cells, the row of headings first."""
    found: list[list[list[str]]] = []
    inside = False
    for line in prose(page).splitlines():
        row = line.strip()
        if row.startswith("|") and not inside:
            found.append([])
        inside = row.startswith("|")
        if inside and not re.fullmatch(r"[|\- ]+", row):
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]])
    return found


def spans(text: str) -> set[str]:
    """What stands between backticks."""
    return {one or two for one, two in _SPAN.findall(text)}
