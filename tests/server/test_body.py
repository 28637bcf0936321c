"""Request bodies: what is read, what is refused, and how much memory that takes."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import re
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.server.body import HEAD_BYTES, BodyRefused, BodyTooLarge, InFlight, Overloaded, read_body
from adapter.server.listener import listen
from tests.stage import until

MIB = 1024 * 1024


class Reader:
    """A server that reads every body and keeps what came of it."""

    def __init__(self, *, limit: int = MIB, seconds: float = 10.0, max_bytes: int = 1 << 40) -> None:
        self.budget = InFlight(max_requests=100, max_bytes=max_bytes)
        self.bodies: list[bytes] = []
        self.heads: list[bytes] = []
        self._limit = limit
        self._seconds = seconds
        self.contents: list[StreamReader] = []
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.port = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.contents.append(request.content)
        await self.may_read.wait()
        try:
            with self.budget.reserve() as reserve:
                self.bodies.append(await read_body(request, limit=self._limit, seconds=self._seconds, reserve=reserve))
        except BodyTooLarge as exc:
            self.heads.append(exc.head)
            return web.Response(status=413)
        except BodyRefused as exc:
            return web.Response(status=exc.status, text=str(exc))
        except Overloaded:
            return web.Response(status=503)
        return web.Response(text="ok")

    async def send(self, raw: bytes, *, then_close: bool = False) -> int:
        """Sends these bytes as they are; the status, 0 for none."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(raw)
            if then_close:
                writer.write_eof()
            line = await asyncio.wait_for(reader.readline(), 20)
            return int(line.split()[1]) if line else 0
        finally:
            writer.close()

    async def post(self, body: bytes, *headers: str) -> int:
        lines = ["POST / HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
        return await self.send("\r\n".join([*lines, "", ""]).encode() + body)


@asynccontextmanager
async def reading(**limits: float) -> AsyncIterator[Reader]:
    reader = Reader(**limits)  # type: ignore[arg-type]
    app = web.Application()
    app.router.add_post("/", reader.handle)
    listener = await listen(app, "127.0.0.1:0", drain_seconds=1.0)
    reader.port = listener.port
    try:
        yield reader
    finally:
        await listener.close()


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


async def test_each_accepted_encoding_gives_the_same_body() -> None:
    body = b'{"alerts": []}' * 1000
    raw_deflate = zlib.compressobj(wbits=-15)
    async with reading() as server:
        assert await server.post(body) == 200
        assert await server.post(body, "Content-Encoding: identity") == 200
        assert await server.post(gzip.compress(body), "Content-Encoding: gzip") == 200
        assert await server.post(gzip.compress(body), "content-encoding: GZIP") == 200
        assert await server.post(gzip.compress(body), "Content-Encoding: x-gzip") == 200
        members = gzip.compress(body[:5000]) + gzip.compress(body[5000:])
        assert await server.post(members, "Content-Encoding: gzip") == 200
        assert await server.post(zlib.compress(body), "Content-Encoding: deflate") == 200
        raw = raw_deflate.compress(body) + raw_deflate.flush()
        assert await server.post(raw, "Content-Encoding: deflate") == 200
        assert await server.send(CHUNKED + chunked(body, 100)) == 200
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"
        assert await server.send(head + chunked(gzip.compress(body), 7)) == 200
        assert server.bodies == [body] * 10


async def test_an_empty_body_is_read_as_often_as_it_comes() -> None:
    async with reading() as server:
        assert [await server.post(b"") for _ in range(3)] == [200] * 3
        assert server.bodies == [b""] * 3


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip\r\nContent-Encoding: br", "canary"])
async def test_other_encodings_are_refused_with_a_hint(encoding: str) -> None:
    async with reading() as server:
        assert await server.post(gzip.compress(b"{}"), f"Content-Encoding: {encoding}") == 400
        assert server.bodies == []


TEXT = '{"alerts": [], "receiver": "磁盘"}'


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("UTF-8", "utf-8"), ("utf8", "utf-8"), ('"utf-8"', "utf-8"), ("'gbk'", "gbk"), (' "GBK" ;', "gbk"),
        ("GBK", "gbk"), ("gb2312", "gbk"), ("gb18030", "gb18030"), ("big5", "big5"), ("Shift_JIS", "shift_jis"),
        ("EUC-JP", "euc-jp"), ("utf-16", "utf-16"), ("UTF-16LE", "utf-16le"), ("utf-16be", "utf-16be"),
    ],
)  # fmt: skip
async def test_a_body_in_a_declared_charset_becomes_utf_8(declared: str, codec: str) -> None:
    text = TEXT.replace("盘", "") if codec in ("shift_jis", "euc-jp", "big5") else TEXT
    async with reading() as server:
        assert await server.post(text.encode(codec), f"Content-Type: application/json; charset={declared}") == 200
        assert server.bodies == [text.encode()]


