"""`make screenshots`: pictures of the console with the demo's data, for README and docs.

python -m tests.e2e.screenshots FOLDER
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.browser import Tab, chromium, tab
from tests.stage import REPOSITORY

LARGEST = 200_000  # bytes of one picture
_TRAIL = "/ui/alarms/default/8006072e9960c596"  # one that the demo lets COC refuse
MINUTE_MILLISECONDS = 100_000  # a chart begins with a whole minute
_SIZE = {"width": 1200, "height": 640}


@asynccontextmanager
async def demo() -> AsyncIterator[str]:
    """The site of a demo's console."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "adapter", "demo", cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while not (
                found := re.search(r"(http://127\.0\.0\.1:\d+)/ui/", (await process.stdout.readline()).decode())
            ):
                pass
        yield found[1]
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()


async def _overview(site: Tab) -> None:
    """Once its charts have something to show."""
    await site.open("/ui/")
    await site.page.get_by_role("img").first.wait_for(timeout=MINUTE_MILLISECONDS)


async def _trail(site: Tab) -> None:
    await site.open(_TRAIL)


async def _playground(site: Tab) -> None:
    """A rule is changed, and the answer is there."""
    await site.open("/ui/mappings?file=20-hosts.yaml")
    await site.page.get_by_role("button", name="20-hosts.yaml").click()
    editor = site.page.get_by_role("textbox", name="20-hosts.yaml")
    text = await editor.input_value()
    await editor.fill(text.replace("nameSpace: hosts", "nameSpace: servers", 1))
    await site.page.get_by_text(re.compile(r"[1-9]\d* of \d+ differ")).first.wait_for()
    await site.page.get_by_label("Alerts", exact=True).get_by_role("button", name="NodeFilesystem").click()
    await site.page.get_by_role("row", name=re.compile("^nameSpace")).wait_for()


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    async with demo() as site, chromium() as browser:
        for name, show in {"overview": _overview, "trail": _trail, "playground": _playground}.items():
            async with tab(browser, site) as opened:
                await opened.page.set_viewport_size(_SIZE)
                await show(opened)
                picture = folder / f"{name}.png"
                await opened.page.screenshot(path=picture)
                size = picture.stat().st_size
                print(f"{picture}: {size} bytes")
                if size > LARGEST:
                    raise SystemExit(f"{picture} is larger than {LARGEST} bytes")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
