"""Webhooks with mutated bytes; the same seed gives the same mutations."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import aiohttp

from tests.flow.attacks import Statuses
from tests.stage import sample


async def mutated_bodies(url: str, count: int, seed: int, *, at_once: int = 2) -> Statuses:
    """Post `count` mutated webhooks, `at_once` at a time."""
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
    """Real bodies with one to three mutations each."""
    rng = random.Random(seed)
    originals = [sample(name) for name in ("single-firing", "group3-mixed", "unicode", "no-alertname", "kube-watchdog")]
    for _ in range(count):
        body = rng.choice(originals)
        for _ in range(rng.randint(1, 3)):
            body = rng.choice(_DAMAGES)(body, rng)
        yield body


_ODD: Sequence[bytes] = (
    b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"-0", b"null", b'""', b"[]", b"{}", b'"\\ud800"', b'"\\u0000"',
    b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"[" * 2000, b'{"a":' * 500, b'"', b"\\", b"\x00", b"true",
    b'{"alerts":[]}', b'"alerts":[{}],', b'"fingerprint":"../../x",', b'"{{7*7}}"', "\u202e".encode(), b"\n",
)  # fmt: skip


def _flip(body: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body) or 1)
    return body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :]


def _cut(body: bytes, rng: random.Random) -> bytes:
    return body[: rng.randrange(len(body) + 1)]


def _drop(body: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + body[at + rng.randrange(40) :]


def _twice(body: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + body[at : at + rng.randrange(200)] * 2 + body[at:]


def _insert(body: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + rng.choice(_ODD) + body[at:]


def _revalue(body: bytes, rng: random.Random) -> bytes:
    """Replace the value after one of the colons; the result is JSON most times."""
    colons = [match.end() for match in re.finditer(rb'":', body)]
    if not colons:
        return body
    at = rng.choice(colons)
    end = min((body.find(mark, at) for mark in b",}]" if body.find(mark, at) > 0), default=len(body))
    return body[:at] + rng.choice(_ODD) + body[end:]


def _recode(body: bytes, rng: random.Random) -> bytes:
    return body.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-32", "utf-7", "utf-8-sig")), "replace")


_DAMAGES = (_flip, _cut, _drop, _twice, _insert, _revalue, _revalue, _recode)