@pytest.mark.parametrize("declared", ["gbk", "big5", "us-ascii", "hex", "rot13", "idna", "no-such", "x" * 999])
async def test_a_charset_that_is_not_known_or_not_true_is_answered_415(declared: str) -> None:
    broken = b'{"a": "\x81\xff\xff"}'
    async with reading() as server:
        assert await server.post(broken, f"Content-Type: text/plain; charset={declared}") == 415
        assert server.bodies == []


async def test_the_limit_holds_in_utf_8_too() -> None:
    async with reading(limit=100) as server:
        assert await server.post("é".encode("latin-1") * 51, "Content-Type: a/b; charset=iso-8859-1") == 413
        assert await server.post("é".encode("latin-1") * 50, "Content-Type: a/b; charset=iso-8859-1") == 200


async def test_a_body_that_is_not_what_it_says_is_refused() -> None:
    async with reading() as server:
        assert await server.post(b"{}", "Content-Encoding: gzip") == 400
        broken = gzip.compress(bytes(range(256)) * 100)
        assert await server.post(broken[:20] + b"\xff" * 20 + broken[40:], "Content-Encoding: gzip") == 400
        whole = gzip.compress(b'{"alerts": []}' * 1000)
        for packed in (whole[:-1], whole + b"more", whole[:5]):
            assert await server.post(packed, "Content-Encoding: gzip") == 400
        assert await server.send(CHUNKED + b"xyz\r\nabc\r\n0\r\n\r\n") == 400
        assert server.bodies == []


async def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    async with reading() as server:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        assert await server.send(head + b"half", then_close=True) in (0, 400)
        await until_idle(server)
        assert server.bodies == []


async def test_a_client_that_has_gone_before_the_first_read_is_no_bug() -> None:
    gone = BaseProtocol(asyncio.get_running_loop())
    request = make_mocked_request("POST", "/", payload=StreamReader(gone, 2**16))
    request.protocol.transport = None
    with pytest.raises(BodyRefused, match="the client has gone"):
        await read_body(request, limit=MIB, seconds=5.0)


async def until_idle(server: Reader) -> None:
    await until(lambda: not server.budget.requests and not server.budget.bytes, "the end of every request")


async def test_the_limit_counts_decompressed_bytes_to_the_byte() -> None:
    async with reading(limit=100_000) as server:
        for wrap, header in ((bytes, "X-A: b"), (gzip.compress, "Content-Encoding: gzip")):
            assert await server.post(wrap(b"x" * 100_000), header) == 200
            assert await server.post(wrap(b"x" * 100_001), header) == 413
        assert [len(body) for body in server.bodies] == [100_000] * 2
        assert server.heads == [b"x" * HEAD_BYTES] * 2


async def test_the_head_of_a_body_smaller_than_64_kib_is_all_of_it() -> None:
    async with reading(limit=10) as server:
        assert await server.post(b"0123456789ab") == 413
        assert server.heads == [b"0123456789ab"]


async def test_a_bomb_is_refused_without_being_unpacked() -> None:
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(MIB)
    bomb = b"".join(packer.compress(zeros) for _ in range(200)) + packer.flush()
    assert len(bomb) < 250_000
    async with reading(limit=16 * MIB) as server:
        tracemalloc.start()
        try:
            assert await server.post(bomb, "Content-Encoding: gzip") == 413
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 48 * MIB  # the body as far as it was read, and once more while it grows
        assert server.heads == [bytes(HEAD_BYTES)]


async def test_a_large_packed_body_is_unpacked_beside_the_event_loop() -> None:
    packed = gzip.compress(bytes(200 * MIB))
    async with reading(limit=256 * MIB) as server:
        loop, process = time.thread_time(), time.process_time()
        assert await server.post(packed, "Content-Encoding: gzip") == 200
        loop, process = time.thread_time() - loop, time.process_time() - process
        assert [len(body) for body in server.bodies] == [200 * MIB]
        assert loop < process / 2


async def test_many_small_packed_streams_in_a_row_are_unpacked_beside_the_event_loop_too() -> None:
    packed = gzip.compress(b"x" * 10) * 20_000
    async with reading() as server:
        loop, process = time.thread_time(), time.process_time()
        assert await server.post(packed, "Content-Encoding: gzip") == 200
        loop, process = time.thread_time() - loop, time.process_time() - process
        assert server.bodies == [b"x" * 200_000]
        assert loop < process / 2


async def test_the_rest_of_a_bomb_is_not_unpacked_either() -> None:
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(MIB)
    part = b"".join(packer.compress(zeros) for _ in range(100))
    async with reading(limit=MIB) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 40}\r\nContent-Encoding: gzip\r\n\r\n"
        writer.write(head.encode())

        async def go_on() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(part)
                    await writer.drain()

        bombing = asyncio.ensure_future(go_on())
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        assert answer.startswith(b"HTTP/1.1 413")
        await asyncio.wait_for(bombing, 20)
        writer.close()
        (content,) = server.contents
        assert content.total_bytes < 8 * MIB


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_body_in_three_thousand_tiny_chunks_is_read_whole() -> None:
    async with reading() as server:
        assert await server.send(CHUNKED + chunked(b"x" * 3000, 1)) == 200
        assert server.bodies == [b"x" * 3000]


