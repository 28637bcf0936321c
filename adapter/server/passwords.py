"""Basic auth against bcrypt hashes: off the event loop, remembered, and telling nobody which user names exist.

- One verification at a time, in one thread: a flood of guesses takes one core at most, and once `_WAITING` guesses
  wait, further ones are turned away before they cost anything.
- A verdict is remembered under a keyed hash of what was sent, so a good client pays bcrypt once per password change.
- A failure costs the same whatever was wrong with it: an unknown user is tried against a hash of the highest cost
  among the users, and a wrong password of a cheaper user is followed by as much work as is missing.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import bcrypt

from adapter.errors import AdapterError

_BYTES: Final = 72  # bcrypt looks no further; Go's, which made these files popular, ignores the rest in silence
_REMEMBERED: Final = 1024  # verdicts of each kind
_WAITING: Final = 64


class Busy(AdapterError):
    """Too many passwords wait to be verified."""


class Passwords:
    """The users of one web config file. `users`: name -> bcrypt hash, both as bytes."""

    def __init__(self, users: Mapping[bytes, bytes], executor: ThreadPoolExecutor) -> None:
        self._users = users
        self._executor = executor
        self._highest = max((_cost(hashed) for hashed in users.values()), default=4)
        self._pepper = secrets.token_bytes(32)
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._bad: OrderedDict[bytes, None] = OrderedDict()
        self._running: dict[bytes, asyncio.Future[bool]] = {}

    def __bool__(self) -> bool:
        return bool(self._users)

    async def verify(self, user: bytes, password: bytes) -> bool:
        """True when the user may come in; Busy when that cannot be found out now."""
        key = self._key(user, password)
        for verdict, known in ((True, self._good), (False, self._bad)):
            if key in known:
                known.move_to_end(key)
                return verdict
        running = self._running.get(key)
        if running is None:
            if len(self._running) >= _WAITING:
                raise Busy
            loop = asyncio.get_running_loop()
            work = functools.partial(check, self._users.get(user), password[:_BYTES], self._highest)
            running = self._running[key] = loop.run_in_executor(self._executor, work)
            running.add_done_callback(functools.partial(self._remember, key))
        return await asyncio.shield(running)  # whoever gives up must not take the verdict from the others

    def _remember(self, key: bytes, done: asyncio.Future[bool]) -> None:
        del self._running[key]
        if done.cancelled() or done.exception():
            return
        known = self._good if done.result() else self._bad
        known[key] = None
        if len(known) > _REMEMBERED:
            known.popitem(last=False)

    def _key(self, user: bytes, password: bytes) -> bytes:
        digest = hashlib.blake2b(key=self._pepper)
        for part in (user, password):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()


def check(
    hashed: bytes | None, password: bytes, highest: int, verify: Callable[[bytes, bytes], bool] = bcrypt.checkpw
) -> bool:
    """True when `password` is that of `hashed`. A False has cost 2**highest rounds, whatever `hashed` costs.

    `hashed` is None for an unknown user. The rounds of costs c, c, c+1 .. highest-1 add up to those of `highest`.
    """
    if hashed is None:
        verify(password, _decoy(highest))
        return False
    if verify(password, hashed):
        return True
    for cost in range(_cost(hashed), highest):
        verify(password, _decoy(cost))
    return False


@functools.cache
def _decoy(cost: int) -> bytes:
    """A well-formed hash that no password is known for: the salt and digest are chance."""
    alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    salt, digest = ("".join(secrets.choice(alphabet) for _ in range(length)) for length in (21, 30))
    return f"$2b${cost:02}${salt}O{digest}u".encode()


def _cost(hashed: bytes) -> int:
    return int(hashed[4:6])
