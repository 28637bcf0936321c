"""Writes the comments of values.yaml as the table of README.md.

A `# --` comment, over one or more lines, is the row of the key below it. Keys inside such a key belong to
its default and have no row of their own. Every other leaf without a comment is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

_COMMENT = re.compile(r"^\s*# (-- )?(.*)$")
_KEY = re.compile(r"^(\s*)([A-Za-z][A-Za-z0-9]*):")
START, END = "<!-- values: start -->", "<!-- values: end -->"


class Row(NamedTuple):
    path: tuple[str, ...]
    default: Any
    text: str


def rows(text: str) -> Iterator[Row]:
    """The documented keys, in the order of the file."""
    values = yaml.safe_load(text)
    comment: list[str] = []
    path: list[tuple[int, str]] = []
    inside = -1  # the indentation of the documented key whose default this is
    for line in text.splitlines():
        if match := _COMMENT.match(line):
            comment = [match[2]] if match[1] else [*comment, match[2]] if comment else []
            continue
        if match := _KEY.match(line):
            indent = len(match[1])
            if inside >= 0 and indent > inside:
                continue
            path = [*((depth, key) for depth, key in path if depth < indent), (indent, match[2])]
            keys = tuple(key for _, key in path)
            inside = indent if comment else -1
            if comment:
                yield Row(keys, _at(values, keys), " ".join(comment))
        comment = []


def table(text: str) -> str:
    """The rows as Markdown."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    lines += [
        f"| `{'.'.join(row.path)}` | {_shown(row.default)} | {row.text.replace('|', chr(92) + '|')} |"
        for row in rows(text)
    ]
    return "\n".join(lines)


def replaced(readme: str, text: str) -> str:
    """README.md with the table of these values."""
    before, rest = readme.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{table(text)}\n{END}{after}"


def leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of everything that is not a mapping with keys."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from leaves(value, (*path, key))
    else:
        yield path


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values[key]
    return values


def _shown(default: Any) -> str:
    text = json.dumps(default, ensure_ascii=False)
    return f"`{text}`" if len(text) <= 60 else "see values.yaml"
