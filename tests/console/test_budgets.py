"""What a page weighs, uncompressed and with the samples that ship: HTML 40 KiB, CSS 12 KiB."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from tests.console.site import site
from tests.stage import drained, post, sample

KIB = 1024
SAMPLES = (
    "single-firing", "group3-firing", "group3-mixed", "kube-shop-two-rules", "kube-node-filesystem", "kube-watchdog",
    "unicode", "long-annotations", "ha-duplicate-a", "no-alertname", "bare-no-annotations",
)  # fmt: skip


async def test_every_page_is_small(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        for name in SAMPLES:
            await post(f"{console.service.url}/webhook", sample(name))
        await drained(console.service.url)
        await console.coc.fail({"status": 400, "code": "COC.30001", "message": "no such application"})
        await post(f"{console.service.url}/webhook", sample("maxalerts10-of-25"))
        await post(f"{console.service.url}/webhook", sample("group200")[:5000])
        await drained(console.service.url)
        for path in ("/ui/", "/ui/alarms", "/ui/dead-letters", "/ui/rejects", "/ui/mappings", "/ui/status"):
            answer = await console.get(path, Cookie="ui=zh.auto")
            assert answer.status == 200, path
            assert len(answer.text.encode()) <= 40 * KIB, path


def test_the_style_sheet_is_small() -> None:
    style = files("adapter.console").joinpath("static", "style.css")
    assert len(style.read_bytes()) <= 12 * KIB
