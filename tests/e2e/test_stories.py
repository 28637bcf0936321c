"""What people on call do, by role and name."""

from __future__ import annotations

import re
from typing import Any

from tests.e2e.browser import tab
from tests.e2e.night import DEAD, Night
from tests.stage import until


async def test_one_finds_why_an_alarm_never_reached_coc(browser: Any, on_call: Night) -> None:
    async with tab(browser, on_call.url) as shown:
        page = shown.page
        await shown.open("/")
        first = page.get_by_role("region", name="What is wrong")
        assert "dba is paused: COC has refused its credentials" in await first.inner_text()
        await page.get_by_role("link", name="Alarms", exact=True).click()
        await page.get_by_role("searchbox").fill("ReplicationStopped")
        await page.get_by_role("button", name="Search").click()
        row = page.get_by_role("row").filter(has_text="ReplicationStopped")
        assert "not yet" in await row.inner_text()
        await row.get_by_role("link", name="ReplicationStopped").click()
        told = await page.get_by_role("main").inner_text()
        assert "COC has accepted nothing about it yet" in told
        assert "the integration is paused" in told
        assert "401" in told
        await shown.check()


async def test_one_resumes_a_paused_integration(browser: Any, on_call: Night) -> None:
    async with tab(browser, on_call.url) as shown:
        page = shown.page
        await shown.open("/ui/")
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="default"))
        await row.get_by_text("Pause…").click()
        await row.get_by_label("Why?").fill("COC is being moved")
        await row.get_by_role("button", name="Pause default").click()
        assert await page.get_by_role("status").inner_text() == "Integration default is paused."
        assert (await on_call.integrations())["default"]["pause"]["reason"] == "operator"
        assert "COC is being moved" in await page.get_by_role("main").inner_text()
        await page.get_by_role("button", name="Resume default").click()
        assert await page.get_by_role("status").inner_text() == "Integration default reports again."
        assert (await on_call.integrations())["default"]["pause"] is None
        await shown.check()


async def test_one_replays_a_hundred_dead_letters_after_a_look(browser: Any, on_call: Night) -> None:
    async with tab(browser, on_call.url) as shown:
        page = shown.page
        await shown.open("/ui/")
        await page.get_by_role("link", name=f"Dead letters ({DEAD})").click()
        group = page.get_by_role("region", name=re.compile(r"400 COC\.30001"))
        assert f"{DEAD} reports of {DEAD} alarms" in await group.inner_text()
        assert (
            "applicationId" in await group.inner_text() or "The same would be sent again." in await group.inner_text()
        )
        await group.get_by_role("link", name="Replay all…").click()
        assert await page.get_by_role("heading", level=1).inner_text() == f"Replay {DEAD} dead letters?"
        assert "still fall back" in await page.get_by_role("main").inner_text()
        await shown.check()
        await page.get_by_role("button", name=f"Replay {DEAD} as now").click()
        assert await page.get_by_role("status").inner_text() == f"Owed again: {DEAD}."
        await until(lambda: sum(body["alarmName"] == "QueueFull" for body in on_call.coc.bodies) == DEAD, "all at COC")
        assert "COC has refused nothing that still waits." in await page.get_by_role("main").inner_text()


async def test_a_discard_of_many_asks_for_their_number(browser: Any, on_call: Night) -> None:
    async with tab(browser, on_call.url) as shown:
        page = shown.page
        await shown.open("/ui/dead-letters")
        await (
            page.get_by_role("region", name=re.compile("COC.30001")).get_by_role("link", name="Discard…").first.click()
        )
        await page.get_by_role("button", name=f"Discard {DEAD}").click()
        assert (await on_call.integrations())["default"]["dead_letters"] == DEAD
        await page.get_by_role("textbox").fill(str(DEAD))
        await page.get_by_role("button", name=f"Discard {DEAD}").click()
        assert await page.get_by_role("status").inner_text() == f"Discarded: {DEAD}."
        assert (await on_call.integrations())["default"]["dead_letters"] == 0


async def test_the_keyboard_alone_leads_from_the_overview_to_the_trail(browser: Any, on_call: Night) -> None:
    async with tab(browser, on_call.url) as shown:
        press = shown.page.keyboard.press
        await shown.open("/ui/")
        await press("?")
        assert await shown.page.get_by_role("dialog", name="Keys").is_visible()
        await press("Escape")
        await shown.page.get_by_role("dialog", name="Keys").wait_for(state="hidden")
        await press("g")
        await press("a")
        await shown.page.wait_for_url("**/ui/alarms")
        await press("/")
        await shown.page.keyboard.type("ReplicationStopped")
        await press("Enter")
        await shown.page.wait_for_url("**q=ReplicationStopped**")
        await press("j")
        await press("Enter")
        await shown.page.wait_for_url("**/ui/alarms/dba/*")
        assert "the integration is paused" in await shown.page.get_by_role("main").inner_text()
        await press("g")
        await press("d")
        await shown.page.wait_for_url("**/ui/dead-letters")


async def test_the_same_in_chinese(browser: Any, on_call: Night) -> None:
    async with tab(browser, on_call.url) as shown:
        page = shown.page
        await shown.open("/ui/")
        await page.get_by_role("link", name="中文").click()
        assert await page.get_by_role("link", name="概览").get_attribute("aria-current") == "page"
        assert "dba 已暂停：COC 拒绝其凭据" in await page.get_by_role("region", name="异常").inner_text()
        await page.get_by_role("link", name=f"死信 ({DEAD})").click()
        await page.get_by_role("link", name="全部重发…").click()
        await page.get_by_role("button", name=f"按现在的映射重发 {DEAD} 条").click()
        assert await page.get_by_role("status").inner_text() == f"已重新排队：{DEAD}。"
        await page.get_by_role("link", name="告警", exact=True).click()
        await page.get_by_role("searchbox").fill("ReplicationStopped")
        await page.get_by_role("button", name="搜索").click()
        await page.get_by_role("link", name="ReplicationStopped").click()
        assert "COC 尚未接受关于它的任何内容" in await page.get_by_role("main").inner_text()
        await page.get_by_role("link", name="概览").click()
        await page.get_by_role("button", name="恢复 dba").click()
        assert await page.get_by_role("status").inner_text() == "集成 dba 已恢复上报。"
        await shown.check()


async def test_a_page_refreshes_and_says_when_the_adapter_is_gone(browser: Any, on_call: Night) -> None:
    async with tab(browser, on_call.url) as shown:
        page = shown.page
        await shown.open("/ui/")
        await on_call.pause("default")
        await page.get_by_role("button", name="Resume default").wait_for()
        on_call.service.kill()
        await page.get_by_text("No answer since").wait_for(timeout=40_000)
        shown.wrong.clear()  # the browser reports each request that found nobody