async def test_a_storm_of_tiny_chunks_is_refused_in_time_and_others_are_served_meanwhile() -> None:
    async with reading(seconds=2.0) as server:
        storm = asyncio.ensure_future(server.send(CHUNKED + chunked(b"x" * 100_000, 1)))
        await until(lambda: server.contents, "the head of the request")
        assert await server.post(b"small") == 200
        assert not storm.done()
        assert await storm == 503
        assert server.bodies == [b"small"]


async def test_after_a_refused_body_in_chunks_the_connection_goes_on() -> None:
    async with reading() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        refused = b"POST /nowhere" + CHUNKED.removeprefix(b"POST /") + chunked(b"x" * 300, 1)
        writer.write(refused + b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nnext")
        answers = await asyncio.wait_for(reader.readuntil(b"ok"), 20)
        assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"404", b"200"]
        assert server.bodies == [b"next"]
        writer.close()


async def test_the_rest_of_a_refused_body_is_not_read_for_long() -> None:
    async with reading() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        assert answer.startswith(b"HTTP/1.1 404")
        await asyncio.wait_for(reader.read(), 20)  # closed by the server, though the body never comes
        writer.close()


async def test_a_body_that_is_not_read_yet_stays_with_the_sender() -> None:
    async with reading(limit=32 * MIB) as server:
        server.may_read.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (30 * MIB) + bytes(30 * MIB))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 1.0)
        server.may_read.set()
        assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_body_that_drips_is_answered_503_in_time() -> None:
    async with reading(seconds=0.5) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")

        async def drip() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.02)

        dripping = asyncio.ensure_future(drip())
        assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 503")
        dripping.cancel()
        writer.close()
        assert server.bodies == []


async def test_bytes_in_flight_are_bounded_over_all_requests() -> None:
    async with reading(limit=MIB, max_bytes=100_000) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 80000\r\n\r\n" + b"x" * 79_999)
        await until(lambda: server.budget.bytes == 79_999, "the first part of the body")
        assert await server.post(b"y" * 30_000) == 503
        assert await server.post(b"y" * 10_000) == 200
        writer.write(b"x")
        assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 200")
        writer.close()
        await until_idle(server)
        assert await server.post(b"y" * 90_000) == 200


@pytest.fixture(scope="module")
def loop_runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=3000), size=st.integers(1, 700), packed=st.booleans())
def test_any_body_in_any_chunks_is_read_whole_or_refused(
    loop_runner: asyncio.Runner, body: bytes, size: int, packed: bool
) -> None:
    async def story() -> None:
        async with reading(limit=2000) as server:
            encoding = b"Content-Encoding: gzip\r\n" if packed else b""
            head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + encoding + b"\r\n"
            status = await server.send(head + chunked(gzip.compress(body) if packed else body, size))
            assert (status, server.bodies) == ((200, [body]) if len(body) <= 2000 else (413, []))

    loop_runner.run(story())


def test_requests_in_flight_are_bounded() -> None:
    budget = InFlight(max_requests=2, max_bytes=100)
    with budget.reserve() as first, budget.reserve() as second:
        with pytest.raises(Overloaded), budget.reserve():
            pass
        first(60)
        with pytest.raises(Overloaded):
            second(41)
        second(40)
        assert (budget.requests, budget.bytes) == (2, 100)
    assert (budget.requests, budget.bytes) == (0, 0)


def in_chunks(body: bytes, size: int) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


async def test_bodies_of_every_size_arrive_whole_and_in_order_on_one_connection() -> None:
    source = random.Random(1)
    bodies = [source.randbytes(size) for size in (5, 3 * MIB, 400, 0, 700_000, 9)]
    requests = [
        in_chunks(body, 3) if len(body) in (400, 9) else plain(body)
        for body in bodies
    ]  # fmt: skip
    async with reading(limit=4 * MIB) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"".join(requests))
        statuses = []
        while len(statuses) < len(bodies):
            line = await asyncio.wait_for(reader.readline(), 20)
            if line.startswith(b"HTTP/1.1 "):
                statuses.append(int(line.split()[1]))
            elif line.startswith(b"Content-Length: "):
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
                await reader.readexactly(int(line.split()[1]))
        writer.close()
        assert statuses == [200] * len(bodies)
        assert server.bodies == bodies


async def test_clients_that_hang_up_in_a_storm_of_chunks_leave_nothing_behind() -> None:
    storm = in_chunks(b"x" * 3000, 1)[:-5]  # without its end
    async with reading() as server:
        for number in range(1, 11):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(storm)
            await until(lambda number=number: len(server.contents) == number, "the request to begin")
            writer.transport.abort()
        await until(lambda: server.budget.requests == 0, "every request to end")
        assert server.budget.bytes == 0
        assert server.bodies == []
        assert await server.post(b"good") == 200


def plain(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
