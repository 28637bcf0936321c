"""What a hostile client can do to one listening port, and good traffic to measure beside it. Loopback only, bounded.

Every attack takes its own size, so that the tests run a short form and `make faults` the long one. Each returns the
statuses it was answered with, counted; 0 stands for a connection that was closed without an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import random
import re
import select
import sys
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.stage import REPOSITORY, alert, sample, webhook

Statuses = Counter[int]

ALLOWED = {0, 200, 400, 401, 404, 405, 413, 503}
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_HEAD = "POST /webhook HTTP/1.1\r\nHost: localhost\r\n"
_LAST = "Connection: close\r\n"
_PATIENCE = 60.0


@dataclass
class Good:
    """What an honest sender saw. `resent`: requests it had to send again because the connection was gone."""

    statuses: Statuses = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    resent: int = 0

    def quantile(self, part: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


@asynccontextmanager
async def good_traffic(port: int, pause: float = 0.02) -> AsyncIterator[Good]:
    """An honest Alertmanager beside the attack, in a process of its own; what it saw is there after the end."""
    good = Good()
    command = [sys.executable, "-m", "tests.flow.attacks", str(port), str(pause)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), _PATIENCE) == b"sending\n"
        yield good
        process.stdin.close()
        seen = json.loads(await asyncio.wait_for(process.stdout.read(), _PATIENCE))
        good.statuses.update({int(status): count for status, count in seen["statuses"].items()})
        good.seconds, good.resent = seen["seconds"], seen["resent"]
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()


def send_good(port: int, pause: float, stopped: Callable[[], bool]) -> Good:
    """One webhook after the other until told to stop; like Alertmanager, again when a connection fails."""
    good = Good()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    while not stopped():
        body = webhook(alert(f"Good{len(good.seconds) % 50}"))
        started = time.perf_counter()
        status = 0
        for _ in range(10):
            try:
                connection.request("POST", "/webhook", body)
                answer = connection.getresponse()
                answer.read()
                status = answer.status
                break
            except (OSError, http.client.HTTPException):
                connection.close()
                good.resent += 1
                time.sleep(0.05)
        good.seconds.append(time.perf_counter() - started)
        good.statuses[status] += 1
        time.sleep(pause)
    connection.close()
    return good


async def slow_sockets(port: int, count: int, seconds: float) -> Statuses:
    """`count` clients that stay silent, stop in the headers, or drip headers or body; closed ones come back."""
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
    """One body of zeros that unpacks to so many MiB, a thousandth of that on the wire."""
    return await raw(port, await asyncio.to_thread(_bomb, mebibytes))


def _bomb(mebibytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(1024 * 1024)
    body = b"".join(packer.compress(zeros) for _ in range(mebibytes)) + packer.flush()
    return f"{_HEAD}{_LAST}Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def chunk_storm(port: int, chunks: int) -> Statuses:
    """A good webhook behind so many chunks of one blank each."""
    body = webhook(alert("Stormy"))
    storm = b"1\r\n \r\n" * chunks + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return await raw(port, f"{_HEAD}{_LAST}Transfer-Encoding: chunked\r\n\r\n".encode() + storm)


async def pipelined_garbage(port: int, count: int, seed: int) -> Statuses:
    """`count` connections that each pipeline honest requests and broken ones."""
    dice = random.Random(seed)
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
        bytes(dice.randrange(256) for _ in range(200)),
    )
    last = f"\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n{_LAST}\r\n".encode()
    total: Statuses = Counter()
    for start in range(0, count, 50):
        scripts = [b"".join(dice.choices(pieces, k=dice.randint(1, 8))) + last for _ in range(min(50, count - start))]
        for statuses in await asyncio.gather(*(raw(port, script) for script in scripts)):
            total += statuses
    return total


async def mutated_bodies(url: str, count: int, seed: int, *, at_once: int = 2) -> Statuses:
    """`count` webhooks whose bytes were damaged; the same seed damages the same way."""
    statuses: Statuses = Counter()
    bodies = mutants(seed, count)

    async def send() -> None:
        async with aiohttp.ClientSession() as session:
            for body in bodies:
                async with session.post(f"{url}/webhook", data=body) as answer:
                    await answer.read()
                    statuses[answer.status] += 1

    await asyncio.gather(*(send() for _ in range(at_once)))
    return statuses


def mutants(seed: int, count: int) -> Iterator[bytes]:
    """Real bodies, each damaged in one to three ways."""
    dice = random.Random(seed)
    originals = [sample(name) for name in ("single-firing", "group3-mixed", "unicode", "no-alertname", "kube-watchdog")]
    for _ in range(count):
        body = dice.choice(originals)
        for _ in range(dice.randint(1, 3)):
            body = dice.choice(_DAMAGES)(body, dice)
        yield body


_ODD: Sequence[bytes] = (
    b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"-0", b"null", b'""', b"[]", b"{}", b'"\\ud800"', b'"\\u0000"',
    b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"[" * 2000, b'{"a":' * 500, b'"', b"\\", b"\x00", b"true",
    b'{"alerts":[]}', b'"alerts":[{}],', b'"fingerprint":"../../x",', b'"{{7*7}}"', "\u202e".encode(), b"\n",
)  # fmt: skip


def _flip(body: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(body) or 1)
    return body[:at] + bytes([dice.randrange(256)]) + body[at + 1 :]


def _cut(body: bytes, dice: random.Random) -> bytes:
    return body[: dice.randrange(len(body) + 1)]


def _drop(body: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(body) + 1)
    return body[:at] + body[at + dice.randrange(40) :]


def _twice(body: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(body) + 1)
    return body[:at] + body[at : at + dice.randrange(200)] * 2 + body[at:]


def _insert(body: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(body) + 1)
    return body[:at] + dice.choice(_ODD) + body[at:]


def _revalue(body: bytes, dice: random.Random) -> bytes:
    """Another value after one of the colons: still JSON, most times."""
    colons = [match.end() for match in re.finditer(rb'":', body)]
    if not colons:
        return body
    at = dice.choice(colons)
    end = min((body.find(mark, at) for mark in b",}]" if body.find(mark, at) > 0), default=len(body))
    return body[:at] + dice.choice(_ODD) + body[end:]


def _recode(body: bytes, dice: random.Random) -> bytes:
    return body.decode("utf-8", "replace").encode(dice.choice(("utf-16", "utf-32", "utf-7", "utf-8-sig")), "replace")


_DAMAGES = (_flip, _cut, _drop, _twice, _insert, _revalue, _revalue, _recode)


async def raw(port: int, sent: bytes) -> Statuses:
    """Sends these bytes and keeps the line open; every status that comes until the server hangs up."""
    statuses: Statuses = Counter()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return Counter({0: 1})
    answer = b""
    try:
        writer.write(sent)
        async with asyncio.timeout(_PATIENCE):
            while part := await reader.read(65536):
                answer += part
    except (TimeoutError, OSError):
        pass
    finally:
        writer.close()
    statuses.update(int(status) for status in _STATUS.findall(answer))
    return statuses or Counter({0: 1})


def peak_memory(pid: int) -> int:
    """The most physical memory the process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    print("sending", flush=True)
    poller = select.poll()
    poller.register(sys.stdin, select.POLLHUP)
    print(json.dumps(vars(send_good(int(sys.argv[1]), float(sys.argv[2]), lambda: bool(poller.poll(0))))))
