"""Who takes much memory asks for it, counting those that have asked and not taken it yet."""

from __future__ import annotations

import pytest

from adapter.memory import Room

MIB = 1 << 20


def test_without_a_limit_everything_is_there() -> None:
    Room(lambda: None, lambda: 10**12).check(10**12)


def test_some_of_the_limit_is_left_for_everything_else() -> None:
    room = Room(lambda: 200 * MIB, lambda: 100 * MIB)
    room.check(70 * MIB)
    room.check(1)
    with pytest.raises(MemoryError, match=r"may take 80 MiB, and 100 of the 200 MiB are taken"):
        room.check(80 * MIB)


def test_what_is_reserved_is_taken_until_the_block_ends() -> None:
    room = Room(lambda: 200 * MIB, lambda: 100 * MIB)
    with room.reserve(40 * MIB), pytest.raises(MemoryError), room.reserve(40 * MIB):
        raise AssertionError("there is no room for both")
    with room.reserve(70 * MIB):
        pass
