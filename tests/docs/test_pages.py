"""Links and anchors hold, pictures have a text and can be read in both themes, and no page is too long to read."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.pages import PAGES, ROOT, headings, links, pictures, place_of

LONG = {"CHANGELOG.md"}
DRAWN = sorted((ROOT / "docs" / "images").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("page", PAGES, ids=place_of)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{path} does not exist"
        if anchor:
            assert anchor in [heading.anchor for heading in headings(target)], f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=place_of)
def test_every_picture_exists_and_says_in_words_what_it_shows(page: Path) -> None:
    for text, path in pictures(page):
        assert (page.parent / path).exists(), path
        assert len(text) >= 20, path


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in LONG], ids=place_of)
def test_a_page_has_at_most_300_lines(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("page", PAGES, ids=place_of)
def test_no_two_headings_of_a_page_have_one_anchor(page: Path) -> None:
    anchors = [heading.anchor for heading in headings(page)]
    repeated = {anchor for anchor in anchors if anchors.count(anchor) > 1}
    assert not repeated & {anchor for path, anchor in links(page) if not path}


def colours(style: str) -> dict[str, str]:
    """The fill of each class."""
    return dict(re.findall(r"^ *(?:\.)?(\w+) \{ fill: (#[0-9a-f]{6});", style, re.MULTILINE))


def contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("picture", DRAWN, ids=place_of)
def test_a_drawn_picture_is_readable_in_light_and_dark_and_loads_nothing(picture: Path) -> None:
    root = ElementTree.parse(picture).getroot()
    assert root.findtext(f"{SVG}title")
    assert root.findtext(f"{SVG}desc")
    assert not [item for item in root.iter() if item.tag.endswith(("script", "image", "foreignObject", "use"))]
    light, _, dark = (root.findtext(f"{SVG}style") or "").partition("@media (prefers-color-scheme: dark)")
    for theme in (colours(light), colours(light) | colours(dark)):
        for text in ("text", "note"):
            for ground in ("panel", "ours", "box", "kept", "foreign"):
                assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground, theme)
