"""Reads a large JSON text in pieces, so that other threads get the interpreter between them.

Python's parser holds the interpreter while it reads one value of any size. So the fields of the outermost
object, and the entries of one of them, are read one by one, each from a part of the text that holds few values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

MOST_VALUES: Final = 100_000  # in one field or entry; takes some 20 ms
_BLOCK: Final = 16 * 1024  # characters
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_CLOSING: Final = {"{": "}", "[": "]"}


class TooDense(ValueError):
    """The list has too many entries, or one of them or another field holds more than MOST_VALUES values."""


def read_pieces(
    text: str,
    field: str,
    most: int,
    *,
    parse_int: Callable[[str], int | float] = int,
    clean: Callable[[Any], Any] = lambda value: value,
) -> Any:
    """What `json.loads` gives, with `clean` applied to each piece. ValueError, RecursionError as that; TooDense.

    `field` is that of the outermost object whose entries are read one by one, `most` of them at most.
    """
    reader = _Reader(text, parse_int, clean)
    value, at = reader.read(reader.skip(0), "{", field, most)
    if reader.skip(at) != len(text):
        raise json.JSONDecodeError("Extra data", text, at)
    return value


class _Reader:
    def __init__(self, text: str, parse_int: Callable[[str], int | float], clean: Callable[[Any], Any]) -> None:
        self._text, self._clean = text, clean
        self._decode = json.JSONDecoder(parse_int=parse_int).raw_decode
        self._part, self._start = "", 0  # a part of the text, and where it starts

    def skip(self, at: int) -> int:
        """Where the next token starts."""
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def read(self, at: int, opening: str, field: str = "", most: int = MOST_VALUES) -> tuple[Any, int]:
        """The value at `at`, and where it ends; in pieces if it starts with `opening`."""
        if not self._text.startswith(opening, at):
            return self._whole(at)
        names: list[str] = []
        values: list[Any] = []
        at = self.skip(at + 1)
        while values or not self._text.startswith(_CLOSING[opening], at):
            if len(values) == most:
                raise TooDense
            if opening == "{":
                self._behind('"', at)
                name, at = self._whole(at)
                at = self.skip(self._behind(":", self.skip(at)))
                names.append(name)
            value, at = self.read(at, "[", most=most) if names[-1:] == [field] else self._whole(at)
            values.append(value)
            at = self.skip(at)
            if self._text.startswith(_CLOSING[opening], at):
                break
            at = self.skip(self._behind(",", at))
        return dict(zip(names, values, strict=True)) if opening == "{" else values, at + 1

    def _behind(self, char: str, at: int) -> int:
        if not self._text.startswith(char, at):
            raise json.JSONDecodeError(f"Expecting {char}", self._text, at)
        return at + 1

    def _whole(self, at: int) -> tuple[Any, int]:
        """The value at `at`, read at once, and where it ends."""
        if not self._start <= at < self._start + len(self._part):
            self._cut(at)
        while True:
            try:
                value, end = self._decode(self._part, at - self._start)
            except ValueError as exc:
                if self._start + len(self._part) == len(self._text):
                    raise json.JSONDecodeError("Expecting value", self._text, at) from exc
                if self._start == at:
                    raise TooDense from exc
                self._cut(at)
            else:
                return self._clean(value), self._start + end

    def _cut(self, at: int) -> None:
        """The part from `at` on. It ends behind a comma: no number does, and what else is cut off cannot be read."""
        end, values = at, 0
        while end < len(self._text) and values < MOST_VALUES:
            values += sum(self._text.count(char, end, end + _BLOCK) for char in ",[{")
            end += _BLOCK
        end = self._text.find(",", end) + 1 or len(self._text)
        self._part, self._start = self._text[at:end], at
