"""The playground without JavaScript: a form that is answered with the draft in it. tests/e2e has the rest."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from tests.console.site import Answer, site

MAPPINGS = "rules:\n  - name: all\n    alarm:\n      alarmName: '{{ labels.alertname }}'\n      alarmLevel: Info\n"


def typed(answer: Answer) -> str:
    """What stands in the editor."""
    found = re.search(r'<textarea id="draft"[^>]*>\n(.*?)</textarea>', answer.text, re.DOTALL)
    assert found
    return unescape(found[1])


def hidden(answer: Answer) -> dict[str, str]:
    return {name: unescape(text) for name, text in re.findall(r'name="(file:[^"]*)" value="([^"]*)"', answer.text)}


async def test_the_form_is_answered_with_the_draft_in_it_and_what_it_makes(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        page = await console.get("/ui/mappings?file=90-rest.yaml")
        text = typed(page).replace("alarmDesc:", "alarmDesc: typed #")
        answer = await console.post("/ui/mappings", {"path": "90-rest.yaml", "draft": text.replace("\n", "\r\n")})
        assert answer.status == 200
        assert typed(answer) == text
        assert "changed" in answer.text


async def test_the_other_files_of_a_draft_stay_in_the_form(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        first = await console.post(
            "/ui/mappings", {"path": "10-not-alarms.yaml", "draft": "rules: []\n", "open": "20-hosts.yaml"}
        )
        kept = hidden(first)
        assert kept == {"file:10-not-alarms.yaml": "rules: []\n"}
        second = await console.post("/ui/mappings", {**kept, "path": "20-hosts.yaml", "draft": typed(first)})
        assert hidden(second) == kept


async def test_a_finding_names_its_file_and_place(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        answer = await console.post(
            "/ui/mappings", {"path": "20-hosts.yaml", "draft": MAPPINGS.replace("labels.", "label.")}
        )
        assert "20-hosts.yaml:4:" in answer.text


async def test_a_read_only_console_lets_one_try(tmp_path: Path) -> None:
    async with site(tmp_path, "console: {read_only: true}\n") as console:
        answer = await console.post("/ui/mappings", {"path": "20-hosts.yaml", "draft": MAPPINGS})
        assert answer.status == 200
        assert typed(answer) == MAPPINGS


async def test_hostile_mapping_text_stays_text_and_unchanged(tmp_path: Path) -> None:
    hostile = "# </textarea><script>alert(1)</script> \u202e \"'&amp;\n" + MAPPINGS
    async with site(tmp_path) as console:
        answer = await console.post("/ui/mappings", {"path": "20-hosts.yaml", "draft": hostile})
        assert typed(answer) == hostile
        assert "<script>alert" not in answer.text


async def test_a_reject_is_opened_as_a_pasted_body(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        async with console.session.post(f"{console.service.url}/webhook", data=b'{"alerts": [}') as refused:
            assert refused.status == 400
        async with console.session.get(f"{console.service.admin_url}/api/v1/rejects") as rejects:
            (reject,) = await rejects.json()
        answer = await console.get(f"/ui/mappings?reject={reject['id']}")
        assert "{&#34;alerts&#34;: [}" in answer.text
        assert (await console.get("/ui/mappings?reject=-1")).status == 200


async def test_the_page_and_what_it_loads_keep_their_weight(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        for language in ("en", "zh"):
            page = await console.get(f"/ui/mappings?file=20-hosts.yaml&lang={language}")
            assert len(page.text.encode()) <= 40 * 1024
            script, style = re.findall(r'"(/ui/static/[^"]+[.](?:js|css))"', page.text)[::-1]
            assert len((await console.get(script)).text.encode()) <= 45 * 1024
            assert len((await console.get(style)).text.encode()) <= 12 * 1024
