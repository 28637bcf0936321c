"""PURE: the regions of a page as JSON, from which `app.js` builds the nodes again without parsing any HTML.

A region is an element with `data-region`. A node is its text, or [name, attributes, nodes].
"""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, Final

_VOID: Final = frozenset(("br", "hr", "img", "input", "link", "meta", "wbr"))

Node = str | list[Any]


def regions(html: str) -> dict[str, Node]:
    """By name. `html` is one of our own pages, whose elements are all closed."""
    parser = _Regions()
    parser.feed(html)
    parser.close()
    return parser.found


class _Regions(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, Node] = {}
        self._open: list[list[Any]] = []  # the region and the elements in it that are not closed yet

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if not self._open and "data-region" not in attributes:
            return
        node = [tag, attributes, []]
        if self._open:
            self._open[-1][2].append(node)
        else:
            self.found[attributes["data-region"]] = node
        if tag not in _VOID:
            self._open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and tag not in _VOID:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1][2].append(data if data.strip() else " ")
