"""Verifies basic auth against bcrypt hashes, in a thread beside the event loop.

- One verification runs at a time, so that a flood of guesses takes one core at most. Guesses are ranked by how many
  wrong passwords their source has sent, then known users before others, then by their order. Once `_WAITING` of them
  wait, the last by rank is refused before it costs anything. So strangers that guess do not keep others out.
- A verdict is remembered under a keyed hash of what was sent, so that a client pays bcrypt once per password change.
- An unknown user costs one bcrypt too, so that the time it takes does not tell which user names exist.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import secrets
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import bcrypt

from adapter.errors import AdapterError

_BCRYPT_BYTES: Final = 72  # bcrypt uses no more; Go's, for which these files are written, ignores the rest too
_REMEMBERED: Final = 1024  # verdicts of each kind, and sources with wrong passwords
_WAITING: Final = 64


class Busy(AdapterError):
    """Too many passwords wait to be verified."""


@dataclass(frozen=True, slots=True)
class _Guess:
    """A user and password that wait to be verified."""

    key: bytes
    user: bytes
    password: bytes
    source: str
    number: int
    verdict: asyncio.Future[bool]


class Passwords:
    """The users of one web config file. `users`: name -> bcrypt hash, both as bytes."""

    def __init__(self, users: Mapping[bytes, bytes]) -> None:
        self._users = users
        self._pepper = secrets.token_bytes(32)
        self._verdicts: dict[bool, OrderedDict[bytes, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._wrong: Counter[str] = Counter()  # wrong passwords of each source since it last had a right one
        self._guesses: dict[bytes, _Guess] = {}  # waiting, and the one that is being verified
        self._numbers = itertools.count()
        self._verifying: asyncio.Task[None] | None = None

    def __bool__(self) -> bool:
        return bool(self._users)

    async def verify(self, user: bytes, password: bytes, source: str = "") -> bool:
        """True for the right password of a user; Busy when it cannot be verified now. `source`: who sent it."""
        key = hashlib.blake2b(repr((user, password)).encode(), key=self._pepper).digest()
        for verdict, keys in self._verdicts.items():
            if key in keys:
                keys.move_to_end(key)
                return verdict
        guess = self._guesses.get(key) or self._enqueue(key, user, password, source)
        return await asyncio.shield(guess.verdict)  # one that is cancelled must not cancel it for the others

    def _enqueue(self, key: bytes, user: bytes, password: bytes, source: str) -> _Guess:
        verdict: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        verdict.add_done_callback(lambda done: done.exception())  # all who waited may have gone
        guess = self._guesses[key] = _Guess(key, user, password, source, next(self._numbers), verdict)
        if len(self._guesses) > _WAITING:
            last = max(self._guesses.values(), key=self._rank)
            self._answer(last.key, Busy())
        if self._verifying is None or self._verifying.done():
            self._verifying = asyncio.create_task(self._verify_all(), name="passwords")
        return guess

    def _rank(self, guess: _Guess) -> tuple[int, bool, int]:
        return self._wrong[guess.source], guess.user not in self._users, guess.number

    async def _verify_all(self) -> None:
        while self._guesses:
            guess = min(self._guesses.values(), key=self._rank)
            try:
                matches = await asyncio.to_thread(self._matches, guess.user, guess.password)
            except Exception as exc:
                self._answer(guess.key, exc)
            else:
                self._remember(guess, matches)
                self._answer(guess.key, matches)

    def _answer(self, key: bytes, verdict: bool | Exception) -> None:
        guess = self._guesses.pop(key, None)
        if guess is None:  # refused while it was verified, and not sent again since
            return
        if isinstance(verdict, Exception):
            guess.verdict.set_exception(verdict)
        else:
            guess.verdict.set_result(verdict)

    def _remember(self, guess: _Guess, matches: bool) -> None:
        keys = self._verdicts[matches]
        keys[guess.key] = None
        if len(keys) > _REMEMBERED:
            keys.popitem(last=False)
        if matches:
            del self._wrong[guess.source]
            return
        self._wrong[guess.source] += 1
        if len(self._wrong) > _REMEMBERED:
            for source, _ in self._wrong.most_common()[_REMEMBERED // 2 :]:  # the worst are kept
                del self._wrong[source]

    def _matches(self, user: bytes, password: bytes) -> bool:
        costliest = max(self._users.values(), key=lambda hashed: hashed[4:6])  # by bcrypt's cost, two digits
        matches = bcrypt.checkpw(password[:_BCRYPT_BYTES], self._users.get(user, costliest))
        return matches and user in self._users
