"""The client against servers that answer correctly and servers that do not."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from adapter.coc.client import LONGEST_ANSWER
from adapter.coc.endpoint import SITES, AkSk, Endpoint, Token, is_forbidden_address, url_problem
from adapter.coc.verdict import Action, Reason
from adapter.secret import Secret
from tests.coc.servers import KEY, SUCCESS, Request, answer, answering, client_of, reset, scripted_server

BODY = b'{"alarmId":"a"}'


async def test_a_report_is_one_post_of_the_given_bytes() -> None:
    async with scripted_server(answering(answer())) as coc, client_of(coc.port) as client:
        verdict = await client.report(BODY)
    assert (verdict.action, verdict.reason, verdict.status) == (Action.ACCEPTED, Reason.ACCEPTED, 200)
    [request] = coc.requests
    assert request.line == f"POST /v1/event/huawei/custom/{KEY} HTTP/1.1"
    assert request.body == BODY
    assert request.header("Content-Type") == "application/json; charset=utf-8"
    assert request.header("Host") == f"127.0.0.1:{coc.port}"
    assert request.header("Accept-Encoding") == "identity"


async def test_a_path_before_v1_is_kept() -> None:
    async with (
        scripted_server(answering(answer())) as coc,
        client_of(f"http://127.0.0.1:{coc.port}/gate/coc/") as client,
    ):
        await client.report(BODY)
    assert coc.requests[0].line.split()[1] == f"/gate/coc/v1/event/huawei/custom/{KEY}"


async def test_a_hundred_reports_share_one_connection() -> None:
    async with scripted_server(answering(answer())) as coc, client_of(coc.port) as client:
        for _ in range(100):
            await client.report(BODY)
    assert (coc.connections, len(coc.requests)) == (1, 100)


async def test_as_many_reports_as_allowed_are_in_flight_at_once() -> None:
    all_arrived = asyncio.Event()
    waiting = 0

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 150:
            all_arrived.set()
        await all_arrived.wait()
        writer.write(answer())

    async with scripted_server(script) as coc, client_of(coc.port, max_in_flight=150) as client:
        verdicts = await asyncio.gather(*(client.report(BODY) for _ in range(150)))
    assert {verdict.reason for verdict in verdicts} == {Reason.ACCEPTED}


async def test_a_cookie_is_not_kept() -> None:
    async with (
        scripted_server(answering(answer(200, SUCCESS, "Set-Cookie: a=b; Path=/"))) as coc,
        client_of(coc.port) as client,
    ):
        await client.report(BODY)
        await client.report(BODY)
    assert coc.requests[1].header("Cookie") == ""


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(status: int) -> None:
    async with scripted_server(answering(answer())) as elsewhere:
        moved = answer(status, b"", f"Location: http://127.0.0.1:{elsewhere.port}/")
        async with scripted_server(answering(moved)) as coc, client_of(coc.port) as client:
            verdict = await client.report(BODY)
    assert (verdict.action, verdict.reason, verdict.status) == (Action.PAUSE, Reason.ENDPOINT, status)
    assert elsewhere.requests == []


async def test_a_refused_connection() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound but not listening, so that no other process can use the port
        async with client_of(bound.getsockname()[1]) as client:
            verdict = await client.report(BODY)
    assert (verdict.action, verdict.reason, verdict.ambiguous) == (Action.RETRY, Reason.REFUSED_CONNECTION, False)


async def test_a_name_that_does_not_resolve() -> None:
    async with client_of("https://no-such-host.invalid") as client:
        verdict = await client.report(BODY)
    assert (verdict.action, verdict.reason, verdict.ambiguous) == (Action.RETRY, Reason.DNS, False)


async def test_after_a_reset_following_the_request_coc_may_have_the_report() -> None:
    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        reset(writer)

    async with scripted_server(script) as coc, client_of(coc.port) as client:
        verdict = await client.report(BODY)
    assert (verdict.action, verdict.reason, verdict.ambiguous) == (Action.RETRY, Reason.CONNECTION_LOST, True)
    assert len(coc.requests) == 1


async def test_a_close_after_the_request_is_not_retried_by_the_client() -> None:
    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with scripted_server(script) as coc, client_of(coc.port) as client:
        verdict = await client.report(BODY)
    assert (verdict.reason, verdict.ambiguous) == (Reason.CONNECTION_LOST, True)
    assert len(coc.requests) == 1


async def test_a_connection_that_was_closed_while_idle_is_replaced() -> None:
    closed = asyncio.Event()

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with scripted_server(script) as coc, client_of(coc.port) as client:
        for _ in range(20):
            closed.clear()
            assert (await client.report(BODY)).reason is Reason.ACCEPTED
            await closed.wait()
            await asyncio.sleep(0)
    assert len(coc.requests) == 20


async def test_without_an_answer_in_time_coc_may_have_the_report() -> None:
    async with scripted_server(answering(b"")) as coc, client_of(coc.port, timeout=0.3) as client:
        verdict = await client.report(BODY)
    assert (verdict.action, verdict.reason, verdict.ambiguous) == (Action.RETRY, Reason.TIMEOUT, True)


async def test_a_slow_answer_ends_at_the_timeout() -> None:
    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, b"", length=1000))
        for _number in range(1000):
            writer.write(b" ")
            await asyncio.sleep(0.01)

    async with scripted_server(script) as coc, client_of(coc.port, timeout=0.3) as client:
        verdict = await client.report(BODY)
    assert (verdict.reason, verdict.status, verdict.ambiguous) == (Reason.TIMEOUT, 200, True)


async def test_without_a_connection_in_time_nothing_was_sent() -> None:
    # The accept queue is full, so the kernel drops the SYN.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        async with client_of(port, timeout=5.0, connect_timeout=0.3) as client:
            verdict = await client.report(BODY)
        for filler in fillers:
            filler.close()
    assert (verdict.action, verdict.reason, verdict.ambiguous) == (Action.RETRY, Reason.CONNECT_TIMEOUT, False)


@pytest.mark.parametrize(
    ("data", "reason", "status", "ambiguous"),
    [
        (answer(200, SUCCESS[:40], length=len(SUCCESS)), Reason.CONNECTION_LOST, 200, True),
        (answer(401, b'{"error_code":', length=900), Reason.CREDENTIALS, 401, False),
        (answer(503, b"<html", length=900), Reason.SERVER_ERROR, 503, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", Reason.CONNECTION_LOST, 200, True),
        (b"HTTP/1.1 200", Reason.CONNECTION_LOST, 0, True),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Reason.NOT_COC, 0, True),
        (b"\x15\x03\x01\x00\x02\x02\x28", Reason.NOT_COC, 0, True),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", Reason.NOT_COC, 0, True),
    ],
    ids=["half-200", "half-401", "half-503", "half-chunk", "half-status-line", "ssh", "tls-alert", "huge-header"],
)
async def test_a_broken_answer(data: bytes, reason: Reason, status: int, ambiguous: bool) -> None:
    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    async with scripted_server(script) as coc, client_of(coc.port) as client:
        verdict = await client.report(BODY)
    assert (verdict.reason, verdict.status, verdict.ambiguous) == (reason, status, ambiguous)


async def test_an_answer_without_a_length_is_read_to_its_end() -> None:
    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + SUCCESS)
        await writer.drain()
        writer.close()

    async with scripted_server(script) as coc, client_of(coc.port) as client:
        assert (await client.report(BODY)).reason is Reason.ACCEPTED
        assert (await client.report(BODY)).reason is Reason.ACCEPTED


async def test_no_more_than_the_head_of_a_huge_answer_is_read() -> None:
    sent = 0
    gone = asyncio.Event()

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(answer(500, b"", length=2**34))
        try:
            while True:
                writer.write(b"x" * 65536)
                sent += 65536
                await writer.drain()
        except ConnectionError:
            gone.set()

    async with scripted_server(script) as coc, client_of(coc.port) as client:
        verdict = await client.report(BODY)
        await asyncio.wait_for(gone.wait(), 5)
    assert (verdict.reason, verdict.status) == (Reason.SERVER_ERROR, 500)
    assert len(verdict.message) <= 500
    assert sent < 64 * 2**20  # the socket buffers of both sides, far less than the announced length


async def test_a_success_body_at_the_start_of_a_large_answer_is_no_success() -> None:
    padded = SUCCESS + b" " * LONGEST_ANSWER + b"garbage"
    async with scripted_server(answering(answer(200, padded))) as coc, client_of(coc.port) as client:
        first, second = await client.report(BODY), await client.report(BODY)
    # The beginning alone is a success body, but COC's answers are never that large.
    assert {first.reason, second.reason} == {Reason.NOT_COC}


async def test_long_answers_that_come_at_once_are_judged_in_turns_with_everything_else() -> None:
    all_here = asyncio.Barrier(16)
    turn, done_in = 0, []

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        await all_here.wait()
        writer.write(answer(500, b"<" * 4000))

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def report() -> None:
        await client.report(BODY)
        done_in.append(turn)

    async with scripted_server(script) as coc, client_of(coc.port, max_in_flight=16) as client:
        counting = asyncio.create_task(count_turns())
        await asyncio.gather(*(report() for _ in range(16)))
        counting.cancel()
    assert len(set(done_in)) == 16


async def test_a_cancelled_report_is_cancelled() -> None:
    arrived = asyncio.Event()

    async def script(_: Request, __: asyncio.StreamWriter) -> None:
        arrived.set()

    async with scripted_server(script) as coc, client_of(coc.port) as client:
        task = asyncio.create_task(client.report(BODY))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_closing_ends_reports_in_flight_with_a_verdict() -> None:
    arrived = asyncio.Event()

    async def script(_: Request, __: asyncio.StreamWriter) -> None:
        arrived.set()

    async with scripted_server(script) as coc, client_of(coc.port) as client:
        task = asyncio.create_task(client.report(BODY))
        await arrived.wait()
        await client.close()
        assert (await asyncio.wait_for(task, 5)).action is Action.RETRY
        assert (await client.report(BODY)).action is Action.RETRY


@pytest.mark.parametrize(
    "changes",
    [
        {"base": "nonsense"},
        {"base": "ftp://coc.test"},
        {"base": "https://user:pw@coc.test"},
        {"base": "https://coc.test/?a=b"},
        {"base": "http://169.254.169.254"},
        {"base": "http://[fe80::1]"},
        {"base": "http://[::ffff:169.254.169.254]:80"},
        {"base": "https://coc.test", "proxy_url": "socks5://127.0.0.1:1"},
        {"base": "https://coc.test", "ca_file": Path("/does/not/exist")},
        {"base": "https://coc.test", "cert_file": Path(__file__)},
    ],
    ids=lambda changes: " ".join(map(str, changes.values())),
)
async def test_a_setting_that_cannot_work_pauses_with_a_reason(changes: dict[str, Any]) -> None:
    async with client_of(changes.pop("base"), **changes) as client:
        verdict = await client.report(BODY)
    assert (verdict.action, verdict.reason) == (Action.PAUSE, Reason.ENDPOINT)
    assert verdict.message
    assert verdict.hint


async def test_a_name_that_resolves_to_a_link_local_address_is_refused() -> None:
    # A hexadecimal IPv4 address looks like a name, and the resolver turns it into 169.254.169.254.
    async with client_of("http://0xa9fea9fe") as client:
        verdict = await client.report(BODY)
    assert (verdict.action, verdict.reason) == (Action.PAUSE, Reason.ENDPOINT)


@pytest.mark.parametrize(
    ("host", "forbidden"),
    [
        ("169.254.0.1", True),
        ("169.255.0.1", False),
        ("fe80::1", True),
        ("fe80::1%eth0", True),
        ("febf::1", True),
        ("fec0::1", False),
        ("::ffff:169.254.1.1", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("coc.myhuaweicloud.com", False),
    ],
)
def test_link_local_addresses_are_known_in_every_spelling(host: str, forbidden: bool) -> None:
    assert is_forbidden_address(host) is forbidden


def test_the_endpoint_of_every_site_is_valid() -> None:
    assert [url_problem(url) for url in SITES.values()] == [None] * 3


async def test_a_token_that_is_no_valid_header_pauses_for_the_credentials() -> None:
    async with client_of(1, auth=Token(token=Secret(value="a\r\nX-Evil: 1"))) as client:
        verdict = await client.report(BODY)
    assert (verdict.action, verdict.reason) == (Action.PAUSE, Reason.CREDENTIALS)


async def test_a_token_is_sent_in_its_header() -> None:
    async with (
        scripted_server(answering(answer())) as coc,
        client_of(coc.port, auth=Token(token=Secret(value="t0k"))) as client,
    ):
        await client.report(BODY)
    assert coc.requests[0].header("X-Auth-Token") == "t0k"


async def test_a_rotated_secret_is_used_and_reported_once(tmp_path: Path) -> None:
    key, token = tmp_path / "key", tmp_path / "token"
    key.write_text("first\n")
    token.write_text("one")
    secrets = {"integration_key": Secret(path=key), "auth": Token(token=Secret(path=token))}
    async with scripted_server(answering(answer())) as coc, client_of(coc.port, **secrets) as client:
        await client.report(BODY)
        assert client.refresh() is False
        key.write_text("second\n")
        assert client.refresh() is True
        assert client.refresh() is False
        await client.report(BODY)
        token.write_text("two")
        assert client.refresh() is True
        await client.report(BODY)
        token.write_text("")
        assert client.refresh() is False
        await client.report(BODY)
    assert [request.line.split()[1].rpartition("/")[2] for request in coc.requests] == ["first", *["second"] * 3]
    assert [request.header("X-Auth-Token") for request in coc.requests] == ["one", "one", "two", "two"]


async def test_a_secret_that_was_refreshed_elsewhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("first")
    key = Secret(path=path)
    async with scripted_server(answering(answer())) as coc, client_of(coc.port, integration_key=key) as client:
        path.write_text("second")
        key.refresh()
        assert client.refresh() is True
        await client.report(BODY)
    assert coc.requests[0].line.split()[1].endswith("/second")


def test_an_endpoint_prints_no_secret() -> None:
    auth = AkSk(access_key=Secret(value="canary1"), secret_key=Secret(value="canary2"))
    endpoint = Endpoint(
        base_url=SITES["cn"],
        integration_key=Secret(value="canary3"),
        auth=auth,
        proxy_url=Secret(value="http://u:canary4@p:1"),
    )
    assert "canary" not in repr(endpoint)
    assert "canary" not in repr(Endpoint(base_url="", integration_key=Secret(value="canary")))
