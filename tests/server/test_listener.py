"""One listening socket: slow and silent clients, garbage, the cap on connections, closing."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import encode_basic_auth, web

from adapter.server.listener import listen
from tests.server.servers import an_access, hashed, serving, write_users
from tests.stage import until
from tests.tls import Authority

GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def closed_after(reader: asyncio.StreamReader) -> tuple[bytes, float]:
    """What still arrived, and the seconds until the server closed the connection."""
    started = time.monotonic()
    try:
        rest = await asyncio.wait_for(reader.read(), 20)
    except ConnectionError:
        rest = b""
    return rest, time.monotonic() - started


@pytest.mark.parametrize(
    "sent", [b"", b"POST /webh", b"POST /webhook HTTP/1.1\r\nHost: x\r\nX-A: "], ids=["silence", "line", "headers"]
)
async def test_a_client_that_never_finishes_its_headers_is_disconnected(sent: bytes) -> None:
    async with serving(an_access(), header_seconds=0.4) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(sent)
        rest, seconds = await closed_after(reader)
        assert rest == b""
        assert 0.2 < seconds < 10
        assert listener.connections == 0
        writer.close()


async def test_a_client_that_drips_its_headers_is_disconnected() -> None:
    async with serving(an_access(), header_seconds=0.5) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)

        async def drip() -> None:
            try:
                writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\n")
                while True:
                    writer.write(b"X-Drip: 1\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.02)
            except ConnectionError:
                pass

        dripping = asyncio.create_task(drip())
        _, seconds = await closed_after(reader)
        assert 0.2 < seconds < 10
        dripping.cancel()
        writer.close()


async def test_a_served_connection_rests_longer_than_a_header_may_take() -> None:
    async with serving(an_access(), header_seconds=0.2, idle_seconds=30.0) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        for _ in range(2):
            writer.write(GET)
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(1.0)
        assert listener.connections == 1
        writer.write(GET[:10])  # the next request has begun: now it is header time again
        rest, _ = await closed_after(reader)
        assert rest == b""
        writer.close()


async def test_an_idle_connection_is_closed_in_the_end() -> None:
    async with serving(an_access(), header_seconds=0.2, idle_seconds=0.5) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(GET)
        rest, _ = await closed_after(reader)
        assert rest.endswith(b"ok")
        writer.close()


async def test_when_full_the_longest_wait_is_closed() -> None:
    async with serving(an_access(), header_seconds=60.0, max_connections=10) as listener:
        silent = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(10)]
        await until(lambda: listener.connections == 10, "ten connections")
        url = f"http://127.0.0.1:{listener.port}/metrics"
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            assert answer.status == 200
        assert await asyncio.wait_for(silent[0][0].read(), 10) == b""
        assert listener.connections <= 10
        for reader, writer in silent[1:]:
            assert not reader.at_eof()
            writer.close()
        silent[0][1].close()


async def test_connections_that_came_while_the_loop_was_busy_are_opened_together() -> None:
    """One for each turn of a busy loop kept new senders waiting for seconds beside others that connect all the time."""
    async with serving(an_access()) as listener:
        clients = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(40)]
        turns = 0
        while listener.connections < len(clients):
            turns += 1
            time.sleep(0.02)  # the loop is busy
            await asyncio.sleep(0)
        assert turns <= 20
        for client in clients:
            client.close()


async def test_strangers_are_closed_before_a_client_that_was_served() -> None:
    async with serving(an_access(), header_seconds=60.0, max_connections=10) as listener:
        served = await asyncio.open_connection("127.0.0.1", listener.port)
        served[1].write(GET)
        await asyncio.wait_for(served[0].readuntil(b"\r\n\r\nok"), 10)
        strangers = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(30)]
        for reader, _ in strangers[:20]:
            assert await asyncio.wait_for(reader.read(), 10) == b""
        served[1].write(GET)
        assert (await asyncio.wait_for(served[0].readuntil(b"\r\n\r\nok"), 10)).startswith(b"HTTP/1.1 200")
        for _, writer in (served, *strangers):
            writer.close()


async def test_handshakes_that_never_end_are_closed_too(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    pair = authority.issue("server")
    (tmp_path / "web.yml").write_text(f"tls_server_config: {{cert_file: {pair.cert}, key_file: {pair.key}}}\n")
    async with serving(an_access(tmp_path / "web.yml"), header_seconds=60.0, max_connections=5) as listener:
        stuck = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(5)]
        await until(lambda: listener.connections == 5, "five handshakes")
        url = f"https://127.0.0.1:{listener.port}/metrics"
        async with aiohttp.ClientSession() as client, client.get(url, ssl=authority.trusting()) as answer:
            assert answer.status == 200
        await until(lambda: listener.connections <= 5, "a place for the client")
        for _, writer in stuck:
            writer.close()


async def test_a_handshake_that_never_ends_is_disconnected(tmp_path: Path) -> None:
    pair = Authority.make(tmp_path).issue("server")
    (tmp_path / "web.yml").write_text(f"tls_server_config: {{cert_file: {pair.cert}, key_file: {pair.key}}}\n")
    async with serving(an_access(tmp_path / "web.yml"), header_seconds=0.3) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        await closed_after(reader)
        await until(lambda: listener.connections == 0, "the end of the handshake")
        writer.close()


async def test_connections_at_work_are_not_given_up_for_new_ones() -> None:
    at_work, go_on = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        at_work.set()
        await go_on.wait()
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/", wait)
    listener = await listen(app, "127.0.0.1:0", max_connections=1)
    async with aiohttp.ClientSession() as client:
        first = asyncio.ensure_future(client.get(f"http://127.0.0.1:{listener.port}/"))
        await asyncio.wait_for(at_work.wait(), 10)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        go_on.set()
        assert await (await first).text() == "done"
        writer.close()
    await listener.close()


async def test_the_source_with_most_connections_is_closed_first() -> None:
    async with serving(an_access(), header_seconds=60.0, max_connections=10) as listener:
        first = await asyncio.open_connection("127.0.0.1", listener.port, local_addr=("127.0.0.2", 0))
        flood = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(30)]
        for reader, _ in flood[:21]:
            assert await asyncio.wait_for(reader.read(), 10) == b""
        first[1].write(GET)
        assert (await asyncio.wait_for(first[0].readuntil(b"\r\n\r\nok"), 10)).startswith(b"HTTP/1.1 200")
        for _, writer in (first, *flood):
            writer.close()


async def test_a_password_that_waits_to_be_verified_is_no_work(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{shop: {hashed('right', 14)}}}\n")
    async with serving(an_access(tmp_path / "web.yml"), max_connections=5) as listener:
        guessing = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(5)]
        for _, writer in guessing:
            writer.write(GET[:-2] + b"Authorization: " + encode_basic_auth("nobody", "same").encode() + b"\r\n\r\n")
        await asyncio.sleep(0.2)  # they are being verified
        url = f"http://127.0.0.1:{listener.port}/-/healthy"
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            assert answer.status == 200
        assert await asyncio.wait_for(guessing[0][0].read(), 10) == b""
        for _, writer in guessing:
            writer.close()


async def test_a_client_whose_body_was_refused_is_closed_in_favour_of_a_new_one(tmp_path: Path) -> None:
    async with serving(an_access(write_users(tmp_path / "web.yml", shop="right")), max_connections=1) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 401")
        url = f"http://127.0.0.1:{listener.port}/-/healthy"
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            assert answer.status == 200
        writer.close()


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"GARBAGE CANARY\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /\xff CANARY\r\n\r\n",
     b"GET / HTTP/1.1\r\nCANARY: " + b"x" * 20_000 + b"\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: CANARY\r\n\r\n"],
    ids=["tls", "words", "version", "latin", "long header", "length"],
)  # fmt: skip
async def test_garbage_gets_one_plain_400_without_banner_echo_or_log(
    garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with serving(an_access()) as listener:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(garbage)
            answer, _ = await closed_after(reader)
            writer.close()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b"\r\n\r\nbad request\n")
    assert b"Server:" not in answer
    assert b"CANARY" not in answer
    assert "CANARY" not in caplog.text


async def test_requests_before_the_garbage_are_answered_and_none_after_it() -> None:
    async with serving(an_access()) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(GET + GET)
        for _ in range(2):
            assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\nok"), 10)).startswith(b"HTTP/1.1 200")
        writer.write(b"\x00\x01garbage\r\n\r\n" + GET)
        answer, _ = await closed_after(reader)
        writer.close()
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b"bad request\n")


@pytest.mark.parametrize("path", ["/raises", "/split"])
async def test_a_bug_outside_the_access_rules_is_logged_and_shows_nothing(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def raises(request: web.Request) -> web.Response:
        raise RuntimeError("a secret detail")

    async def split(request: web.Request) -> web.Response:
        return web.Response(headers={"X-A": "a secret detail\r\nX-B: b"})

    app = web.Application()
    app.router.add_get("/raises", raises)
    app.router.add_get("/split", split)
    listener = await listen(app, "127.0.0.1:0")
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer, _ = await closed_after(reader)
        writer.close()
        assert b"secret" not in answer
        assert b"200 OK" not in answer
    await listener.close()
    assert caplog.text.count("a connection failed (a bug in the adapter)") == 1


async def test_close_lets_a_request_in_flight_finish_and_takes_no_new_one() -> None:
    at_work, go_on = asyncio.Event(), asyncio.Event()
    cleaned = []

    async def wait(request: web.Request) -> web.Response:
        at_work.set()
        await go_on.wait()
        return web.Response(text="done")

    async def on_cleanup(app: web.Application) -> None:
        cleaned.append(True)

    app = web.Application()
    app.router.add_get("/", wait)
    app.on_cleanup.append(on_cleanup)
    listener = await listen(app, "127.0.0.1:0")
    idle = await asyncio.open_connection("127.0.0.1", listener.port)
    async with aiohttp.ClientSession() as client:
        first = asyncio.ensure_future(client.get(f"http://127.0.0.1:{listener.port}/"))
        await asyncio.wait_for(at_work.wait(), 10)
        closing = asyncio.ensure_future(listener.close())
        await until(lambda: not accepts(listener.port), "the end of the listening socket")
        go_on.set()
        assert await (await first).text() == "done"
        await asyncio.wait_for(closing, 10)
    assert cleaned == [True]
    assert await asyncio.wait_for(idle[0].read(), 10) == b""
    idle[1].close()


@pytest.mark.parametrize("address", [":0", "127.0.0.1:0", "localhost:0", "[::1]:0"])
async def test_each_way_to_write_an_address_is_served(address: str) -> None:
    app = web.Application()
    try:
        listener = await listen(app, address)
    except OSError as exc:
        if "::1" in address:
            pytest.skip(f"no IPv6 here: {exc}")
        raise
    async with aiohttp.ClientSession() as client:
        for host in ["[::1]"] if "::1" in address else ["127.0.0.1"]:
            async with client.get(f"http://{host}:{listener.port}/") as answer:
                assert answer.status == 404
    await listener.close()


async def test_an_address_in_use_is_an_error_at_once() -> None:
    async with serving(an_access()) as listener:
        with pytest.raises(OSError, match="in use"):
            await listen(web.Application(), f"127.0.0.1:{listener.port}")
