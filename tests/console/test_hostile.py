"""Whatever stands in an alert, every page shows it as text, readable and short."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.console.site import Site, site
from tests.stage import alert, fetch, post, until, webhook

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}"
BIDI = "invoice\u202efdp.exe\u2066"
ANSI = "\x1b[31mred\x1b[0m\x07"
HUGE = "long " * 60_000  # 300 KB
PAGES = (
    "/ui/", "/ui/alarms", "/ui/alarms?q=script", "TRAIL", "/ui/dead-letters", "REPLAY", "DISCARD", "/ui/rejects",
    "/ui/mappings", "/ui/status",
)  # fmt: skip


class Elements(HTMLParser):
    """Names and attributes of a page's elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]


async def hostile(console: Site) -> dict[str, str]:
    """Alarms with all of it: dead letters, a reject. What PAGES leave open."""
    labels = {"job": MARKUP, "pod": BIDI, "instance": ANSI, "huge": HUGE, "bad": "javascript:alert(3)"}
    await console.coc.fail({"status": 400, "code": "<b>", "message": f"{MARKUP} {BIDI} {ANSI}"})
    hook = f"{console.service.url}/webhook"
    sent = alert(MARKUP, labels=labels, annotations={"summary": HUGE + BIDI}, generatorURL="javascript:alert(4)")
    body = webhook(sent, alert(BIDI, labels=labels), externalURL="javascript:alert(5)", receiver=MARKUP)
    assert (await post(hook, body))[0] == 200
    await post(hook, f"<script>{MARKUP}{BIDI}{ANSI}".encode())

    async def dead() -> bool:
        return '"dead_letters":2' in await fetch(f"{console.service.admin_url}/api/v1/integrations")

    await until(dead, "the dead letters")
    page = (await console.get("/ui/alarms")).text
    letters = (await console.get("/ui/dead-letters")).text
    (group,) = set(re.findall(r"replay\?group=(\d+)", letters))
    trail = re.findall(r"/ui/alarms/default/[0-9a-f]+", page)[0]
    return {
        "TRAIL": trail,
        "REPLAY": f"/ui/dead-letters/replay?group={group}",
        "DISCARD": f"/ui/dead-letters/discard?group={group}",
    }


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_hostile_labels_are_inert_and_readable_on_every_page(tmp_path: Path, language: str) -> None:
    async with site(tmp_path) as console:
        known = await hostile(console)
        shown = ""
        for path in PAGES:
            answer = await console.get(known.get(path, path), Cookie=f"ui={language}.auto")
            assert answer.status == 200, path
            elements = Elements(answer.text)
            assert "img" not in elements.tags, path
            assert not [name for name in elements.attributes if name.startswith("on") or name == "style"], path
            assert not [link for link in elements.links if link.lower().startswith(("javascript:", "data:"))], path
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", answer.text), path
            assert len(answer.text) < 120_000, f"{path} has {len(answer.text)} characters"
            shown += html.unescape(answer.text)
        assert "<U+202E>" in shown
        assert "<U+001B>" in shown
        assert "<img src=x onerror=alert(2)>" in shown


async def test_a_hostile_cookie_or_parameter_is_not_shown_as_it_is(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        for path in ("/ui/?lang=<b>", "/ui/?theme=<b>", "/ui/alarms?q=<b>&status=<b>", "/ui/dead-letters?group=<b>"):
            answer = await console.get(path, Cookie='ui="<b>.<b>"; said="<b>.<b>"')
            assert answer.status == 200, path
            assert "<b>" not in answer.text, path


async def test_an_alarm_without_any_usual_label_has_its_row_and_its_trail(tmp_path: Path) -> None:
    labels = {"items": "1", "get": "2", "": ""}
    async with site(tmp_path) as console:
        await console.coc.fail({"status": 503, "delay": 30})
        bare = {"status": "firing", "labels": labels, "startsAt": "2026-11-23T15:00:00Z"}
        await post(f"{console.service.url}/webhook", webhook(bare, {**bare, "labels": {"x": "y"}}))
        page = (await console.get("/ui/alarms")).text
        trails = re.findall(r"/ui/alarms/default/[0-9a-f]+", page)
        assert len(trails) == 2
        for trail in trails:
            assert (await console.get(trail)).status == 200
