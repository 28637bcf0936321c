"""Turns: strangers and storms are taken a little at a time, and nothing that was sent is lost or changes its place."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from adapter.server.body import read_body
from adapter.server.listener import listen
from adapter.server.turns import Turns

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
MIB = 1024 * 1024
_SECONDS = 30.0


class Echo:
    """Says how long each body was, and keeps them. `door`: a request waits for it before its body is read."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.begun: list[int] = []  # bytes of the body that had been parsed when its handler began
        self.door = asyncio.Event()
        self.door.set()
        self.port = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.begun.append(request.content.total_bytes)
        await self.door.wait()
        if request.headers.get("X-Refused"):
            return web.Response(status=401)
        self.bodies.append(await read_body(request, limit=32 * MIB, seconds=_SECONDS))
        return web.Response(text=str(len(self.bodies[-1])))


@asynccontextmanager
async def echoing() -> AsyncIterator[Echo]:
    echo = Echo()
    app = web.Application()
    app.router.add_post("/", echo.handle)
    listener = await listen(app, "127.0.0.1:0", None, drain_seconds=1.0)
    echo.port = listener.port
    try:
        yield echo
    finally:
        await listener.close()


def plain(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes, size: int) -> bytes:
    parts = (body[at : at + size] for at in range(0, len(body), size))
    framed = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


async def answers(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    """Status lines, in order."""
    found = []
    async with asyncio.timeout(_SECONDS):
        for _ in range(count):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            found.append(head.split(b" ", 2)[1])
    return found


async def test_large_bodies_and_storms_arrive_whole_and_in_order_on_one_connection() -> None:
    rng = random.Random(1)
    bodies = [rng.randbytes(size) for size in (5, 3 * MIB, 40_000, 0, 700_000, 9)]
    async with echoing() as echo:
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
        sizes = (0, 0, 1, 1, 3, 0)
        writer.write(b"".join(chunked(b, s) if s else plain(b) for b, s in zip(bodies, sizes, strict=True)))
        assert await answers(reader, len(bodies)) == [b"200"] * len(bodies)
        writer.close()
        assert echo.bodies == bodies


async def test_a_storm_is_not_parsed_in_one_go() -> None:
    async with echoing() as echo:
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
        writer.write(chunked(b"x" * 40_000, 1))
        assert await answers(reader, 1) == [b"200"]
        assert echo.begun[0] < 10_000
        writer.close()


async def test_a_stranger_is_served_before_a_storm_that_came_first_has_ended() -> None:
    async with echoing() as echo:
        stormy = await asyncio.open_connection("127.0.0.1", echo.port)
        stormy[1].write(chunked(b"x" * 300_000, 1))
        plainly = await asyncio.open_connection("127.0.0.1", echo.port)
        plainly[1].write(plain(b"small"))
        assert await answers(plainly[0], 1) == [b"200"]
        assert await answers(stormy[0], 1) == [b"200"]
        assert [len(body) for body in echo.bodies] == [5, 300_000]
        for _, writer in (stormy, plainly):
            writer.close()


async def test_what_nobody_reads_stays_with_the_sender() -> None:
    async with echoing() as echo:
        echo.door.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
        writer.write(plain(bytes(30 * MIB)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 1.0)
        echo.door.set()
        assert await answers(reader, 1) == [b"200"]
        writer.close()


async def test_after_a_refused_storm_the_connection_goes_on() -> None:
    async with echoing() as echo:
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
        writer.write(chunked(b"x" * 20_000, 1).replace(b"Host: x", b"Host: x\r\nX-Refused: 1", 1) + plain(b"next"))
        assert await answers(reader, 2) == [b"401", b"200"]
        assert echo.bodies == [b"next"]
        writer.close()


async def test_a_client_that_hangs_up_in_a_storm_leaves_nothing_behind() -> None:
    async with echoing() as echo:
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", echo.port)
            writer.write(chunked(b"x" * 100_000, 1)[:-100])
            writer.transport.abort()
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
        writer.write(plain(b"next"))
        assert await answers(reader, 1) == [b"200"]
        writer.close()
        assert echo.bodies == [b"next"]


async def test_turns_are_taken_in_order_and_few_at_a_time() -> None:
    turns = Turns(asyncio.get_running_loop())
    told: list[tuple[int, int]] = []
    turn = 0

    def going(number: int) -> Callable[[float], None]:
        return lambda until: told.append((turn, number))

    for number in range(20):
        turns.ask(going(number))
    while len(told) < 20:
        await asyncio.sleep(0)
        turn += 1
    assert [number for _, number in told] == list(range(20))
    assert all(sum(at == turn for at, _ in told) <= 2 for turn, _ in told)


async def test_who_uses_a_turn_up_has_it_alone_and_who_leaves_is_not_asked() -> None:
    turns = Turns(asyncio.get_running_loop())
    told: list[str] = []
    done = asyncio.Event()

    def long(until: float) -> None:
        while time.perf_counter() <= until:
            pass
        told.append("long")
        turns.ask(last)

    def last(until: float) -> None:
        told.append("last")
        done.set()

    def left(until: float) -> None:
        told.append("left")

    turns.ask(long)
    turns.ask(long)
    turns.ask(left)
    turns.leave(left)
    await asyncio.wait_for(done.wait(), _SECONDS)
    assert told == ["long", "last"]


async def test_a_defect_in_one_costs_nobody_else_the_turn() -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, _context: None)
    turns = Turns(loop)

    def fails(until: float) -> None:
        raise RuntimeError

    for _ in range(3):
        turns.ask(lambda until: fails(until))
    await asyncio.wait_for(turns.taken(), _SECONDS)
