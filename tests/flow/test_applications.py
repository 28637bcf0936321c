"""Applications by name, the whole way: the adapter as a process, the sandbox as COC, the commands that people use."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapter.sandbox.applications import DEFAULT
from tests.mapping.builders import one_rule, write
from tests.stage import (
    Adapter,
    Coc,
    adapter,
    alert,
    counted,
    drained,
    fetch,
    post,
    sandbox,
    until,
    values,
    webhook,
    write_config,
)

SHOP, FRONT, CART, WEB, PROD, PAY, PLATFORM = (node.id for node in DEFAULT)
SIGNED = """\
    auth: {{type: aksk, access_key: AKTESTONLY, secret_key: sk-test-only-0001, project_id: p1}}
mappings: mappings/
applications: {{refresh_interval: {interval}}}
"""
BY_LABEL = one_rule(applicationId="{{ labels.app | application }}")


def configured(folder: Path, coc: Coc, interval: str = "1h", mapping: str = BY_LABEL) -> Path:
    write(folder / "mappings", a=mapping)
    return write_config(folder, coc.port, SIGNED.format(interval=interval))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "adapter", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def off_loop(*arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(run, *arguments)


def one(app: str, status: str = "firing", **changes: Any) -> bytes:
    return webhook(alert("Down", status, labels={"app": app}, **changes))


async def fetched(service: Adapter, times: int = 1) -> None:
    await counted(service.url, times, "coc_adapter_applications_fetches_total", result="accepted")


async def the_integration(service: Adapter) -> dict[str, Any]:
    (row,) = json.loads(await fetch(f"{service.admin_url}/api/v1/integrations"))
    found: dict[str, Any] = row["applications"]
    return found


async def test_names_become_ids_and_what_was_looked_up_is_counted(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(configured(tmp_path, coc)) as service:
        await fetched(service)
        for app in ("shop frontend", "SHOP / Shop Frontend / web / prod", "pay", PLATFORM, "Sohp"):
            await post(f"{service.url}/webhook", one(app))
        bodies = await coc.received(5)
        assert sorted(body["applicationId"] for body in bodies) == sorted([FRONT, PROD, PAY, PLATFORM, "unmapped"])
        by_id = {body["applicationId"]: body["additional"] for body in bodies}
        assert by_id[PROD]["application"] == "Shop / Shop Frontend / web / prod"
        assert by_id["unmapped"]["fallback"] == "applicationId: empty ('Sohp' is no application that COC lists)"
        scrape = await drained(service.url)
        for result, count in (("name", 3), ("id", 1), ("unknown", 1), ("ambiguous", 0)):
            assert values(scrape, "coc_adapter_applications_lookups_total", result=result) == count
        assert values(scrape, "coc_adapter_applications_known", integration="default") == len(DEFAULT)


async def test_a_rename_reaches_new_alarms_and_an_open_one_is_closed_as_coc_accepted_it(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(configured(tmp_path, coc, "200ms")) as service:
        await fetched(service)
        await post(f"{service.url}/webhook", one("Shop"))
        await coc.received(1)
        names = [node._replace(name="Shop" if node.id == PAY else f"old {node.name}") for node in DEFAULT]
        coc.stand_in.applications = names
        revision = json.loads(await fetch(f"{service.admin_url}/api/v1/status"))["mapping"]["revision"]

        async def renamed() -> bool:
            rows = json.loads(await fetch(f"{service.admin_url}/api/v1/applications?text=old%20Platform"))
            return bool(rows)

        await until(renamed, "the rename to be known")
        await post(f"{service.url}/webhook", one("Shop", startsAt="2026-11-23T15:30:00Z", fingerprint="f2"))
        await coc.received(2)
        await post(f"{service.url}/webhook", one("Shop", "resolved"))
        first, second, closed = await coc.received(3)
        assert (first["applicationId"], second["applicationId"]) == (SHOP, PAY)
        assert (closed["alarmStatus"], closed["applicationId"]) == ("ok", SHOP)
        status = json.loads(await fetch(f"{service.admin_url}/api/v1/status"))
        assert status["mapping"]["revision"] == revision


async def test_an_alarm_from_before_the_name_was_known_heals_at_its_next_update(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(configured(tmp_path, coc, "200ms")) as service:
        await fetched(service)
        await post(f"{service.url}/webhook", one("Billing"))
        (before,) = await coc.received(1)
        coc.stand_in.applications = [*DEFAULT, DEFAULT[0]._replace(id="b" * 24, name="Billing", code="", path="b" * 24)]

        async def known() -> bool:
            return bool(json.loads(await fetch(f"{service.admin_url}/api/v1/applications?text=Billing")))

        await until(known, "the new application")
        await post(f"{service.url}/webhook", one("Billing", annotations={"summary": "more of it"}))
        after = (await coc.received(2))[1]
        assert (before["applicationId"], after["applicationId"]) == ("unmapped", "b" * 24)


async def test_an_unknown_name_is_asked_for_at_once(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(configured(tmp_path, coc)) as service:
        await fetched(service)
        await post(f"{service.url}/webhook", one("Billing"))
        await fetched(service, 2)


FAULTS = [
    ({"status": 403}, "coc:application:list"),
    ({"status": 429, "retry_after": 1}, "over ratelimit"),
    ({"body": '{"data": {}}'}, "no list of applications"),
    ({"html": True}, "no list of applications"),
    ({"reset": "before"}, "the connection broke"),
    ({"loop": True}, "leads back"),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=[next(iter(fault)) for fault, _ in FAULTS])
async def test_yesterdays_directory_serves_while_coc_lists_nothing(
    tmp_path: Path, fault: dict[str, Any], words: str
) -> None:
    async with sandbox() as coc:
        config = configured(tmp_path, coc, "200ms")
        async with adapter(config) as service:
            await fetched(service)
            await service.terminate()
        await coc.fail({"call": "applications", **fault})
        async with adapter(config) as service:
            await post(f"{service.url}/webhook", one("Shop"))
            (body,) = await coc.received(1)
            assert body["applicationId"] == SHOP

            async def told() -> str:
                return str((await the_integration(service))["problem"])

            assert words in await until(told, "a problem")
            assert (await the_integration(service))["known"] == len(DEFAULT)
            await until(lambda: len(coc_fetches(service)) == 1, "one line in the log")
            listed = await off_loop("integrations", "list", f"--adapter.url={service.admin_url}")
            assert words in listed.stdout
            scrape = await drained(service.url)
            assert values(scrape, "coc_adapter_applications_fetches_total", result="accepted") == 0
            assert values(scrape, "coc_adapter_reports_total", outcome="delivered") == 1
            await coc.fail()
            await fetched(service)
            assert (await the_integration(service))["problem"] == ""
            assert len(coc_fetches(service)) == 1


def coc_fetches(service: Adapter) -> list[str]:
    """The lines of the log that say that applications cannot be fetched."""
    return [line for line in service.log_text.splitlines() if "applications cannot be fetched" in line]


async def test_a_slow_list_delays_no_report(tmp_path: Path) -> None:
    async with sandbox() as coc:
        await coc.fail({"call": "applications", "delay": 3600})
        async with adapter(configured(tmp_path, coc)) as service:
            await post(f"{service.url}/webhook", one(SHOP))
            (body,) = await coc.received(1, seconds=4)
    assert body["applicationId"] == SHOP


async def test_an_integration_without_credentials_does_not_ask(tmp_path: Path) -> None:
    async with sandbox() as coc:
        config = write_config(tmp_path, coc.port, "mappings: mappings/")
        write(tmp_path / "mappings", a=BY_LABEL)
        async with adapter(config) as service:
            await post(f"{service.url}/webhook", one("Shop"))
            await post(f"{service.url}/webhook", one(SHOP))
            bodies = await coc.received(2)
            assert {body["applicationId"] for body in bodies} == {"unmapped", SHOP}
            assert await the_integration(service) is None
            scrape = await drained(service.url)
            assert values(scrape, "coc_adapter_applications_fetches_total") == 0
            assert values(scrape, "coc_adapter_applications_lookups_total", result="unknown") == 1


async def test_an_interval_of_zero_turns_it_off(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(configured(tmp_path, coc, '"0"')) as service:
        assert await the_integration(service) is None


async def test_the_admin_api_pages_and_searches(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(configured(tmp_path, coc)) as service:
        await fetched(service)
        url = f"{service.admin_url}/api/v1/applications"
        rows = json.loads(await fetch(url))
        assert [row["way"] for row in rows] == sorted(row["way"] for row in rows)
        assert rows == [*json.loads(await fetch(f"{url}?limit=3")), *json.loads(await fetch(f"{url}?after=3"))]
        for text, ids in (
            ("FRONTEND", {FRONT, WEB, PROD}),
            ("支付", {PAY}),
            (CART, {CART}),
            ("pay", {PAY}),
            ("zz", set()),
        ):
            async with aiohttp.ClientSession() as session, session.get(url, params={"text": text}) as answer:
                assert {row["id"] for row in await answer.json()} == ids
        assert json.loads(await fetch(f"{url}?integration=none")) == []


async def test_a_list_is_the_same_from_the_adapter_and_from_coc_and_renders_as_in_production(tmp_path: Path) -> None:
    async with sandbox() as coc:
        config = configured(tmp_path, coc)
        async with adapter(config) as service:
            await fetched(service)
            running = await off_loop("applications", "list", f"--adapter.url={service.admin_url}", "--output=json")
            table = await off_loop("applications", f"--adapter.url={service.admin_url}")
        direct = await off_loop("applications", "list", f"--config.file={config}", "--output=json")
        named = await off_loop("applications", "list", f"--config.file={config}", "--name=cart", "--output=json")
    assert running.returncode == direct.returncode == table.returncode == 0
    assert json.loads(running.stdout) == json.loads(direct.stdout)
    assert [row["id"] for row in json.loads(named.stdout)] == [CART]
    assert {"id", "integration", "name", "code", "type", "path"} <= json.loads(direct.stdout)[0].keys()
    assert table.stdout.splitlines()[0].split() == ["ID", "NAME", "CODE", "TYPE", "PATH"]
    assert "Shop / Shop Frontend / web / prod" in table.stdout
    file, payload = tmp_path / "applications.json", tmp_path / "payload.json"
    file.write_text(direct.stdout)
    payload.write_bytes(one("shop-cart"))
    flags = (f"--mappings={tmp_path / 'mappings'}", f"--applications={file}")
    (result,) = json.loads(run("render", *flags, "--output=json", str(payload)).stdout)
    assert result["body"]["applicationId"] == CART
    assert result["body"]["additional"]["application"] == "Shop Cart"


async def test_why_coc_lists_nothing_is_told(tmp_path: Path) -> None:
    async with sandbox() as coc:
        await coc.fail({"call": "applications", "status": 403})
        config = configured(tmp_path, coc)
        refused = await off_loop("applications", "list", f"--config.file={config}")
        unknown = await off_loop("applications", "list", f"--config.file={config}", "--integration=no")
        async with adapter(config) as service:
            await counted(service.url, 1, "coc_adapter_applications_fetches_total", result="credentials")
            running = await off_loop("applications", "list", f"--adapter.url={service.admin_url}")
    assert (refused.returncode, unknown.returncode, running.returncode) == (1, 1, 0)
    assert "integration default: COC does not list its applications: 403 APIGW.0302" in refused.stderr
    assert "no integration 'no'" in unknown.stderr
    assert running.stdout == "no applications\n"
    assert "coc:application:list" in running.stderr


NAMED = """
lookup:
  application: {shop: Shop Frontned, pay: pay, old: 18cfa0a5ef8d, good: Shop / Shop Cart}
  team: {shop: deadbeefdeadbeef}
