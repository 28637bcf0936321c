"""Chromium, driven by playwright. What a page must never do is collected while it is open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.needs import needs, unavailable

_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
_REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@dataclass
class Tab:
    """A page of the browser, and what is wrong with what it has shown so far."""

    page: Any
    site: str  # scheme, host and port
    wrong: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        self.page.on("request", self._on_request)

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"console: {message.text}")

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith((self.site, "data:", "blob:")):
            self.wrong.append(f"foreign request: {request.url}")

    async def open(self, path: str) -> None:
        await self.page.goto(f"{self.site}{path}")

    async def check(self) -> None:
        """Nothing was wrong since the start, the page does not scroll sideways, and axe finds nothing."""
        from axe_playwright_python.async_playwright import Axe

        found = await Axe().run(self.page, options={"runOnly": WCAG})
        wrong = [
            f"axe: {item['id']}: {item['help']}: {[node['html'][:200] for node in item['nodes'][:3]]}"
            for item in found.response["violations"]
        ]
        wide = await self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        wrong += [f"{wide} px too wide"] if wide > 0 else []
        assert not [*self.wrong, *wrong], f"{self.page.url}: {[*self.wrong, *wrong]}"


@asynccontextmanager
async def chromium() -> AsyncIterator[Any]:
    """The browser; the test is skipped, or fails under REQUIRE_ALL=1, where it is not there."""
    program = needs("chromium")
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        unavailable("playwright is not installed; make e2e installs it")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def tab(
    browser: Any, site: str, *, width: int = 1280, theme: str = "light", locale: str = "en-US", scripts: bool = True
) -> AsyncIterator[Tab]:
    """A page of its own, which must have done nothing wrong by its end."""
    context = await browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=theme, locale=locale, java_script_enabled=scripts
    )
    await context.add_init_script(_REPORT_VIOLATIONS)
    context.set_default_timeout(20_000)
    opened = Tab(await context.new_page(), site)
    opened.watch()
    try:
        yield opened
    finally:
        await context.close()
    if opened.wrong:
        pytest.fail(f"{opened.wrong}")
