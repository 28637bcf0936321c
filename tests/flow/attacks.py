"""Attacks on a port on loopback.

Every attack has a size: tests run small ones, `make faults` large ones. Each returns the counted statuses of its
answers; 0 stands for a connection that was closed without an answer.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import random
import re
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.stage import alert, webhook

Statuses = Counter[int]

ALLOWED = {0, 200, 400, 401, 403, 404, 405, 413, 415, 503}
USER, PASSWORD = "alertmanager", "right"  # of attackers and honest senders, where users are configured
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


def authorization(user: str = USER, password: str = PASSWORD) -> str:
    """The value of the header."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


_KNOWN = f"Authorization: {authorization()}\r\n"
_HEAD = f"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{_KNOWN}"
_LAST = "Connection: close\r\n"
PATIENCE = 60.0


async def slow_sockets(port: int, count: int, seconds: float) -> Statuses:
    """`count` clients that send nothing, stop in the headers, or send headers or body slowly; closed ones reconnect."""
    statuses: Statuses = Counter()
    end = time.monotonic() + seconds

    async def hold(number: int) -> None:
        opening, drop = (
            (b"", b""),
            (_HEAD.encode() + b"X-Half: ", b""),
            (_HEAD.encode(), b"X-Drip: 1\r\n"),
            (f"{_HEAD}Content-Length: 100000\r\n\r\n".encode(), b" "),
        )[number % 4]
        while time.monotonic() < end:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                statuses[await _hold_one(port, opening, drop, end)] += 1
            await asyncio.sleep(0.2)

    await asyncio.gather(*(hold(number) for number in range(count)))
    return statuses


