"""On uvloop, which has exceptions of its own, the verdicts are the same as on asyncio."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from adapter.coc.verdict import Action, Reason, Verdict
from tests.coc.servers import Request, answer, answering, client_of, connect_proxy, listening, reset, scripted_server
from tests.tls import Authority

BODY = b'{"alarmId":"a"}'


async def _reset(_: Request, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def _close(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _plain_under_https(_: Path) -> Verdict:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer(400))
        await writer.drain()
        writer.close()

    async with listening(plain) as port, client_of(f"https://127.0.0.1:{port}") as client:
        return await client.report(BODY)


async def _refused(_: Path) -> Verdict:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with client_of(bound.getsockname()[1]) as client:
            return await client.report(BODY)


async def _proxy_wants_credentials(_: Path) -> Verdict:
    async with connect_proxy(credentials="Basic x") as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with client_of("https://127.0.0.1:9", proxy_url=url) as client:
            return await client.report(BODY)


def _against(
    script: Callable[[Request, asyncio.StreamWriter], Awaitable[None]],
) -> Callable[[Path], Awaitable[Verdict]]:
    async def case(_: Path) -> Verdict:
        async with scripted_server(script) as coc, client_of(coc.port, timeout=0.3) as client:
            return await client.report(BODY)

    return case


def _at(url: str) -> Callable[[Path], Awaitable[Verdict]]:
    async def case(_: Path) -> Verdict:
        async with client_of(url) as client:
            return await client.report(BODY)

    return case


def _certificate(*, expired: bool = False, wrong_name: bool = False) -> Callable[[Path], Awaitable[Verdict]]:
    async def case(folder: Path) -> Verdict:
        authority = Authority.make(folder)
        pair = authority.issue("s", expired=expired, names=["elsewhere.example"] if wrong_name else ["127.0.0.1"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        async with (
            scripted_server(answering(answer()), context) as coc,
            client_of(f"https://127.0.0.1:{coc.port}", ca_file=authority.cert) as client,
        ):
            return await client.report(BODY)

    return case


@pytest.mark.parametrize(
    ("case", "action", "reason", "ambiguous"),
    [
        (_against(answering(answer())), Action.ACCEPTED, Reason.ACCEPTED, False),
        (_against(_reset), Action.RETRY, Reason.CONNECTION_LOST, True),
        (_against(_close), Action.RETRY, Reason.CONNECTION_LOST, True),
        (_against(answering(b"")), Action.RETRY, Reason.TIMEOUT, True),
        (_against(answering(answer(200, b"{", length=9))), Action.RETRY, Reason.TIMEOUT, True),
        (_refused, Action.RETRY, Reason.REFUSED_CONNECTION, False),
        (_at("https://no-such-host.invalid"), Action.RETRY, Reason.DNS, False),
        (_at("http://0xa9fea9fe"), Action.PAUSE, Reason.ENDPOINT, False),
        (_certificate(), Action.ACCEPTED, Reason.ACCEPTED, False),
        (_certificate(expired=True), Action.RETRY, Reason.TLS, False),
        (_certificate(wrong_name=True), Action.RETRY, Reason.TLS, False),
        (_plain_under_https, Action.RETRY, Reason.TLS, False),
        (_proxy_wants_credentials, Action.PAUSE, Reason.CREDENTIALS, False),
    ],
    ids=[
        "accepted", "reset", "closed", "silent", "half", "refused", "dns", "link-local", "tls", "expired",
        "wrong-name", "plain", "proxy-407",
    ],
)  # fmt: skip
def test_a_verdict_on_uvloop(
    case: Callable[[Path], Awaitable[Verdict]], action: Action, reason: Reason, ambiguous: bool, tmp_path: Path
) -> None:
    async def run() -> Verdict:
        return await case(tmp_path)

    verdict = uvloop.run(run())
    assert (verdict.action, verdict.reason, verdict.ambiguous) == (action, reason, ambiguous)
