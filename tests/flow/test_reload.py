"""Broken mappings of a running service: said everywhere, in force nowhere, and mended without a restart."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapter.app import Options, Service, running
from adapter.config import load_config
from adapter.errors import ConfigError
from tests.golden.terminal import run_in_thread
from tests.mapping.crashing import CRASHING
from tests.stage import KEY, Adapter, adapter, alert, fetch, post, sandbox, until, values, webhook, write_config

SLOWEST = 1.0  # seconds for an answer on a machine with other load; the event loop is held for much less
SAYS = "unknown name 'lables'"


def mapping(level: str) -> str:
    return f"""
rules:
  - name: all
    alarm:
      {{alarmName: "{{{{ labels.alertname }}}}", alarmLevel: {level}, nameSpace: n, applicationId: a, alarmDesc: d}}
"""


BROKEN = mapping("Info").replace("labels", "lables")


async def reload(service: Adapter) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.post(f"{service.admin_url}/-/reload") as answer:
        return answer.status, await answer.text()


async def said(service: Adapter) -> tuple[list[str], float]:
    """The findings of the status, and the metric of the last reload."""
    status: dict[str, Any] = json.loads(await fetch(f"{service.admin_url}/api/v1/status"))
    scrape = await fetch(f"{service.url}/metrics")
    messages = [finding["message"] for finding in status["mapping"]["findings"]]
    return messages, values(scrape, "coc_adapter_config_last_reload_successful")


async def test_broken_mappings_are_refused_until_they_are_mended(tmp_path: Path) -> None:
    folder = tmp_path / "mappings"
    folder.mkdir()
    (folder / "a.yaml").write_text(BROKEN)
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port, "mappings: mappings\n")) as service:
        assert "mapping refused, the shipped ones serve instead" in service.log_text
        assert await said(service) == ([SAYS], 0)
        await post(f"{service.url}/webhook", webhook(alert("First")))
        (first,) = await coc.received(1)
        assert first["additional"]["mapping"] == "30-kubernetes.yaml"

        (folder / "a.yaml").write_text(mapping("Info"))
        assert (await reload(service))[0] == 200
        assert await said(service) == ([], 1)

        (folder / "a.yaml").write_text(BROKEN)
        status, text = await reload(service)
        assert (status, SAYS in text) == (422, True)
        assert await said(service) == ([SAYS], 0)
        await post(f"{service.url}/webhook", webhook(alert("Second")))
        second = (await coc.received(2))[1]
        assert (second["alarmLevel"], second["additional"]["mapping"]) == ("Info", "a.yaml")


DUBIOUS = (
    mapping("Info").replace("alarmDesc: d", "alarmDesc: d, resourceName: '{ labels.pod }'")
    + "  - name: late\n    drop: true\n"
)
SAYS_DUBIOUS = ["{ labels.pod } is plain text here", "rule 'late' can never be reached"]


async def test_mappings_with_warnings_serve_and_the_warnings_are_told_everywhere(tmp_path: Path) -> None:
    """At the start, at a reload and at a poll: in the log, the status, `integrations list` and the answer."""
    folder = tmp_path / "mappings"
    folder.mkdir()
    (folder / "a.yaml").write_text(DUBIOUS)
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port, "mappings: mappings\n")) as service:
        assert "refused" not in service.log_text
        assert service.log_text.count('level=warn component=app msg="mapping warning"') == 2
        assert await said(service) == (SAYS_DUBIOUS, 1)
        await post(f"{service.url}/webhook", webhook(alert("First")))
        (first,) = await coc.received(1)
        assert first["additional"]["mapping"] == "a.yaml"

        status, text = await reload(service)
        assert status == 200
        assert "a.yaml:6:11: warning: rule 'late' can never be reached (rule 'all' of a.yaml takes every alert)" in text
        assert await said(service) == (SAYS_DUBIOUS, 1)
        listed = await run_in_thread("integrations", "list", f"--adapter.url={service.admin_url}")
        assert "a.yaml:6:11: warning: rule 'late' can never be reached" in listed.out

        (folder / "a.yaml").write_text(DUBIOUS.replace("late", "later"))
        await until(lambda: "rule 'later' can never" in service.log_text, "the poll tells its warnings")
        assert (await said(service))[1] == 1
        (folder / "a.yaml").write_text(mapping("Info"))
        status, text = await reload(service)
        assert (status, "warning" in text) == (200, False)
        assert await said(service) == ([], 1)


async def test_mappings_that_crash_the_check_are_refused_at_the_start_and_by_a_reload(tmp_path: Path) -> None:
    folder = tmp_path / "mappings"
    folder.mkdir()
    (folder / "a.yaml").write_text(CRASHING["a thousand filters"])
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port, "mappings: mappings\n")) as service:
        assert "mapping refused, the shipped ones serve instead" in service.log_text
        assert (await said(service))[1] == 0
        (folder / "a.yaml").write_text(mapping("Info"))
        async with slowest_answer(service) as slowest:
            for text in CRASHING.values():
                assert (await reload(service))[0] == 200
                whole = (folder / "a.yaml").read_text()
                (folder / "a.yaml").write_text(text)
                assert (await reload(service))[0] == 422
                assert (await said(service))[1] == 0
                (folder / "a.yaml").write_text(whole)
            assert (await reload(service))[0] == 200
        await post(f"{service.url}/webhook", webhook(alert("After")))
        (body,) = await coc.received(1)
        assert body["additional"]["mapping"] == "a.yaml"
        assert slowest[0] < SLOWEST
        assert "traceback" not in service.log_text


async def test_files_that_never_end_or_hold_gigabytes_are_refused_without_holding_up_the_service(
    tmp_path: Path,
) -> None:
    """The mapping, the web config, the key and adapter.yml become a FIFO or 3 GiB, one after another."""
    folder = tmp_path / "mappings"
    folder.mkdir()
    (folder / "a.yaml").write_text(mapping("Info"))
    web, key = tmp_path / "web.yml", tmp_path / "key"
    web.write_text("http_server_config: {http2: true}\n")
    key.write_text(KEY)
    async with sandbox() as coc:
        config = write_config(tmp_path, coc.port, "mappings: mappings\n")
        config.write_text(config.read_text().replace(f'integration_key: "{KEY}"', "integration_key_file: key"))
        async with adapter(config, f"--web.config.file={web}") as service, slowest_answer(service) as slowest:
            for path in (folder / "a.yaml", web, key, config):
                whole = path.read_text()
                for become in (os.mkfifo, sparse):
                    path.unlink()
                    become(path)
                    status, text = await reload(service)
                    assert (status, path.name in text) == (422, True)
                    assert (await said(service))[1] == 0
                path.unlink()
                path.write_text(whole)
                assert (await reload(service))[0] == 200
            await post(f"{service.url}/webhook", webhook(alert("After")))
            await coc.received(1)
            assert memory(service.process.pid) < 500 * 2**20
        assert slowest[0] < SLOWEST


async def test_a_refused_adapter_yml_is_told_until_it_is_right_again(tmp_path: Path) -> None:
    """A poll that takes over something else, such as a rotated key, does not forget it, and sees that it is right."""
    path, key = write_config(tmp_path, 9), tmp_path / "key"
    whole = path.read_text().replace(f'integration_key: "{KEY}"', "integration_key_file: key")
    key.write_text(KEY)
    path.write_text(whole)
    options = Options(config_file=path, listen_address="127.0.0.1:0", admin_address="127.0.0.1:0")
    async with running(load_config(path), options) as service:
        for refused in ("limit: 1\n" + whole, f"mappings: {'m' * 5000}\n" + whole, None):
            path.unlink() if refused is None else path.write_text(refused)
            with pytest.raises(ConfigError):
                await service.reloader.reload()
            key.write_text(key.read_text() + "0")
            await service.reloader.poll()
            assert len(service.reloader.findings) == 1
            assert successful(service) == 0
            path.write_text(whole)
            await service.reloader.poll()
            assert service.reloader.findings == ()
            assert (successful(service), service.reloader.restart_needed) == (1, False)


def successful(service: Service) -> float | None:
    return service.metrics.registry.get_sample_value("coc_adapter_config_last_reload_successful")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("store: sqlite:data/adapter.db", "store: sqlite:data/other.db"),
        (KEY, "another key"),
        ("webhook token", "another token"),
        ("http://proxy.example", "http://proxy.example:8080"),
        ("sk: first", "sk: second"),
        ("timeout: 5s", "timeout: 6s"),
    ],
)
async def test_a_reload_asks_for_a_restart_where_only_a_secret_or_the_store_has_changed(
    tmp_path: Path, old: str, new: str
) -> None:
    old, new = (text.replace("sk", "secret_key") for text in (old, new))
    more = "    proxy_url: http://proxy.example\n    auth: {access_key: ak, secret_key: first}\n"
    path = write_config(tmp_path, 9, more + "webhook: {bearer_token: webhook token}")
    whole = path.read_text()
    assert old in whole
    async with adapter(path) as service:
        path.write_text(whole.replace(old, new))
        service.process.send_signal(signal.SIGHUP)
        await until(lambda: "adapter.yml has changed; restart to apply it" in service.log_text, "the warning")
        status = json.loads(await fetch(f"{service.admin_url}/api/v1/status"))
        assert status["restart_needed"]
        assert "restart to apply it" in (await reload(service))[1]
        path.write_text(whole + "\nlog: {level: debug}")  # which a reload applies
        assert "restart" not in (await reload(service))[1]


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(3 * 2**30)


def memory(pid: int) -> int:
    """The most memory a process has had, in bytes."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@asynccontextmanager
async def slowest_answer(service: Adapter) -> AsyncIterator[list[float]]:
    """The longest time that a request without work waited meanwhile, in seconds."""
    longest = [0.0]

    async def watch(session: aiohttp.ClientSession) -> None:
        while True:
            started = time.monotonic()
            async with session.get(f"{service.url}/-/healthy") as answer:
                assert answer.status == 200
            longest[0] = max(longest[0], time.monotonic() - started)
            await asyncio.sleep(0.01)

    async with aiohttp.ClientSession() as session:
        watching = asyncio.create_task(watch(session))
        try:
            yield longest
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
