"""The exchange below the client, which uses aiohttp's connections without its session.

A changed aiohttp shows here first: every test but those of a connection that is gone runs on the real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from yarl import URL

from adapter.coc.exchange import Answer, Target
from adapter.coc.verdict import Reason
from tests.coc.servers import KEY, SUCCESS, Request, ScriptedServer, answer, answering, client_of, scripted_server

BODY = b'{"alarmId":"a"}'
HEADERS = {"Host": "coc.example", "Content-Type": "application/json"}


@asynccontextmanager
async def target_at(side: ScriptedServer, **limits: float) -> AsyncIterator[Target]:
    timeout = aiohttp.ClientTimeout(**{"total": 5.0, "connect": 1.0, **limits})
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Target.of(URL(f"http://127.0.0.1:{side.port}/v1/{KEY}"), session)


async def post(target: Target) -> Answer:
    return await target.post(HEADERS, BODY, longest=1000)


async def test_what_aiohttps_connections_are_relied_on_for() -> None:
    async with (
        scripted_server(answering(answer(200, SUCCESS, "X-Said: a", "x-said: b"))) as coc,
        target_at(coc) as target,
    ):
        for _ in range(3):
            got = await post(target)
            assert (got.status, got.body, got.whole, got.broken, got.sent) == (200, SUCCESS, True, None, True)
            assert got.headers.getall("X-SAID") == ["a", "b"]
    assert coc.connections == 1
    assert [(request.line, request.body) for request in coc.requests] == [(f"POST /v1/{KEY} HTTP/1.1", BODY)] * 3
    assert coc.requests[0].headers == [*HEADERS.items(), ("Content-Length", f"{len(BODY)}")]


@pytest.mark.parametrize("connection", ["closing", "holding an answer to no request", "without a transport"])
async def test_of_a_connection_that_is_gone_nothing_has_left(connection: str) -> None:
    transport = SimpleNamespace(is_closing=lambda: connection == "closing")
    gone = SimpleNamespace(
        protocol=SimpleNamespace(should_close=connection.startswith("holding")),
        transport=None if connection.startswith("without") else transport,
        close=lambda: closed.append(True),
    )
    closed: list[bool] = []

    class Pool:
        async def connect(self, *_: Any) -> Any:
            return gone

    target = Target(Pool(), aiohttp.ClientTimeout(), None, b"")  # type: ignore[arg-type]
    got = await post(target)
    assert isinstance(got.broken, aiohttp.ServerDisconnectedError)
    assert (got.status, got.sent, closed) == (0, False, [True, True])


async def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one() -> None:
    late = asyncio.Event()

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        if len(coc.requests) == 1:
            await late.wait()
            writer.write(answer(200, b'{"error_code":"late"}'))
        else:
            writer.write(answer())

    async with scripted_server(script) as coc, client_of(coc.port, timeout=0.3) as client:
        assert (await client.report(BODY)).reason is Reason.TIMEOUT
        late.set()
        for _ in range(3):
            assert (await client.report(BODY)).reason is Reason.ACCEPTED
    assert coc.connections == 2


async def test_a_second_answer_to_one_request_is_not_taken_for_the_next_one() -> None:
    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer() + answer(503))

    async with scripted_server(script) as coc, client_of(coc.port) as client:
        for _ in range(5):
            assert (await client.report(BODY)).reason is Reason.ACCEPTED
    assert coc.connections == 5


async def test_a_connection_whose_report_was_cancelled_is_not_used_again() -> None:
    asked = asyncio.Event()

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        if not asked.is_set():
            asked.set()
            await asyncio.sleep(0.05)
            writer.write(answer(503))
        else:
            writer.write(answer())

    async with scripted_server(script) as coc, client_of(coc.port) as client:
        report = asyncio.create_task(client.report(BODY))
        await asked.wait()
        report.cancel()
        await asyncio.wait([report])
        assert report.cancelled()
        assert (await client.report(BODY)).reason is Reason.ACCEPTED
    assert coc.connections == 2


async def test_interim_answers_are_passed_over() -> None:
    hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with scripted_server(answering(hints + answer())) as coc, target_at(coc) as target:
        got = await post(target)
    assert (got.status, got.body) == (200, SUCCESS)


async def test_a_compressed_answer_is_kept_as_it_came() -> None:
    packed = b"\x1f\x8b not really"
    async with (
        scripted_server(answering(answer(200, packed, "Content-Encoding: gzip"))) as coc,
        target_at(coc) as target,
    ):
        assert (await post(target)).body == packed


async def test_an_answer_that_closes_is_not_kept() -> None:
    async with scripted_server(answering(answer(200, SUCCESS, "Connection: close"))) as coc, target_at(coc) as target:
        for _ in range(3):
            assert (await post(target)).body == SUCCESS
    assert coc.connections == 3


async def test_no_more_of_an_answer_is_read_than_wanted_and_its_connection_is_closed() -> None:
    async with scripted_server(answering(answer(200, b"x" * 5000))) as coc, target_at(coc) as target:
        for _ in range(2):
            got = await post(target)
            assert (len(got.body), got.whole) == (1000, False)
    assert coc.connections == 2


async def test_a_half_answer_keeps_its_status_and_says_why_it_broke() -> None:
    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(403, b"no", length=100))
        await writer.drain()
        writer.close()

    async with scripted_server(script) as coc, target_at(coc) as target:
        got = await post(target)
    assert (got.status, got.body) == (403, b"no")
    assert isinstance(got.broken, aiohttp.ClientPayloadError)


async def test_waiting_for_a_free_connection_counts_as_connecting() -> None:
    asked, free = asyncio.Event(), asyncio.Event()

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await free.wait()
        writer.write(answer())

    async with scripted_server(script) as coc, client_of(coc.port, max_in_flight=1, connect_timeout=0.2) as client:
        first = asyncio.create_task(client.report(BODY))
        await asked.wait()
        second = await client.report(BODY)
        free.set()
        assert (await first).reason is Reason.ACCEPTED
    assert (second.reason, second.ambiguous) == (Reason.CONNECT_TIMEOUT, False)