async def _hold_one(port: int, opening: bytes, drop: bytes, end: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(opening)
        while time.monotonic() < end:
            writer.write(drop)
            with contextlib.suppress(asyncio.TimeoutError):
                answer = await asyncio.wait_for(reader.read(4096), min(1.0, max(0.01, end - time.monotonic())))
                return int(_STATUS.findall(answer)[0]) if answer else 0
        return 0
    finally:
        writer.close()


async def gzip_bomb(port: int, mebibytes: int) -> Statuses:
    """One body of zeros that unpacks to so many MiB; a thousandth of that is sent."""
    return await raw(port, await asyncio.to_thread(_bomb, mebibytes))


@cache
def _bomb(mebibytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(1024 * 1024)
    body = b"".join(packer.compress(zeros) for _ in range(mebibytes)) + packer.flush()
    return f"{_HEAD}{_LAST}Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def dense_bodies(port: int, mebibytes: int) -> Statuses:
    """Four bodies of so many MiB at once, of values that take many times their size when they are parsed."""
    values = (b"0", b"{}", b'{"a":1}', b"1.5e99")
    answers = await asyncio.gather(*(raw(port, _dense(value, mebibytes)) for value in values))
    return sum(answers, Counter())


@cache
def _dense(value: bytes, mebibytes: int) -> bytes:
    entries = b",".join([value] * (mebibytes * 1024 * 1024 // (len(value) + 1)))
    body = zlib.compress(b'{"alerts":[' + entries + b"]}", wbits=31)
    return f"{_HEAD}{_LAST}Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def chunk_storm(port: int, chunks: int) -> Statuses:
    """A valid webhook after so many chunks of one blank each."""
    body = webhook(alert("Stormy"))
    storm = b"1\r\n \r\n" * chunks + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return await raw(port, f"{_HEAD}{_LAST}Transfer-Encoding: chunked\r\n\r\n".encode() + storm)


async def pipelined_garbage(port: int, count: int, seed: int) -> Statuses:
    """`count` connections that pipeline valid and broken requests."""
    rng = random.Random(seed)
    honest = webhook(alert("Piped"))
    pieces = (
        f"{_HEAD}Content-Length: {len(honest)}\r\n\r\n".encode() + honest,
        b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /webhook HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00",
        b"POST /webhook HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"{_HEAD}Content-Length: -1\r\n\r\n".encode(),
        f"{_HEAD}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n".encode(),
        f"{_HEAD}{'X: y' * 5000}\r\n\r\n".encode(),
        b"\r\n" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        bytes(rng.randrange(256) for _ in range(200)),
    )
    last = f"\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n{_LAST}\r\n".encode()
    total: Statuses = Counter()
    for start in range(0, count, 50):
        scripts = [b"".join(rng.choices(pieces, k=rng.randint(1, 8))) + last for _ in range(min(50, count - start))]
        for statuses in await asyncio.gather(*(raw(port, script) for script in scripts)):
            total += statuses
    return total


async def raw(port: int, sent: bytes) -> Statuses:
    """Sends these bytes and keeps the connection open; every status that comes until the server closes it."""
    statuses: Statuses = Counter()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return Counter({0: 1})
    answer = b""
    try:
        writer.write(sent)
        async with asyncio.timeout(PATIENCE):
            while part := await reader.read(65536):
                answer += part
    except (TimeoutError, OSError):
        pass
    finally:
        writer.close()
    statuses.update(int(status) for status in _STATUS.findall(answer))
    return statuses or Counter({0: 1})


async def long_matchers(admin_port: int, count: int) -> Statuses:
    """`count` reads of the admin API, each with a matcher of 3,000 blanks."""
    target = f"/api/v1/alarms?matcher=a{'+' * 3000}x"
    request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{_KNOWN}{_LAST}\r\n".encode()
    total: Statuses = Counter()
    for _ in range(count):
        total += await raw(admin_port, request)
    return total


async def previews(admin_port: int, count: int) -> Statuses:
    """Three previews at once of `count` alerts with long labels."""
    body = webhook(*(alert(f"Typed{number}", labels={"long": "y" * 3000}) for number in range(count)))
    request = _post(body, path="/api/v1/mappings/render")
    return await _together(admin_port, [request] * 3)


async def cross_site(port: int, count: int) -> Statuses:
    """`count` webhooks at once that a page of another site made a browser send."""
    return await _together(port, [_post(webhook(alert("Forged")), "Origin: http://elsewhere.example\r\n")] * count)


async def expectations(port: int, count: int) -> Statuses:
    """`count` webhooks at once that expect what no server knows."""
    return await _together(port, [_post(webhook(alert("Expected")), "Expect: <x>\r\n")] * count)


async def many_alerts(port: int, count: int) -> Statuses:
    """One body of `count` alerts."""
    return await raw(port, _post(webhook(*(alert(f"Many{number}") for number in range(count)))))


async def many_labels(port: int, count: int) -> Statuses:
    """One alert of `count` labels."""
    return await raw(port, _post(webhook(alert("Labels", labels={f"label{number}": "x" for number in range(count)}))))


async def half_characters(port: int, count: int) -> Statuses:
    """An alert whose label has `count` halves of characters, which UTF-8 cannot hold."""
    return await raw(port, _post(b'{"alerts":[{"labels":{"alertname":"' + b"\\ud800" * count + b'"}}]}'))


async def common_labels(port: int, count: int) -> Statuses:
    """A thousand alerts with `count` labels in common, which each report would repeat."""
    common = {f"label{number}": "v" * 50 for number in range(count)}
    body = json.dumps({"alerts": [alert(f"Common{number}") for number in range(1000)], "commonLabels": common})
    return await raw(port, _post(body.encode()))


async def guesses(port: int, connections: int, seconds: float) -> Statuses:
    """So many connections that guess passwords of as many users, one after the other."""
    statuses: Statuses = Counter()
    end, body = time.monotonic() + seconds, webhook(alert("Guessed"))

    async def guess(number: int) -> None:
        for attempt in itertools.count():
            if time.monotonic() >= end:
                break
            wrong = authorization(f"user{number}" if number % 2 else USER, f"wrong{number}.{attempt}")
            statuses.update(await raw(port, _post(body).replace(authorization().encode(), wrong.encode())))

    await asyncio.gather(*(guess(number) for number in range(connections)))
    return statuses


async def silent(port: int, count: int, seconds: float) -> Statuses:
    """`count` connections that send nothing; each that is closed, or cannot be opened, is opened again."""
    end = time.monotonic() + seconds

    async def stay() -> None:
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                await _hold_one(port, b"", b"", end)
            await asyncio.sleep(0.2)

    await asyncio.gather(*(stay() for _ in range(count)))
    return Counter({0: count})


async def _together(port: int, requests: Sequence[bytes]) -> Statuses:
    return sum(await asyncio.gather(*(raw(port, request) for request in requests)), Counter())


def _post(body: bytes, more: str = "", path: str = "/webhook") -> bytes:
    head = _HEAD.replace("/webhook", path, 1)
    return f"{head}{_LAST}{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def peak_memory(pid: int) -> int:
    """The most physical memory the process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) * 1024
