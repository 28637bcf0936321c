"""PURE: an offset in a YAML scalar's text -> line and column in the file, whatever way the scalar is written."""

from __future__ import annotations

from typing import Final

from adapter.yamlfile import Mark, YamlFile

_ESCAPES: Final = {"x": 4, "u": 6, "U": 10}  # length in double quotes, backslash included; any other has 2


def position(file: YamlFile, mark: Mark, text: str, offset: int) -> tuple[int, int]:
    """Where the character at `offset` of `text` stands, counted from 1; the end of the text for an offset beyond it."""
    walk = _Walk(file.lines, mark)
    for char in text[:offset]:
        walk.over(char)
    if offset < len(text):
        walk.to(text[offset])
    return walk.line, walk.col + 1


class _Walk:
    """Follows the text through the raw lines: white space may stand for line breaks and indentation of any length."""

    def __init__(self, lines: list[str], mark: Mark) -> None:
        self._lines = lines
        self._style = mark.style
        self.line = mark.line
        self.col = mark.col - 1
        if self._style in ("|", ">"):
            self._next_line()
        elif self._style in ("'", '"'):
            self.col += 1

    def to(self, char: str) -> None:
        """Stand on `char`."""
        while self.line <= len(self._lines):
            raw = self._here()
            if raw == "\\" and self._style == '"' and self._at_end(1):
                self._next_line()
                self.col = len(self._lines[self.line - 1]) - len(self._lines[self.line - 1].lstrip())
            elif char.isspace():
                return
            elif raw == "":
                self._next_line()
            elif raw.isspace():
                self.col += 1
            else:
                return

    def over(self, char: str) -> None:
        """Stand behind `char`."""
        self.to(char)
        raw = self._here()
        if raw == "\\" and self._style == '"':
            kind = self._lines[self.line - 1][self.col + 1 : self.col + 2]
            self.col += _ESCAPES.get(kind, 2)
        elif raw == "'" and self._style == "'":
            self.col += 2
        elif raw and not (char.isspace() and not raw.isspace()):
            self.col += 1

    def _here(self) -> str:
        return self._lines[self.line - 1][self.col : self.col + 1] if self.line <= len(self._lines) else ""

    def _at_end(self, ahead: int) -> bool:
        return not self._lines[self.line - 1][self.col + ahead :].strip()

    def _next_line(self) -> None:
        self.line += 1
        self.col = 0
