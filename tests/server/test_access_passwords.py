"""Basic auth: its cost, what it remembers, and that its duration tells nothing about user names."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest
from aiohttp import encode_basic_auth
from aiohttp.test_utils import TestClient, TestServer

from adapter.server.passwords import Busy, Passwords
from tests.server.servers import an_access, an_app, hashed, write_users


async def test_an_unknown_user_costs_one_verification_even_of_the_right_password() -> None:
    passwords = Passwords({b"shop": hashed("right", 9).encode()})
    started = time.process_time()
    assert not await passwords.verify(b"nobody", b"right")
    unknown = time.process_time() - started
    started = time.process_time()
    assert await passwords.verify(b"shop", b"right")
    assert unknown > (time.process_time() - started) / 3


async def test_an_unknown_user_takes_as_long_as_a_wrong_password(tmp_path: Path) -> None:
    """Over the wire, 200 tries each, interleaved; ranks, so that a hiccup of the machine counts no more than one."""
    access = an_access(write_users(tmp_path / "web.yml", shop="right"))
    samples: dict[str, list[float]] = {"shop": [], "nobody": []}
    rng = random.Random(6)
    async with TestClient(TestServer(an_app(access))) as client:
        for number in range(200):
            for user in rng.sample(sorted(samples), 2):
                headers = {"Authorization": encode_basic_auth(user, f"wrong{number}")}
                started = time.perf_counter()
                async with client.get("/metrics", headers=headers) as answer:
                    assert answer.status == 401
                samples[user].append(time.perf_counter() - started)
    # Where nothing tells them apart this is 0.5, give or take 0.03; the bounds are five times that away.
    assert 0.35 < superiority(samples["shop"], samples["nobody"]) < 0.65


def superiority(left: list[float], right: list[float]) -> float:
    """The chance that one of `left` is above one of `right`: 0.5 when nothing tells them apart."""
    return sum((a > b) + 0.5 * (a == b) for a in left for b in right) / (len(left) * len(right))


async def test_a_verdict_is_remembered() -> None:
    users = {b"shop": hashed("right", 11).encode()}
    passwords = Passwords(users)
    started = time.process_time()
    assert await passwords.verify(b"shop", b"right")
    assert not await passwords.verify(b"shop", b"wrong")
    assert not await passwords.verify(b"nobody", b"right")
    paid = time.process_time() - started
    started_again = time.process_time()
    for _ in range(100):
        assert await passwords.verify(b"shop", b"right")
        assert not await passwords.verify(b"shop", b"wrong")
        assert not await passwords.verify(b"nobody", b"right")
    assert time.process_time() - started_again < paid * 10  # 300 verifications would have cost a hundred times that


async def test_neither_password_nor_plain_hash_of_it_is_kept() -> None:
    passwords = Passwords({b"shop": hashed("right-canary").encode()})
    assert await passwords.verify(b"shop", b"right-canary")
    assert not await passwords.verify(b"shop", b"wrong-canary")
    assert "canary" not in repr(vars(passwords))
    again = Passwords({b"shop": hashed("right-canary").encode()})
    assert await again.verify(b"shop", b"right-canary")
    assert not keys_in(vars(passwords)) & keys_in(vars(again)) - {b"shop"}  # a hash of the password alone would be


def keys_in(value: object) -> set[bytes]:
    if not isinstance(value, dict):
        return set()
    return {key for key in value if isinstance(key, bytes)}.union(*map(keys_in, value.values()))


async def test_user_and_password_cannot_be_shifted_into_each_other() -> None:
    passwords = Passwords({b"ab": hashed("c").encode(), b"a": hashed("x").encode()})
    assert await passwords.verify(b"ab", b"c")
    assert not await passwords.verify(b"a", b"bc")


async def test_many_requests_with_one_credential_are_verified_once() -> None:
    passwords = Passwords({b"shop": hashed("right", 9).encode()})
    verdicts = await asyncio.gather(*(passwords.verify(b"shop", b"right") for _ in range(500)))
    assert verdicts == [True] * 500


async def test_a_cancelled_request_leaves_the_verdict_to_the_others() -> None:
    passwords = Passwords({b"shop": hashed("right", 9).encode()})
    first = asyncio.ensure_future(passwords.verify(b"shop", b"right"))
    second = asyncio.ensure_future(passwords.verify(b"shop", b"right"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second


async def test_a_flood_of_guesses_is_refused_and_known_users_are_still_served() -> None:
    passwords = Passwords({b"shop": hashed("right", 8).encode()})
    assert await passwords.verify(b"shop", b"right")
    flood = [asyncio.ensure_future(passwords.verify(b"shop", f"{n}".encode())) for n in range(300)]
    await asyncio.sleep(0)
    assert await passwords.verify(b"shop", b"right")
    results = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(result, Busy) for result in results) >= 200
    assert True not in results


async def test_guesses_of_one_source_keep_the_right_password_of_another_out_for_one_verification_at_most() -> None:
    passwords = Passwords({b"shop": hashed("right", 8).encode()})
    flood = [asyncio.ensure_future(passwords.verify(b"shop", f"{n}".encode(), "10.0.0.9")) for n in range(100)]
    assert not await flood[0]
    assert await passwords.verify(b"shop", b"right", "10.0.0.7")
    assert sum(not guess.done() for guess in flood) > 50, "served before those that came earlier"
    await asyncio.gather(*flood, return_exceptions=True)


async def test_guesses_of_user_names_wait_behind_those_of_known_users() -> None:
    passwords = Passwords({b"shop": hashed("right", 8).encode()})
    flood = [asyncio.ensure_future(passwords.verify(f"{n}".encode(), b"x", "10.0.0.9")) for n in range(100)]
    await asyncio.sleep(0)
    assert await passwords.verify(b"shop", b"right", "10.0.0.9")
    assert sum(not guess.done() for guess in flood) > 50, "served before those that came earlier"
    await asyncio.gather(*flood, return_exceptions=True)


async def test_a_guess_that_is_sent_again_after_it_was_refused_while_verified_is_answered() -> None:
    passwords = Passwords({b"shop": hashed("right", 8).encode()})
    for source, wrong in (("10.0.0.9", 2), ("10.0.0.8", 1)):
        for number in range(wrong):
            assert not await passwords.verify(b"shop", b"%d from %s" % (number, source.encode()), source)
    refused = asyncio.ensure_future(passwords.verify(b"shop", b"same", "10.0.0.9"))
    for _ in range(2):  # until it is being verified
        await asyncio.sleep(0)
    flood = [asyncio.ensure_future(passwords.verify(b"shop", b"flood%d" % n, "10.0.0.8")) for n in range(64)]
    with pytest.raises(Busy):
        await refused
    assert not await asyncio.wait_for(passwords.verify(b"shop", b"same", "10.0.0.7"), 30)
    await asyncio.gather(*flood, return_exceptions=True)


async def test_bcrypt_never_blocks_the_loop() -> None:
    passwords = Passwords({b"shop": hashed("right", 12).encode()})
    verifying = asyncio.ensure_future(passwords.verify(b"shop", b"right"))
    turns = 0
    while not verifying.done():
        await asyncio.sleep(0)
        turns += 1
    assert await verifying
    assert turns > 10
