"""A webhook's body as JSON: bytes -> plain data, tolerant of what senders do to text, in steps that let others go on.

A parser in C holds the interpreter's lock to its end: 35 ms for a body of 5000 alerts, in which the event loop stands
still whatever thread it runs in. So the elements of a large body's lists are read one by one.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Final

from pydantic_core import from_json

from adapter.errors import PayloadError

SHORT: Final = 64  # characters
LARGE: Final = 512 * 1024  # bytes; below it a parser is done before anybody notices

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_blank: Final = re.compile(r"[ \t\n\r]*").match


def _shared(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Names and short texts, which come again in every alert, are kept once, as the parser in C does."""
    return {
        sys.intern(name): sys.intern(value) if type(value) is str and len(value) < SHORT else value
        for name, value in members
    }


_decode: Final = json.JSONDecoder(object_pairs_hook=_shared).raw_decode


def read_json(body: bytes, large: int = LARGE) -> Any:
    """The data of a body, without lone surrogates, which UTF-8 cannot carry. PayloadError when it is no JSON.

    One of more than `large` bytes is read in steps, with the same result.
    """
    if len(body) > large and (data := _in_steps(body)) is not None:
        return data
    try:
        return from_json(body)
    except ValueError:
        return _scrub(_parse_leniently(body))


def _in_steps(body: bytes) -> dict[str, Any] | None:
    """An object as from_json reads it; None for whatever looks unusual, which is then left to the others."""
    try:
        text = body.decode()
        if "\\ud" in text or "\\uD" in text:  # half of a pair may be missing, and this decoder would not mind
            return None
        data, end = _object(text, _step(text, 0, "{"))
    except (ValueError, IndexError, RecursionError):
        return None
    return data if _end(text, end) == len(text) else None


def _object(text: str, at: int) -> tuple[dict[str, Any], int]:
    """The members from `at` on, and where the object ends."""
    data: dict[str, Any] = {}
    while True:
        name, at = _decode(text, at)
        if not isinstance(name, str):
            raise ValueError
        at = _step(text, at, ":")
        data[name], at = _list(text, at) if text[at] == "[" else _decode(text, at)
        at = _end(text, at)
        if text[at] == "}":
            return data, at + 1
        at = _step(text, at, ",")


def _list(text: str, at: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    at = _step(text, at, "[")
    if text[at] == "]":
        return items, at + 1
    while True:
        item, at = _decode(text, at)
        items.append(item)
        at = _end(text, at)
        if text[at] == "]":
            return items, at + 1
        at = _step(text, at, ",")


def _step(text: str, at: int, mark: str) -> int:
    """Past a mark and the blanks around it."""
    at = _end(text, at)
    if text[at] != mark:
        raise ValueError
    return _end(text, at + 1)


def _end(text: str, at: int) -> int:
    """Past blanks."""
    found = _blank(text, at)
    assert found is not None
    return found.end()


def _parse_leniently(body: bytes) -> Any:
    """For what the strict parser refuses: broken UTF-8, lone surrogates, a byte order mark, huge integers."""
    try:
        return json.loads(body.decode("utf-8-sig", errors="replace"), parse_int=_integer)
    except (ValueError, RecursionError) as exc:
        where = f" at byte {exc.pos}" if isinstance(exc, json.JSONDecodeError) else ""
        raise PayloadError(f"the body is not JSON{where}") from exc


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 4300 else float(digits)


def _scrub(value: Any) -> Any:
    """Lone surrogates cannot be written as UTF-8: each becomes U+FFFD, in names and values alike."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_scrub(item) for item in value]
    if isinstance(value, dict):
        return {_scrub(name): _scrub(item) for name, item in value.items()}
    return value
