"""What all pages of the console have in common: headers, languages, refusals, assets."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.console.site import site
from tests.server.servers import write_users

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


async def test_the_admin_listener_leads_to_the_console_and_the_main_one_does_not(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        answer = await console.get("/")
        assert (answer.status, answer.headers["Location"]) == (303, "/ui/")
        async with console.session.get(f"{console.service.url}/ui/") as main:
            assert main.status == 404


async def test_every_answer_has_the_policy_and_the_web_config_cannot_weaken_it(tmp_path: Path) -> None:
    users = write_users(tmp_path / "web.yml", admin="secret")
    web = users.read_text() + 'http_server_config:\n  headers: {Content-Security-Policy: "default-src *"}\n'
    users.write_text(web)
    async with site(tmp_path, "", f"--web.config.file={users}") as console:
        auth = "Basic YWRtaW46c2VjcmV0"
        for path, status in (("/ui/", 200), ("/ui/nowhere", 404), ("/ui/static/0/app.js", 404)):
            answer = await console.get(path, Authorization=auth)
            assert answer.status == status, path
            assert answer.headers["Content-Security-Policy"] == POLICY, path
        refused = await console.get("/ui/")
        assert (refused.status, refused.headers["Content-Security-Policy"]) == (401, POLICY)
        assert (await console.get("/", Authorization=auth)).headers["Content-Security-Policy"] == "default-src *"


async def test_pages_send_the_other_headers_too(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        headers = (await console.get("/ui/")).headers
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Frame-Options"] == "deny"
        assert headers["Cache-Control"] == "no-store"


async def test_assets_are_kept_for_ever_under_their_hash(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        page = (await console.get("/ui/")).text
        urls = set(re.findall(r'(?:src|href)="(/ui/static/[^"]+)"', page))
        assert {url.rpartition(".")[2] for url in urls} == {"css", "js", "svg"}
        for url in urls:
            answer = await console.get(url)
            assert answer.status == 200
            assert "immutable" in answer.headers["Cache-Control"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_language_is_that_of_the_link_the_cookie_or_the_browser(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        assert 'lang="en"' in (await console.get("/ui/")).text
        assert 'lang="zh-Hans"' in (await console.get("/ui/", Accept_Language="zh-CN,zh;q=0.9,en;q=0.8")).text
        assert 'lang="en"' in (await console.get("/ui/", Accept_Language="fr, en;q=0.9, zh;q=0.5")).text
        assert 'lang="zh-Hans"' in (await console.get("/ui/", Cookie="ui=zh.dark")).text
        chosen = await console.get("/ui/?lang=zh", Cookie="ui=en.dark")
        assert "概览" in chosen.text
        assert 'data-theme="dark"' in chosen.text
        assert "ui=zh.dark" in chosen.headers["Set-Cookie"]
        assert 'lang="en"' in (await console.get("/ui/?lang=tlh", Cookie="ui=%22%3Cb%3E")).text


async def test_regions_come_as_json_for_the_refresh(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        answer = await console.get("/ui/", Accept="application/json")
        name, attributes, _ = json.loads(answer.text)["integrations"]
        assert (name, attributes["data-region"]) == ("section", "integrations")


async def test_a_host_name_that_is_not_ours_is_refused_where_nobody_is_asked_for_credentials(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        assert (await console.get("/ui/", Host="evil.example")).status == 421


async def test_a_form_of_another_site_is_refused(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        path = "/ui/integrations/default/pause"
        for headers in (
            {"Origin": "http://evil.example", "Sec_Fetch_Site": "cross-site"},
            {"Origin": "null", "Sec_Fetch_Site": "same-origin"},
        ):
            answer = await console.post(path, {"because": "x"}, **headers)
            assert answer.status == 403, headers
        answer = await console.get("/ui/")
        assert "paused" not in answer.text


async def test_a_form_pauses_and_resumes_with_one_line(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        answer = await console.post("/ui/integrations/default/pause", {"because": "COC is being moved"})
        assert (answer.status, answer.headers["Location"]) == (303, "/ui/")
        assert answer.text == "Integration default is paused.\n"
        said = answer.headers["Set-Cookie"].partition(";")[0]
        page = await console.get("/ui/", Cookie=said)
        assert "Integration default is paused." in page.text
        assert (await console.post("/ui/integrations/default/resume")).status == 303
        assert (await console.post("/ui/integrations/nowhere/resume")).status == 404


async def test_a_read_only_console_refuses_its_forms_and_the_api_does_not(tmp_path: Path) -> None:
    async with site(tmp_path, "console: {read_only: true}") as console:
        answer = await console.post("/ui/integrations/default/pause", {"because": "x"})
        assert answer.status == 403
        assert "console.read_only" in answer.text
        assert '<form method="post"' not in (await console.get("/ui/")).text
        url = f"{console.service.admin_url}/api/v1/integrations/default/pause"
        async with console.session.post(url) as paused:
            assert paused.status == 200


async def test_without_the_console_there_are_the_links_and_the_api(tmp_path: Path) -> None:
    async with site(tmp_path, "console: {enabled: false}") as console:
        for path, status in (("/ui/", 404), ("/ui/static/0/app.js", 404), ("/", 200), ("/api/v1/status", 200)):
            assert (await console.get(path)).status == status, path
        assert "/-/healthy" in (await console.get("/")).text


async def test_a_form_of_another_type_is_not_read(tmp_path: Path) -> None:
    async with site(tmp_path) as console:
        answer = await console.post("/ui/integrations/default/pause", {}, Content_Type="text/plain")
        assert answer.status == 415


async def test_a_pause_says_which_user_asked_for_it_and_why(tmp_path: Path) -> None:
    users = write_users(tmp_path / "web.yml", admin="secret")
    async with site(tmp_path, "", f"--web.config.file={users}") as console:
        auth = "Basic YWRtaW46c2VjcmV0"
        because = {"because": "COC is being <b>moved</b>"}
        answer = await console.post("/ui/integrations/default/pause", because, Authorization=auth)
        assert answer.status == 303
        page = (await console.get("/ui/", Authorization=auth)).text
        assert "default was paused" in page
        assert "by admin" in page
        assert "COC is being &lt;b&gt;moved&lt;/b&gt;" in page
        pause = json.loads((await console.get("/api/v1/integrations", Authorization=auth)).text)[0]["pause"]
        assert (pause["by"], pause["because"]) == ("admin", because["because"])
