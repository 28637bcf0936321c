"""The operator commands, run against a real adapter."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from yarl import URL

from adapter.alertmanager import fingerprint_of
from tests.server.servers import write_users
from tests.stage import REPOSITORY, Adapter, adapter, alert, fetch, post, sandbox, until, webhook, write_config
from tests.tls import Authority

MAPPING = """\
rules:
  - name: quiet
    when: labels.alertname == "Quiet"
    drop: true
  - name: rest
    alarm:
      alarmName: "{{ labels.alertname }}"
      alarmLevel: "{{ labels.severity | level }}"
      nameSpace: "{{ labels.namespace }}"
      applicationId: shop
      alarmDesc: "{{ annotations.summary }}"
"""


async def command(
    service: Adapter, *arguments: str, url: str | None = None, **environment: str
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one operator command; `url` "": without --adapter.url."""
    where = [] if url == "" else [f"--adapter.url={url or service.admin_url}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "adapter", *arguments, *where,
        cwd=REPOSITORY, env=os.environ | environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def explained(service: Adapter, words: str) -> str:
    code, out, errors = await command(service, "alarms", "explain", words)
    assert (code, errors) == (0, "")
    assert len(out.splitlines()) <= 24, "one screen"
    return out


async def listed(service: Adapter, *arguments: str) -> list[dict[str, Any]]:
    code, out, errors = await command(service, *arguments, "--output=json")
    assert code == 0, errors
    rows: list[dict[str, Any]] = json.loads(out)
    return rows


def config(folder: Path, coc: int) -> Path:
    (folder / "mappings").mkdir()
    (folder / "mappings" / "a.yaml").write_text(MAPPING)
    return write_config(folder, coc, "mappings: mappings\n")


async def test_times_outside_the_calendar_are_shown_at_its_end(tmp_path: Path) -> None:
    """Also those that an older version stored as they came."""
    path = write_config(tmp_path, 9)
    beyond = {"startsAt": "9999-12-31T23:59:59-14:00", "labels": {"severity": "critical"}}
    last = "9999-12-31T23:59:59.999Z"
    async with adapter(path) as service:
        await post(f"{service.url}/webhook", webhook(alert("Beyond", **beyond), alert("Sibling")))
        await post(f"{service.url}/webhook", webhook(alert("Ended", "resolved", endsAt="9999-12-31T23:00:00-01:00")))
        alarms = {row["labels"]["alertname"]: row for row in await listed(service, "alarms")}
        assert [alarms["Beyond"]["starts_at"], alarms["Ended"]["ends_at"]] == [last, last]
        assert alarms["Sibling"]["starts_at"] == "2026-11-23T15:00:00.000Z"
        assert "9999-12-31 23:59:59 UTC" in await explained(service, "Beyond")
        await service.terminate()
    with closing(sqlite3.connect(tmp_path / "data" / "adapter.db")) as store, store:
        store.execute("UPDATE alarm SET starts = ?, ends = ?", (2**62, -(2**62)))
    async with adapter(path) as service:
        assert {row["starts_at"] for row in await listed(service, "alarms")} == {last}


async def test_explain_answers_why_in_every_prepared_case(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(config(tmp_path, coc.port)) as service:
        url = f"{service.url}/webhook"
        await coc.fail({"status": 400, "alarm_id": fingerprint("Refused")})
        await post(url, webhook(alert("Delivered"), alert("Quiet"), alert("Repeated"), alert("Refused")))
        await coc.received(2)
        await post(url, webhook(alert("Repeated")))
        await post(url, webhook(alert("Delivered", annotations={"summary": "other words"})))
        await settled(service)

        assert "delivered, COC accepted it, made by rule 'rest' of a.yaml" in await explained(service, "Repeated")
        assert "unneeded, the fields COC goes by are as COC has them" in await explained(service, "Delivered")
        assert "dropped, rule 'quiet' of a.yaml" in await explained(service, "Quiet")
        dead = await explained(service, "Refused")
        assert "COC refused it for good: 400 COC.00000001" in dead
        assert "coc-adapter dead-letters replay" in dead
        assert "Never received" in await explained(service, "Nobody")

        await coc.fail({"status": 503})
        await post(url, webhook(alert("Waiting")))
        await until(lambda: "report failed" in service.log_text, "a failed attempt")
        waiting = await explained(service, "Waiting")
        assert "1 report waiting" in waiting
        assert "server_error 503" in waiting

        code, out, _ = await command(service, "integrations", "pause", "default")
        assert (code, out) == (0, "default is paused, 1 reports pending\n")
        paused = await explained(service, "Waiting")
        assert "the integration is paused since" in paused
        assert "coc-adapter integrations resume" in paused


async def test_an_alarm_is_explained_whatever_characters_its_fingerprint_has(tmp_path: Path) -> None:
    odd = [
        "{}",
        "a{b}c",
        "{fingerprint}",
        "a/b",
        "..",
        "a%7Bb",
        "a?b#c",
        "%",
        " ",
        "a\nb",
        "a\x00b",
        "\N{CJK RADICAL MEAT}",
    ]
    async with sandbox() as coc, adapter(config(tmp_path, coc.port)) as service:
        alerts = [alert(f"Odd{number}", fingerprint=text) for number, text in enumerate(odd)]
        await post(f"{service.url}/webhook", webhook(*alerts))
        await coc.received(len(odd))
        for text in odd:
            url = URL(f"{service.admin_url}/api/v1/alarms/default/{quote(text, safe='')}", encoded=True)
            assert json.loads(await fetch(url))["alarm"]["fingerprint"] == text
        for text in ("{}", "a{b}c", ".."):
            assert "Alertmanager says firing" in await explained(service, text)
        assert "Alertmanager says firing" in await explained(service, "Odd10")  # no shell passes a NUL


async def test_a_repeat_is_counted_and_explained_once_it_has_been_written(tmp_path: Path) -> None:
    async with sandbox() as coc:
        path = config(tmp_path, coc.port)
        async with adapter(path) as service:
            for _ in range(3):
                await post(f"{service.url}/webhook", webhook(alert("Repeated")))
            await coc.received(1)
            assert await service.terminate() == 0
        async with adapter(path) as service:
            assert "repeated it 2 times" in await explained(service, fingerprint("Repeated"))


async def test_a_dead_letter_is_listed_replayed_and_delivered_with_its_ok_after_it(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(config(tmp_path, coc.port)) as service:
        await coc.fail({"status": 400})
        for status in ("firing", "resolved"):
            await post(f"{service.url}/webhook", webhook(alert("Refused", status)))
            await settled(service)
        (letter,) = await listed(service, "dead-letters", "list")
        assert (letter["integration"], letter["fingerprint"]) == ("default", fingerprint("Refused"))
        assert letter["last_attempts"][-1]["code"] == "COC.00000001"
        await coc.fail()
        code, out, _ = await command(service, "dead-letters", "replay", str(letter["id"]))
        assert (code, out) == (0, f"replayed {letter['id']}\n")
        await coc.received(2)
        assert coc.states(fingerprint("Refused")) == ["alarm", "ok"]
        assert await listed(service, "dead-letters", "list") == []
        code, out, _ = await command(service, "dead-letters", "replay", str(letter["id"]))
        assert (code, out) == (1, f"{letter['id']} is not on the list of dead letters\n")


async def test_a_discarded_dead_letter_is_off_the_list_and_never_sent(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(config(tmp_path, coc.port)) as service:
        await coc.fail({"status": 400})
        await post(f"{service.url}/webhook", webhook(alert("Refused")))
        await settled(service)
        (letter,) = await listed(service, "dead-letters", "list")
        code, out, _ = await command(service, "dead-letters", "discard", str(letter["id"]))
        assert (code, out) == (0, f"discarded {letter['id']}\n")
        assert await listed(service, "dead-letters", "list") == []
        assert coc.bodies == []


async def test_lists_filter_by_status_text_matcher_and_integration(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(config(tmp_path, coc.port)) as service:
        await post(f"{service.url}/webhook", webhook(alert("Up"), alert("Down", labels={"pod": "api-1"})))
        await post(f"{service.url}/webhook", webhook(alert("Up", "resolved")))
        await coc.received(3)

        async def names(*flags: str) -> list[str]:
            rows = await listed(service, "alarms", "list", *flags)
            assert all(row["id"] and row["integration"] == "default" and row["fingerprint"] for row in rows)
            return [row["labels"]["alertname"] for row in rows]

        assert await names() == ["Up", "Down"]
        assert await names("--status=firing") == ["Down"]
        assert await names("--text=API-") == ["Down"]
        assert await names('--matcher=alertname="Up"', '--matcher=namespace="shop"') == ["Up"]
        assert await names('--matcher={alertname=~"U.|D.*", pod!~"db.*", absent="",}') == ["Up", "Down"]
        assert await names("--matcher=pod!=api-1") == ["Up"]
        assert await names("--integration=other") == []
        for unreadable in ("Up", "", "alertname='Up'", 'alertname=~"("'):
            code, out, errors = await command(service, "alarms", "list", f"--matcher={unreadable}")
            assert (code, out) == (1, "")
            assert "matcher" in errors or "pattern" in errors
        code, out, _ = await command(service, "alarms", "list")
        assert code == 0
        assert out.splitlines()[0].startswith("FINGERPRINT")


async def test_pause_survives_a_restart_and_resume_delivers_what_waited(tmp_path: Path) -> None:
    async with sandbox() as coc:
        path = config(tmp_path, coc.port)
        async with adapter(path) as service:
            await command(service, "integrations", "pause", "default")
            await post(f"{service.url}/webhook", webhook(alert("Waiting")))
            service.kill()
        async with adapter(path) as service:
            (row,) = await listed(service, "integrations", "list")
            assert (row["state"], row["pause"]["reason"], row["pending"]) == ("paused", "operator", 1)
            assert coc.bodies == []
            await command(service, "integrations", "resume", "default")
            await coc.received(1)


async def test_where_no_adapter_answers_the_command_says_what_to_try(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(config(tmp_path, coc.port)) as service:
        code, out, errors = await command(service, "alarms", "list", url="http://127.0.0.1:1")
        assert (code, out) == (1, "")
        assert "no adapter answers at http://127.0.0.1:1" in errors
        assert "--web.admin-address" in errors
        code, _, errors = await command(service, "integrations", "pause", "nobody")
        assert code == 1
        assert "no such integration" in errors


def fingerprint(name: str) -> str:
    return fingerprint_of({"alertname": name, "severity": "warning", "namespace": "shop"})


async def settled(service: Adapter) -> None:
    """Wait until nothing is pending."""
    async with asyncio.timeout(30):
        while (await listed(service, "integrations", "list"))[0]["pending"]:
            await asyncio.sleep(0.1)


async def test_a_command_without_a_verb_lists_and_takes_its_flags_before_the_verb_too(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(config(tmp_path, coc.port)) as service:
        await post(f"{service.url}/webhook", webhook(alert("Delivered")))
        await coc.received(1)
        await settled(service)
        for group in ("alarms", "dead-letters", "integrations"):
            assert await listed(service, group) == await listed(service, group, "list")
        before = await command(service, "alarms", "--output=json", "list")
        assert json.loads(before[1]) == await listed(service, "alarms", "list")


async def test_a_reader_that_has_gone_ends_a_command_without_a_word() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-u", "-m", "adapter", "test"),
            cwd=REPOSITORY,
            stdout=writing,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    finally:
        os.close(writing)
    assert (process.returncode, errors) == (1, b"")


async def test_the_text_of_an_alert_cannot_steer_the_terminal_or_forge_a_line(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(config(tmp_path, coc.port)) as service:
        labels = {"alertname": "Evil", "note": "\x1b[2Jgone\nNever received: \u202eforged\x9b31m"}
        await post(f"{service.url}/webhook", webhook({"status": "firing", "labels": labels}))
        await coc.received(1)
        for words in (("alarms", "explain", "Evil"), ("alarms", "list"), ("alarms", "list", "--output=json")):
            _, out, _ = await command(service, *words)
            assert all(char.isprintable() or char == "\n" for char in out)
            assert not any(line.startswith("Never") for line in out.splitlines())


async def test_the_commands_log_in_where_the_admin_listener_asks_for_it(tmp_path: Path) -> None:
    users = write_users(tmp_path / "web.yml", operator="p@ss:word")
    async with sandbox() as coc, adapter(config(tmp_path, coc.port), f"--web.config.file={users}") as service:
        place = service.admin_url.removeprefix("http://")
        code, out, errors = await command(service, "alarms", "list", url=f"http://operator:p%40ss%3Aword@{place}")
        assert (code, out, errors) == (0, "no alarms\n", "")
        code, out, errors = await command(service, "alarms", "list", url=f"http://operator:guessed@{place}")
        assert (code, out) == (1, "")
        assert "answered 401" in errors
        assert "guessed" not in errors


async def test_a_password_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    users = write_users(tmp_path / "web.yml", operator="p@ss:word/%")
    file = tmp_path / "password"
    file.write_text("p@ss:word/%\n")
    named = f"--adapter.password-file={file}"
    async with sandbox() as coc, adapter(config(tmp_path, coc.port), f"--web.config.file={users}") as service:
        place = service.admin_url.removeprefix("http://")
        good = (0, "no alarms\n", "")
        assert await command(service, "alarms", "list", named, url=f"http://operator@{place}") == good
        assert await command(service, "alarms", named, url="", COC_ADAPTER_URL=f"http://operator@{place}") == good
        whole = f"http://operator:p%40ss%3Aword%2F%25@{place}"
        assert await command(service, "alarms", "list", url="", COC_ADAPTER_URL=whole) == good
        missing = f"--adapter.password-file={tmp_path}/none"
        for arguments, url, reason in (
            ((missing,), f"http://operator@{place}", "cannot be read"),
            ((named,), service.admin_url, "needs the user's name"),
            ((named,), f"http://operator:guessed@{place}", "needs the user's name"),
            ((), f"operator:guessed@{place}", "is not a URL"),
        ):
            code, out, errors = await command(service, "alarms", "list", *arguments, url=url)
            assert (code, out, len(errors.splitlines())) == (1, "", 1)
            assert reason in errors
            assert "guessed" not in errors


async def test_the_commands_trust_a_private_authority_that_is_named_to_them(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    pair = authority.issue("server")
    web = tmp_path / "web.yml"
    web.write_text(f"tls_server_config:\n  cert_file: {pair.cert}\n  key_file: {pair.key}\n")
    async with sandbox() as coc, adapter(config(tmp_path, coc.port), f"--web.config.file={web}") as service:
        url = service.admin_url.replace("http://", "https://")
        assert await command(service, "alarms", "list", url=url, SSL_CERT_FILE=str(authority.cert)) == (
            0,
            "no alarms\n",
            "",
        )
        code, out, errors = await command(service, "alarms", "list", url=url)
        assert (code, out) == (1, "")
        assert "cannot be trusted" in errors
        assert "SSL_CERT_FILE" in errors


async def test_a_preview_is_of_a_size_that_a_person_can_read(tmp_path: Path) -> None:
    """Its answer is put together in the event loop: 8000 alerts held that for 370 ms, 100 000 for seconds."""
    many = webhook(*(alert(f"A{number}") for number in range(1001)))
    large = webhook(alert("Large") | {"annotations": {"summary": "x" * 4 * 1024 * 1024}})
    async with adapter(config(tmp_path, 9)) as service:
        url = f"{service.admin_url}/api/v1/mappings/render"
        for body, words in ((many, "at most 1000 alerts, the body has 1001"), (large, "larger than")):
            status, text = await post(url, body)
            assert (status, words in text) == (413, True), text
        status, text = await post(url, webhook(*(alert(f"A{number}") for number in range(1000))))
        assert (status, len(json.loads(text))) == (200, 1000)
