"""What authors of mappings do in the playground, by role and name."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser import Tab, tab
from tests.stage import Adapter, Coc, adapter, alert, drained, free_port, post, sandbox, webhook, write_config

MAPPINGS = """\
lookup:
  application: {shop: 18cfa0a5ef8d}

rules:
  - name: watchdog
    when: labels.alertname == "Watchdog"
    drop: true

  - name: pod
    when: labels.namespace and labels.pod
    alarm:
      alarmName: "{{ labels.alertname }}"
      alarmLevel: "{{ labels.severity | level }}"
      nameSpace: "{{ labels.namespace }}"
      applicationId: "{{ lookup.application[labels.namespace] }}"
      resourceName: "{{ labels.pod }}"
      alarmDesc: "{{ annotations.summary }}"
"""
ALERTS = (
    alert("PodCrashes", labels={"pod": "api-1"}),
    alert("PodPending", labels={"pod": "pay-1", "namespace": "pay"}),
    alert("Watchdog", labels={"namespace": ""}),
    alert("磁盘空间不足", labels={"pod": "db-1"}),
)
AUTH = "    auth: {type: aksk, access_key: AKTESTONLY, secret_key: sk-test-only-0001, project_id: p1}\n"
FIXED = "{shop: 18cfa0a5ef8d, pay: 27dfb1b6f09e}"


@dataclass(frozen=True, slots=True)
class Bench:
    """An adapter with mappings of its own, to which the alerts have come."""

    service: Adapter
    coc: Coc
    folder: Path
    port: int

    @asynccontextmanager
    async def tab(self, browser: Any, **look: Any) -> AsyncIterator[Tab]:
        async with tab(browser, f"http://127.0.0.1:{self.port}", **look) as opened:
            await opened.open("/ui/mappings")
            yield opened

    @asynccontextmanager
    async def again(self) -> AsyncIterator[Adapter]:
        """The adapter once more, at the same address."""
        async with adapter(self.folder / "adapter.yml", f"--web.admin-address=127.0.0.1:{self.port}") as service:
            yield service


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "10-shop.yaml").write_text(MAPPINGS)
    port = free_port()
    async with sandbox() as coc:
        config = write_config(tmp_path, coc.port, AUTH)
        config.write_text(f"mappings: {tmp_path / 'mappings'}\n{config.read_text()}")
        async with adapter(config, f"--web.admin-address=127.0.0.1:{port}") as service:
            await post(f"{service.url}/webhook", webhook(*ALERTS))
            await drained(service.url)
            yield Bench(service, coc, tmp_path, port)


def editor(page: Page) -> Any:
    return page.get_by_role("textbox", name="10-shop.yaml")


def summary(page: Page) -> Any:
    return page.locator("#summary")


async def choose(page: Page, name: str) -> None:
    await page.get_by_label("Alerts", exact=True).get_by_role("button", name=name).click()


async def replace(page: Page, before: str, after: str) -> None:
    """Edit the open file as a person would: select the text, type over it."""
    text = await editor(page).input_value()
    assert before in text
    at = text.index(before)
    await editor(page).evaluate(
        "(area, [from, to]) => { area.focus(); area.setSelectionRange(from, to); }", [at, at + len(before)]
    )
    await page.keyboard.insert_text(after)


async def test_one_fixes_a_fallback_with_live_preview_and_takes_the_patch_out(browser: Any, bench: Bench) -> None:
    async with bench.tab(browser) as shown:
        page = shown.page
        await expect(summary(page)).to_contain_text("0 of 4 differ")
        await choose(page, "PodPending")
        row = page.get_by_role("row", name=re.compile("^applicationId"))
        await expect(row).to_contain_text("fallback: empty")
        await expect(row.get_by_role("button")).to_have_text(":15")
        await replace(page, "{shop: 18cfa0a5ef8d}", FIXED)
        await expect(row).to_contain_text("27dfb1b6f09e")
        await expect(row).not_to_contain_text("fallback")
        await expect(summary(page)).to_contain_text("1 of 4 differ")
        await shown.check()
        await page.get_by_role("button", name="Take out…").click()
        await expect(page.get_by_role("textbox", name="Commands")).to_have_value(
            re.compile("kubectl create configmap .*--dry-run=client -o yaml")
        )
        await shown.check()
        async with page.expect_download() as download:
            await page.get_by_role("button", name="Download mappings.patch").click()
        await (await download.value).save_as(bench.folder / "mappings.patch")
    repository = bench.folder / "repository"
    (repository / "mappings").mkdir(parents=True)
    (repository / "mappings" / "10-shop.yaml").write_text(MAPPINGS)
    subprocess.run(["git", "init", "-q"], cwd=repository, check=True)
    subprocess.run(["git", "apply", str(bench.folder / "mappings.patch")], cwd=repository, check=True)
    assert (repository / "mappings" / "10-shop.yaml").read_text() == MAPPINGS.replace("{shop: 18cfa0a5ef8d}", FIXED)
    check = [sys.executable, "-m", "adapter", "check", f"--mappings={repository / 'mappings'}"]
    subprocess.run(check, check=True)
    assert (bench.folder / "mappings" / "10-shop.yaml").read_text() == MAPPINGS, "the playground never writes a mapping"


async def test_one_turns_a_failing_real_alert_into_a_test(browser: Any, bench: Bench) -> None:
    async with bench.tab(browser) as shown:
        page = shown.page
        await choose(page, "PodPending")
        await page.get_by_role("button", name="Make a test of this").click()
        case = page.get_by_role("textbox", name="tests/shop.yaml")
        await expect(case).to_be_focused()
        text = await case.input_value()
        assert "- name: PodPending pay/pay-1" in text
        assert "fallbacks: [applicationId]" in text
        await expect(page.get_by_role("region", name="Result")).to_contain_text("✓ passed PodPending pay/pay-1")
        wanted = text.replace("applicationId: unmapped", "applicationId: 27dfb1b6f09e").replace("[applicationId]", "[]")
        await case.fill(wanted)
        await expect(summary(page)).to_contain_text("tests failed: 1")
        await shown.check()
        await page.get_by_role("button", name="10-shop.yaml").click()
        await replace(page, "{shop: 18cfa0a5ef8d}", FIXED)
        await expect(summary(page)).to_contain_text("tests ok: 1")
        await page.get_by_role("button", name="Take out…").click()
        patch = await page.get_by_role("textbox", name="Patch").input_value()
    repository = bench.folder / "mappings"
    subprocess.run(["git", "apply", "-p2", "-"], cwd=repository, check=True, input=patch.encode())
    test = [sys.executable, "-m", "adapter", "test", f"--mappings={repository}"]
    assert "1 passed, 0 failed" in subprocess.run(test, check=True, capture_output=True, text=True).stdout


async def test_the_patch_makes_and_removes_files_and_keeps_line_ends(browser: Any, bench: Bench) -> None:
    mappings = bench.folder / "mappings"
    (mappings / "20 old.yaml").write_bytes(MAPPINGS.replace("\n", "\r\n").encode())
    (mappings / "30-gone.yaml").write_text(MAPPINGS)
    await post(f"{bench.service.url}/-/reload", b"")
    async with bench.tab(browser) as shown:
        page = shown.page
        await page.get_by_role("button", name="30-gone.yaml", exact=True).click()
        await page.get_by_role("button", name="Remove").click()
        await page.get_by_text("New file").click()
        await page.get_by_role("textbox", name="Name, such as").fill("tests/new.yaml")
        await page.get_by_role("button", name="Create").click()
        await page.get_by_role("textbox", name="tests/new.yaml").fill("tests: []")
        await page.get_by_role("button", name="20 old.yaml", exact=True).click()
        text = await page.get_by_role("textbox", name="20 old.yaml").input_value()
        await page.get_by_role("textbox", name="20 old.yaml").fill(text.replace("| level", "| upper"))
        await page.get_by_role("button", name="Take out…").click()
        async with page.expect_download() as download:
            await page.get_by_role("button", name="Download mappings.patch").click()
        await (await download.value).save_as(bench.folder / "mappings.patch")
    subprocess.run(["git", "apply", "-p1", "mappings.patch"], cwd=bench.folder, check=True)
    assert not (mappings / "30-gone.yaml").exists()
    assert (mappings / "tests" / "new.yaml").read_bytes() == b"tests: []"
    assert (mappings / "20 old.yaml").read_bytes() == text.replace("| level", "| upper").replace("\n", "\r\n").encode()


async def test_marks_stand_at_line_and_column_and_newly_dropped_alarms_first(browser: Any, bench: Bench) -> None:
    async with bench.tab(browser) as shown:
        page = shown.page
        await replace(page, "| level", "| lvl")
        finding = page.get_by_label("Findings").get_by_role("button")
        await expect(finding).to_contain_text("10-shop.yaml:13:")
        await expect(finding).to_contain_text("level")
        await expect(page.locator("#editor .mark.error")).to_have_text("lvl")
        await shown.check()
        await editor(page).press("Control+Home")
        await page.keyboard.press("F8")
        assert await editor(page).evaluate("(area) => area.value.slice(area.selectionStart).startsWith('lvl')")
        await replace(page, "| lvl", "| upper")
        await replace(page, '"Watchdog"', '"PodCrashes"')
        await expect(summary(page)).to_contain_text("1 newly dropped")
        await page.get_by_text("all", exact=True).click()
        result = page.get_by_role("region", name="Result")
        await expect(result.locator("summary").first).to_contain_text("1 newly dropped")
        await result.locator("summary").first.click()
        await result.get_by_role("button", name="PodCrashes").click()
        await expect(result.get_by_role("list", name="Rules tried")).to_contain_text("✓ watchdog")
        await shown.check()


async def test_a_draft_survives_a_reload_and_a_restart_of_the_adapter(browser: Any, bench: Bench) -> None:
    async with bench.tab(browser) as shown:
        page = shown.page
        await replace(page, "{shop: 18cfa0a5ef8d}", FIXED)
        await expect(summary(page)).to_contain_text("1 of 4 differ")
        await page.reload()
        await expect(editor(page)).to_have_value(re.compile(re.escape(FIXED)))
        await expect(summary(page)).to_contain_text("1 of 4 differ")
        bench.service.kill()
        await replace(page, "Watchdog", "Heartbeat")
        await expect(summary(page)).to_contain_text("The draft is kept")
        shown.wrong.clear()  # the browser reports refused connections
        (bench.folder / "mappings" / "10-shop.yaml").write_text(f"# from Git\n{MAPPINGS}")
        async with bench.again():
            await expect(page.get_by_text("Other mappings serve now")).to_be_visible(timeout=20_000)
            shown.wrong.clear()
            await expect(editor(page)).to_have_value(re.compile("Heartbeat"))
            await page.get_by_role("button", name="Compare with what serves now").click()
            await expect(page.get_by_text("Other mappings serve now")).to_be_hidden()
            await page.get_by_role("button", name="Take out…").click()
            assert "-# from Git" in await page.get_by_role("textbox", name="Patch").input_value()
            kept = await page.evaluate("() => JSON.stringify(localStorage)")
            assert "PodPending" not in kept, "alerts are never kept"


async def test_a_draft_that_hangs_names_its_template_and_serving_goes_on(browser: Any, bench: Bench) -> None:
    async with bench.tab(browser) as shown:
        page = shown.page
        loop = "".join(f"{{% for {name} in range(9999) %}}" for name in "abc") + "{% endfor %}" * 3
        await replace(page, "{{ annotations.summary }}", loop)
        count = bench.coc.count
        await post(f"{bench.service.url}/webhook", webhook(alert("During", labels={"pod": "p"})))
        (during,) = (await bench.coc.received(count + 1))[count:]
        assert during["alarmDesc"] == "During happened"
        finding = page.get_by_label("Findings").get_by_role("button").first
        await expect(finding).to_contain_text("10-shop.yaml:17:", timeout=30_000)
        await post(f"{bench.service.url}/webhook", webhook(alert("After", labels={"pod": "p"})))
        assert (await bench.coc.received(count + 2))[-1]["alarmDesc"] == "After happened"
        await shown.check()


async def test_all_of_it_by_keyboard_alone(browser: Any, bench: Bench) -> None:
    async with bench.tab(browser) as shown:
        page, keyboard = shown.page, shown.page.keyboard
        await expect(summary(page)).to_contain_text("0 of 4 differ")
        await keyboard.press("Alt+o")
        await expect(editor(page)).to_be_focused()
        await keyboard.press("Control+End")
        await keyboard.type('      regionId: "{{ labels.cluster | lev')
        await keyboard.press("Alt+c")
        await expect(page.get_by_role("searchbox", name="Search")).to_be_focused()
        await expect(page.get_by_role("button", name=re.compile("^level"))).to_be_visible()
        await keyboard.press("Enter")
        await expect(editor(page)).to_be_focused()
        await keyboard.type(' }}"')
        await expect(editor(page)).to_have_value(re.compile(r'regionId: "\{\{ labels.cluster \| level \}\}"$'))
        await keyboard.press("Control+Enter")
        await expect(summary(page)).to_contain_text("3 of 4 differ")
        position = page.locator("#position")
        await expect(position).to_have_text("1 / 4")
        await keyboard.press("Alt+j")
        await expect(position).to_have_text("2 / 4")
        await keyboard.press("Alt+k")
        await expect(position).to_have_text("1 / 4")
        await keyboard.press("Tab")
        assert (await editor(page).input_value()).endswith("  ")
        await keyboard.press("Escape")
        await keyboard.press("Tab")
        await expect(editor(page)).not_to_be_focused()
        await keyboard.press("Alt+p")
        await expect(page.get_by_role("region", name="Result")).to_be_focused()


async def test_an_application_is_completed_by_its_name(browser: Any, bench: Bench) -> None:
    async with bench.tab(browser) as shown:
        page = shown.page
        await page.get_by_text("Names, filters, fields, applications").click()
        await page.get_by_role("searchbox", name="Search").fill("shop frontend")
        found = page.get_by_role("button", name="Shop / Shop Frontend application")
        await expect(found.first).to_be_visible()
        await editor(page).press("Control+End")
        await found.first.click()
        await expect(editor(page)).to_have_value(re.compile("Shop . Shop Frontend$"))


async def test_text_of_an_input_method_is_tried_when_it_is_composed(browser: Any, bench: Bench) -> None:
    async with bench.tab(browser) as shown:
        page = shown.page
        await expect(summary(page)).to_contain_text("0 of 4 differ")
        tried: list[str] = []
        page.on("request", lambda request: tried.append(request.url) if request.url.endswith("/try") else None)
        await editor(page).press("Control+Home")
        method = await page.context.new_cdp_session(page)
        for text in ("n", "ni", "ni h"):
            await method.send(
                "Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)}
            )
        await asyncio.sleep(0.6)
        assert tried == []
        await method.send("Input.insertText", {"text": "# 你好"})
        await expect(editor(page)).to_have_value(re.compile("^# 你好"))
        await page.wait_for_event("response", lambda response: response.url.endswith("/try"))


async def test_a_pasted_body_is_tried_and_a_broken_one_shown_at_its_line(browser: Any, bench: Bench) -> None:
    async with bench.tab(browser) as shown:
        page = shown.page
        await page.get_by_label("pasted").check()
        pasted = page.get_by_role("textbox", name=re.compile("Webhook body"))
        await pasted.fill('{\n  "alerts": [\n    {"labels": }\n]}')
        await expect(page.get_by_role("alert").filter(has_text="line 3:")).to_be_visible()
        shown.wrong.clear()  # the browser reports a 400
        await pasted.fill(webhook(alert("<img src=x onerror=alert(1)>\u202e", labels={"pod": "p"})).decode())
        await expect(page.locator("#title")).to_have_text("<img src=x onerror=alert(1)><U+202E>")
        await expect(page.get_by_role("list", name="Rules tried")).to_contain_text("✓ pod")
        await shown.check()
        await page.get_by_role("button", name="Make a test of this").click()
        await expect(summary(page)).to_contain_text("tests ok: 1")


async def test_the_same_in_chinese_on_a_narrow_dark_screen(browser: Any, bench: Bench) -> None:
    async with bench.tab(browser, width=360, theme="dark", locale="zh-CN") as shown:
        page = shown.page
        await expect(summary(page)).to_contain_text("4 条中 0 条有差异")
        await shown.check()
        await page.get_by_text("文件与告警", exact=True).click()
        await page.get_by_role("button", name="PodPending").click()
        await page.get_by_text("结果", exact=True).first.click()
        await expect(page.get_by_role("list", name="尝试过的规则")).to_contain_text("labels.alertname 是 PodPending")
        await expect(page.get_by_text("! 回退: 为空")).to_be_visible()
        await shown.check()
        await page.get_by_role("button", name="生成测试").click()
        await expect(page.get_by_role("textbox", name="tests/shop.yaml")).to_be_visible()
        await expect(summary(page)).to_contain_text("测试通过：1")
        await page.get_by_role("button", name="导出…").click()
        await expect(page.get_by_role("textbox", name="补丁")).to_have_value(
            re.compile(r"^diff --git a/mappings/tests/shop.yaml")
        )
        await shown.check()


async def test_without_scripts_a_form_tries_the_draft(browser: Any, bench: Bench) -> None:
    async with bench.tab(browser, scripts=False) as shown:
        page = shown.page
        text = await editor(page).input_value()
        await editor(page).fill(text.replace("{shop: 18cfa0a5ef8d}", FIXED))
        await page.get_by_role("button", name="Try").click()
        await expect(editor(page)).to_have_value(re.compile(re.escape(FIXED)))
        await expect(page.get_by_role("region", name="Result")).to_contain_text("27dfb1b6f09e")
        shown.wrong.clear()


async def test_the_page_asks_for_four_things_before_it_asks_the_api(browser: Any, bench: Bench) -> None:
    async with tab(browser, f"http://127.0.0.1:{bench.port}") as shown:
        asked: list[str] = []
        shown.page.on("request", lambda request: asked.append(request.url))
        await shown.open("/ui/mappings")
        await expect(summary(shown.page)).to_contain_text("0 of 4 differ")
        assert len([url for url in asked if "/api/" not in url]) <= 4, asked
