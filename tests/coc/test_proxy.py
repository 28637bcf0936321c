"""The client through a forward proxy: a small CONNECT proxy, and Debian's tinyproxy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from adapter.coc.verdict import Action, Reason
from adapter.secret import Secret
from tests.coc.servers import KEY, answer, answering, client_of, connect_proxy, scripted_server
from tests.needs import needs
from tests.tls import Authority

BODY = b'{"alarmId":"a"}'
USER, PASSWORD = "shop", "pr0xy/p@ss"
BASIC = aiohttp.encode_basic_auth(USER, PASSWORD)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path)


@pytest.fixture
def serving(authority: Authority) -> ssl.SSLContext:
    pair = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    return context


async def test_https_uses_a_tunnel_that_never_sees_the_key(authority: Authority, serving: ssl.SSLContext) -> None:
    async with connect_proxy() as proxy, scripted_server(answering(answer()), serving) as coc:
        base = f"https://127.0.0.1:{coc.port}"
        url = f"http://127.0.0.1:{proxy.port}"
        async with client_of(base, ca_file=authority.cert, proxy_url=url) as client:
            verdicts = [await client.report(BODY) for _ in range(3)]
    assert {verdict.reason for verdict in verdicts} == {Reason.ACCEPTED}
    assert (len(proxy.log), len(coc.requests)) == (1, 3)
    assert proxy.log[0].startswith(f"CONNECT 127.0.0.1:{coc.port} HTTP/1.1\r\n")
    assert KEY not in proxy.log[0]


async def test_a_proxy_with_credentials(authority: Authority, serving: ssl.SSLContext) -> None:
    async with connect_proxy(credentials=BASIC) as proxy, scripted_server(answering(answer()), serving) as coc:
        base = f"https://127.0.0.1:{coc.port}"
        for given, action in [
            (f"{USER}:pr0xy%2Fp%40ss@", Action.ACCEPTED),
            (f"{USER}:wrong@", Action.PAUSE),
            ("", Action.PAUSE),
        ]:
            url = Secret(value=f"http://{given}127.0.0.1:{proxy.port}")
            async with client_of(base, ca_file=authority.cert, proxy_url=url) as client:
                verdict = await client.report(BODY)
            assert verdict.action is action
            assert PASSWORD not in repr(verdict)
    assert (verdict.reason, verdict.status) == (Reason.CREDENTIALS, 407)
    assert "Proxy-Authorization" not in str(coc.requests)


async def test_a_proxy_that_refuses_to_connect(authority: Authority) -> None:
    async with (
        connect_proxy(refusing=503) as proxy,
        client_of("https://127.0.0.1:9", proxy_url=f"http://127.0.0.1:{proxy.port}") as client,
    ):
        verdict = await client.report(BODY)
    assert (verdict.action, verdict.reason, verdict.ambiguous) == (Action.RETRY, Reason.PROXY, False)
    assert "503" in verdict.message


async def test_a_proxy_that_cannot_be_reached() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with client_of("https://127.0.0.1:9", proxy_url=url) as client:
            verdict = await client.report(BODY)
    assert (verdict.action, verdict.reason, verdict.ambiguous) == (Action.RETRY, Reason.PROXY, False)


async def test_the_certificate_is_verified_through_the_tunnel_too(serving: ssl.SSLContext) -> None:
    async with connect_proxy() as proxy, scripted_server(answering(answer()), serving) as coc:
        url = f"http://127.0.0.1:{proxy.port}"
        async with client_of(f"https://127.0.0.1:{coc.port}", proxy_url=url) as client:
            verdict = await client.report(BODY)
    assert (verdict.reason, verdict.ambiguous) == (Reason.TLS, False)
    assert coc.requests == []


async def test_the_environments_proxy_is_used_only_if_configured(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, serving: ssl.SSLContext
) -> None:
    async with connect_proxy() as proxy, scripted_server(answering(answer()), serving) as coc:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        base = f"https://127.0.0.1:{coc.port}"
        async with client_of(base, ca_file=authority.cert) as client:
            assert (await client.report(BODY)).reason is Reason.ACCEPTED
        assert proxy.log == []
        async with client_of(base, ca_file=authority.cert, trust_env=True) as client:
            assert (await client.report(BODY)).reason is Reason.ACCEPTED
        assert len(proxy.log) == 1
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with client_of(base, ca_file=authority.cert, trust_env=True) as client:
            assert (await client.report(BODY)).reason is Reason.ACCEPTED
        assert len(proxy.log) == 1


@asynccontextmanager
async def tinyproxy(folder: Path, *lines: str) -> AsyncIterator[tuple[int, Path]]:
    """(port, its log) of a running tinyproxy."""
    program = needs("tinyproxy")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log, config = folder / "tinyproxy.log", folder / "tinyproxy.conf"
    settings = [f"Port {port}", "Listen 127.0.0.1", "Allow 127.0.0.1", "LogLevel Info", f'LogFile "{log}"', *lines]
    config.write_text("\n".join([*settings, "DisableViaHeader Yes", "Timeout 10", ""]))
    process = await asyncio.create_subprocess_exec(
        program, "-d", "-c", str(config), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _answers(port, process)
        yield port, log
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()


async def _answers(port: int, process: asyncio.subprocess.Process) -> None:
    for _ in range(200):
        assert process.returncode is None, "tinyproxy did not start"
        with contextlib.suppress(ConnectionError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await writer.wait_closed()
            return
        await asyncio.sleep(0.05)
    raise AssertionError("tinyproxy does not answer")


async def test_tinyproxy_tunnels_and_logs_no_key(authority: Authority, serving: ssl.SSLContext, tmp_path: Path) -> None:
    async with (
        scripted_server(answering(answer()), serving) as coc,
        tinyproxy(tmp_path, f"ConnectPort {coc.port}") as (port, log),
    ):
        base = f"https://127.0.0.1:{coc.port}"
        async with client_of(base, ca_file=authority.cert, proxy_url=f"http://127.0.0.1:{port}") as client:
            verdict = await client.report(BODY)
        assert verdict.reason is Reason.ACCEPTED
        text = log.read_text()
    assert f"CONNECT 127.0.0.1:{coc.port}" in text
    assert KEY not in text


async def test_tinyproxy_that_may_not_connect_or_requires_credentials(tmp_path: Path, authority: Authority) -> None:
    async with tinyproxy(tmp_path, "ConnectPort 1", f"BasicAuth {USER} secret") as (port, _):
        for given, reason in [(f"{USER}:secret@", Reason.PROXY), (f"{USER}:wrong@", Reason.CREDENTIALS)]:
            url = f"http://{given}127.0.0.1:{port}"
            async with client_of("https://127.0.0.1:9", proxy_url=url) as client:
                assert (await client.report(BODY)).reason is reason


async def test_plain_http_through_tinyproxy(tmp_path: Path) -> None:
    async with (
        scripted_server(answering(answer())) as coc,
        tinyproxy(tmp_path, f"BasicAuth {USER} secret") as (port, _),
    ):
        url = f"http://{USER}:secret@127.0.0.1:{port}"
        async with client_of(coc.port, proxy_url=url) as client:
            verdict = await client.report(BODY)
    assert verdict.reason is Reason.ACCEPTED
    assert coc.requests[0].header("Proxy-Authorization") == ""
