"""What single pages show of an adapter in trouble."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

from adapter.mapping import shipped
from tests.console.site import Site, site
from tests.stage import alert, fetch, free_port, post, until, webhook


async def dead_letters(console: Site, count: int) -> None:
    await console.coc.fail({"status": 400, "code": "COC.30001", "message": "applicationId not found"})
    await post(f"{console.service.url}/webhook", webhook(*(alert("Q", labels={"n": str(n)}) for n in range(count))))

    async def dead() -> bool:
        return f'"dead_letters":{count}' in await fetch(f"{console.service.admin_url}/api/v1/integrations")

    await until(dead, "the dead letters")
    await console.coc.fail()


async def test_a_refused_reload_stands_on_the_status_page_with_a_mark_in_the_file(tmp_path: Path) -> None:
    mappings = tmp_path / "mappings"
    shutil.copytree(shipped(), mappings)
    async with site(tmp_path, "mappings: mappings/") as console:
        assert "Nothing was refused." in (await console.get("/ui/status")).text
        broken = mappings / "20-hosts.yaml"
        broken.write_text(broken.read_text().replace("| level", "| lvl", 1))
        async with console.session.post(f"{console.service.admin_url}/-/reload") as answer:
            assert answer.status == 422
        page = html.unescape((await console.get("/ui/status")).text)
        assert re.search(r"20-hosts\.yaml:\d+:\d+", page)
        assert "<mark>" in page
        assert "lvl" in page
        overview = (await console.get("/ui/")).text
        assert "A reload was refused" in overview


async def test_the_configuration_is_shown_without_secrets(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        page = html.unescape((await console.get("/ui/status")).text)
        assert "integration_key: <secret>" in page
        assert "0123456789abcdef0123456789abcdef" not in page


async def test_reconcile_has_its_page_where_it_is_configured_and_nowhere_else(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        assert (await console.get("/ui/reconcile")).status == 404
        assert "/ui/reconcile" not in (await console.get("/ui/")).text
    (tmp_path / "other").mkdir()
    member = f"http://127.0.0.1:{free_port()}"
    more = f"reconcile: {{interval: 1s, alertmanagers: [{{name: main, members: ['{member}']}}]}}"
    async with site(tmp_path / "other", more) as console:
        assert "/ui/reconcile" in (await console.get("/ui/")).text
        page = await console.get("/ui/reconcile")
        assert page.status == 200
        assert "never valid yet" in page.text
        answer = await console.post("/ui/reconcile/main/approve")
        assert answer.status == 409, "nothing is held"
        assert (await console.post("/ui/reconcile/other/approve")).status == 404


async def test_a_read_only_console_shows_dead_letters_without_a_form(tmp_path: Path) -> None:
    async with site(tmp_path, "console: {read_only: true}") as console:
        await dead_letters(console, 2)
        page = (await console.get("/ui/dead-letters")).text
        assert "applicationId not found" in page
        assert '<form method="post"' not in page
        for path in ("/ui/dead-letters/replay", "/ui/dead-letters/discard"):
            assert (await console.post(path, {"ids": "1"})).status == 403


async def test_dead_letters_are_replayed_and_discarded_once(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        await dead_letters(console, 3)
        (group,) = set(re.findall(r"replay\?group=(\d+)", (await console.get("/ui/dead-letters")).text))
        question = await console.get(f"/ui/dead-letters/replay?id={group}")
        assert "Replay 1 dead letters?" in question.text
        answer = await console.post("/ui/dead-letters/replay", {"ids": group, "as_sent": "true"})
        assert (answer.status, answer.text) == (303, "Owed again: 1.\n")
        again = await console.get(f"/ui/dead-letters/replay?id={group}")
        assert again.status == 404
        assert "no dead letter any more" in again.text
        (rest,) = set(re.findall(r"discard\?group=(\d+)", (await console.get("/ui/dead-letters")).text))
        (ids,) = re.findall(
            r'name="ids" value="([\d,]+)"', (await console.get(f"/ui/dead-letters/discard?group={rest}")).text
        )
        answer = await console.post("/ui/dead-letters/discard", {"ids": ids})
        assert answer.text == "Discarded: 2.\n"
        for wrong in ("", "x", "1,", "-1", ",".join(["1"] * 1001)):
            assert (await console.post("/ui/dead-letters/discard", {"ids": wrong})).status == 400, wrong


async def test_an_unreadable_search_says_why_on_the_page(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        answer = await console.get("/ui/alarms?q=a%3D~%5B")
        assert answer.status == 200
        assert 'role="alert"' in answer.text


async def test_a_first_run_shows_how_to_send_an_alert_here(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        page = (await console.get("/ui/")).text
        assert f"- url: http://127.0.0.1:{console.service.port}/webhook" in page
        await post(f"{console.service.url}/webhook", webhook(alert("First")))
        assert "alertmanager.yml" not in (await console.get("/ui/")).text


async def test_a_search_among_many_alarms_offers_the_older_ones(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        many = webhook(*(alert("Many", labels={"n": str(n)}) for n in range(100)))
        await post(f"{console.service.url}/webhook", many)
        page = (await console.get("/ui/alarms")).text
        (older,) = re.findall(r'href="([^"]+)" rel="next"', page)
        seen = set(re.findall(r"/ui/alarms/default/\w+", page))
        assert len(seen) == 40
        next_page = (await console.get(html.unescape(older))).text
        assert not seen & set(re.findall(r"/ui/alarms/default/\w+", next_page))
        assert "No alarm is like that." in (await console.get("/ui/alarms?q=nowhere")).text
