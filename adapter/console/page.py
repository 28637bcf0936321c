"""What a page is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from adapter.console.visit import Visit


class Page(NamedTuple):
    name: str
    title: str  # in English; of the link in the menu too
    route: str  # for aiohttp
    template: str
    load: Callable[[Visit], Awaitable[Mapping[str, Any]]]
    """What the template needs. Problem when it cannot be shown."""

    in_menu: bool = True
    under: str = ""  # the page of the menu that it belongs to
    script: str = "app.js"
