"""Every page in both languages and themes at three widths: no violation of the policy, no finding of axe."""

from __future__ import annotations

from typing import Any

from tests.e2e.browser import tab
from tests.e2e.night import Night
from tests.stage import fetch

PAGES = (
    "/ui/", "/ui/alarms", "/ui/alarms?status=firing&mismatch=true", "/ui/alarms?q=severity%3D~%5B", "TRAIL",
    "/ui/alarms/default/ffffffffffffffff", "/ui/dead-letters", "REPLAY", "DISCARD", "/ui/rejects", "/ui/status",
    "/ui/mappings", "/ui/nowhere",
)  # fmt: skip
LOOKS = (
    (360, "light", "en-US"), (360, "dark", "zh-CN"), (768, "light", "zh-CN"), (768, "dark", "en-US"),
    (1280, "light", "zh-CN"), (1280, "dark", "en-US"),
)  # fmt: skip


async def paths(night: Night) -> list[str]:
    """PAGES with what is only known of a running adapter."""
    alarm = await night.first("/api/v1/alarms?matcher=alertname%3DQueueFull&limit=1")
    dead = await night.first("/api/v1/dead-letters?limit=1")
    known = {
        "TRAIL": f"/ui/alarms/default/{alarm['fingerprint']}",
        "REPLAY": f"/ui/dead-letters/replay?group={dead['id']}",
        "DISCARD": f"/ui/dead-letters/discard?group={dead['id']}",
    }
    return [known.get(path, path) for path in PAGES]


async def test_every_page_is_sound_in_every_look(browser: Any, on_call: Night) -> None:
    for width, theme, locale in LOOKS:
        async with tab(browser, on_call.url, width=width, theme=theme, locale=locale) as shown:
            for path in await paths(on_call):
                await shown.open(path)
                if path == "/ui/nowhere":  # the browser itself reports the status of the page as an error
                    shown.wrong.clear()
                await shown.check()


async def test_every_page_shows_the_same_without_scripts(browser: Any, on_call: Night) -> None:
    async with tab(browser, on_call.url, scripts=False) as shown:
        for path in await paths(on_call):
            await shown.open(path)
            assert await shown.page.get_by_role("main").inner_text()
            shown.wrong.clear()


async def test_a_page_asks_for_four_things_and_keeps_all_but_itself(browser: Any, on_call: Night) -> None:
    async with tab(browser, on_call.url) as shown:
        asked: list[str] = []
        shown.page.on("request", lambda request: asked.append(request.url))
        await shown.open("/ui/")
        await shown.page.wait_for_load_state("networkidle")
        assert len(asked) <= 4, asked
    page = await fetch(f"{on_call.url}/ui/")
    assert len(page.encode()) <= 40 * 1024