defaults:
  applicationId: "{{ lookup.application[labels.namespace] | application or 'kubernetes' }}"
  alarmName: "{{ labels.alertname }}"
  alarmLevel: Major
  nameSpace: x
  alarmDesc: "{{ lookup.team[labels.team] or labels.alertname }}"
rules:
  - name: literal
    when: labels.a
    alarm: {applicationId: 66f0a1b2c3d4e5f6a7b8c9ff}
  - name: known
    when: labels.b
    alarm: {applicationId: 66f0a1b2c3d4e5f6a7b8c901}
  - name: choice
    when: labels.c and (labels.app | application)
    alarm: {applicationId: "{% set app = 'Shop' if labels.x else 'Twins' %}{{ app | trim | application }}"}
  - name: rest
"""


async def test_check_online_finds_what_coc_does_not_list_and_offers_the_nearest(tmp_path: Path) -> None:
    async with sandbox() as coc:
        coc.stand_in.applications = [*DEFAULT, *twins()]
        config = configured(tmp_path, coc, mapping=NAMED)
        found = await off_loop("check", f"--config.file={config}", "--online")
        await coc.fail({"call": "applications", "status": 403})
        refused = await off_loop("check", f"--config.file={config}", "--online")
        offline = await off_loop("check", f"--config.file={config}")
    assert offline.returncode == 0
    assert (found.returncode, refused.returncode) == (1, 1)
    lines = [line for line in found.stdout.splitlines() if line.startswith(str(tmp_path))]
    assert [line.removeprefix(f"{tmp_path}/mappings/a.yaml:") for line in lines] == [
        "3:23: COC lists no application named 'Shop Frontned' (nearest: 'Shop Frontend', "
        "'Shop / Shop Frontend', 'Shop Cart')",
        "3:53: COC lists no application with the id '18cfa0a5ef8d'",
        "14:28: COC lists no application with the id '66f0a1b2c3d4e5f6a7b8c9ff' (nearest: "
        "'66f0a1b2c3d4e5f6a7b8c931 (Shop / Shop Frontend / web / prod)', "
        "'66f0a1b2c3d4e5f6a7b8c921 (Shop / Shop Frontend / web)', '66f0a1b2c3d4e5f6a7b8c912 (Shop Cart)')",
        "20:66: 'Twins' names several applications (write one of 'Twins', 'Shop / Twins')",
    ]
    assert "integration default: COC does not list its applications: 403" in refused.stdout


def twins() -> Sequence[Any]:
    return [
        DEFAULT[0]._replace(id="1" * 24, name="Twins", code="", path="1" * 24),
        DEFAULT[1]._replace(id="2" * 24, name="Twins", code="", path=f"{SHOP}.{'2' * 24}"),
    ]


def test_check_online_without_credentials_says_so(tmp_path: Path) -> None:
    found = run("check", f"--config.file={write_config(tmp_path, 1)}", "--online")
    assert found.returncode == 1
    assert "integration default: auth is none" in found.stdout


def test_a_file_of_applications_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("{}")
    for path, words in ((file, "holds no list"), (tmp_path / "none.json", "cannot be read")):
        found = run("test", f"--applications={path}")
        assert found.returncode == 2
        assert words in found.stderr


def test_a_case_may_bring_its_own_applications(tmp_path: Path) -> None:
    write(tmp_path, a=BY_LABEL)
    cases = """
    tests:
      - name: by name
        alert: {labels: {alertname: x, app: shop}}
        applications: {Shop: 18cfa0a5ef8d}
        expect: {alarm: {applicationId: 18cfa0a5ef8d, additional: {application: Shop}}}
      - name: by a list
        alert: {labels: {alertname: x, app: Shop / web}}
        applications:
          - {id: a1, name: Shop, type: application}
          - {id: a2, name: web, type: component, parent_id: a1}
        expect: {alarm: {applicationId: a2}}
      - name: those of the file
        alert: {labels: {alertname: x, app: shop}}
        expect: {alarm: {applicationId: b1}}
    """
    write(tmp_path / "tests", a=cases)
    file = tmp_path / "applications.json"
    file.write_text('[{"id": "b1", "name": "Shop", "type": "application"}]')
    with_file = run("test", f"--mappings={tmp_path}", f"--applications={file}")
    without = run("test", f"--mappings={tmp_path}")
    assert (with_file.returncode, without.returncode) == (0, 1), with_file.stdout
    assert "3 passed, 0 failed" in with_file.stdout
    assert "2 passed, 1 failed" in without.stdout


@pytest.mark.parametrize("text", ["[1]", "3", "[{name: x}]", "[{id: 12, name: x}]"])
def test_a_case_whose_applications_are_none_is_a_finding(tmp_path: Path, text: str) -> None:
    write(tmp_path, a=BY_LABEL)
    case = (
        f"tests:\n  - name: x\n    alert: {{labels: {{a: b}}}}\n    applications: {text}\n    expect: {{rule: all}}\n"
    )
    write(tmp_path / "tests", a=case)
    found = run("test", f"--mappings={tmp_path}")
    assert found.returncode == 1
    assert "a.yaml:4:" in found.stdout
    assert "not applications" in found.stdout


def test_diff_by_names_shows_the_ids(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old", a=BY_LABEL), write(tmp_path / "new", a=one_rule(applicationId="18cfa0a5ef8d"))
    file, payload = tmp_path / "a.json", tmp_path / "p.json"
    file.write_text('[{"id": "b1", "name": "Shop", "type": "application"}]')
    payload.write_bytes(one("shop"))
    found = run("diff", f"--mappings={new}", f"--against={old}", f"--applications={file}", str(payload))
    assert found.returncode == 1
    assert "applicationId: 'b1' -> '18cfa0a5ef8d'" in found.stdout


def test_the_sandbox_lists_the_applications_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('[{"id": "b1", "name": "Shop", "type": "application"}]')
    command = [sys.executable, "-m", "adapter", "sandbox", "--listen-address=127.0.0.1:0", f"--applications={file}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        config = write_config(tmp_path, int(url.rpartition(":")[2]), SIGNED.format(interval="1h"))
        (tmp_path / "mappings").mkdir()
        found = run("applications", "list", f"--config.file={config}", "--output=json")
        process.terminate()
    assert [row["id"] for row in json.loads(found.stdout)] == ["b1"]
