"""Verifies basic auth against bcrypt hashes, in a thread beside the event loop.

- One verification runs at a time, so that a flood of guesses takes one core at most. Once `_WAITING` guesses wait,
  further ones are refused before they cost anything.
- A verdict is remembered under a keyed hash of what was sent, so that a client pays bcrypt once per password change.
- An unknown user costs one bcrypt too, so that the time of an answer does not tell which user names exist.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import bcrypt

from adapter.errors import AdapterError

_BCRYPT_BYTES: Final = 72  # bcrypt uses no more; Go's, for which these files are written, ignores the rest too
_REMEMBERED: Final = 1024  # verdicts of each kind
_WAITING: Final = 64


class Busy(AdapterError):
    """Too many passwords wait to be verified."""


class Passwords:
    """The users of one web config file. `users`: name -> bcrypt hash, both as bytes."""

    def __init__(self, users: Mapping[bytes, bytes]) -> None:
        self._users = users
        self._pepper = secrets.token_bytes(32)
        self._verdicts: dict[bool, OrderedDict[bytes, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._running: dict[bytes, asyncio.Task[bool]] = {}
        self._one_at_a_time = asyncio.Lock()

    def __bool__(self) -> bool:
        return bool(self._users)

    async def verify(self, user: bytes, password: bytes) -> bool:
        """True for the right password of a user; Busy when it cannot be verified now."""
        key = hashlib.blake2b(repr((user, password)).encode(), key=self._pepper).digest()
        for verdict, keys in self._verdicts.items():
            if key in keys:
                keys.move_to_end(key)
                return verdict
        running = self._running.get(key)
        if running is None:
            if len(self._running) >= _WAITING:
                raise Busy
            running = self._running[key] = asyncio.create_task(self._verify(key, user, password))
        return await asyncio.shield(running)  # one that is cancelled must not cancel it for the others

    async def _verify(self, key: bytes, user: bytes, password: bytes) -> bool:
        try:
            async with self._one_at_a_time:
                matches = await asyncio.to_thread(self._matches, user, password)
        finally:
            del self._running[key]
        keys = self._verdicts[matches]
        keys[key] = None
        if len(keys) > _REMEMBERED:
            keys.popitem(last=False)
        return matches

    def _matches(self, user: bytes, password: bytes) -> bool:
        dearest = max(self._users.values(), key=lambda hashed: hashed[4:6])  # by bcrypt's cost, two digits
        matches = bcrypt.checkpw(password[:_BCRYPT_BYTES], self._users.get(user, dearest))
        return matches and user in self._users
