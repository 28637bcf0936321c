"""What a form is, and the one line that follows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

from adapter.console.language import Language
from adapter.console.language import marked as _
from adapter.console.page import Page
from adapter.console.visit import Visit

_LINES: Final = {
    "paused": _("Integration {what} is paused."),
    "resumed": _("Integration {what} reports again."),
    "replayed": _("Owed again: {what}."),
    "discarded": _("Discarded: {what}."),
    "approved": _("Let through: {what}."),
}


class Done(NamedTuple):
    """The page to go to, and what it says: a key of the lines, a dot, and the name or number in it."""

    location: str
    said: str


class Form(NamedTuple):
    route: str  # for aiohttp
    submit: Callable[[Visit], Awaitable[Done | tuple[Page, Mapping[str, Any]]]]
    """What to answer: where to go, or a page. Problem when it cannot be done."""

    changes: bool = True  # False: it only shows something, also where the console is read-only


def line_of(said: str, language: Language) -> str:
    """Empty for what is no line of ours."""
    key, _, what = said.partition(".")
    return language(_LINES[key], what=what) if key in _LINES else ""
