"""What an integration left in the store when it was taken out of adapter.yml: discarded or moved, in steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from adapter.admin.openapi import Problem
from adapter.alarm import Report
from adapter.clock import Micros
from adapter.store.moving import STEP, orphans
from adapter.store.views import OperatorStore, Removed

UNKNOWN = "no such integration; adapter.yml names those there are"
Count = Callable[[str, str | None, Removed], None]
"""Called with the integration, the one that takes over, if any, and what a step did, right after its commit."""


async def discard(
    store: OperatorStore, name: str, served: Mapping[str, object], now: Micros, count: Count
) -> dict[str, Any]:
    await _check(store, name, served)

    async def step(ids: Sequence[int]) -> Removed:
        return await store.discard_alarms(name, ids, now)

    return _answer(name, None, await _in_steps(await store.held(name), step, lambda done: count(name, None, done)))


async def move(
    store: OperatorStore, name: str, to: str, served: Mapping[str, object], now: Micros, count: Count
) -> dict[str, Any]:
    await _check(store, name, served)
    if to not in served:
        raise Problem(404, UNKNOWN)

    async def step(ids: Sequence[int]) -> Removed:
        return await store.move_alarms(name, ids, to, now)

    return _answer(name, to, await _in_steps(await store.held(name), step, lambda done: count(name, to, done)))


def refuse_replay(letters: Sequence[Report], served: Mapping[str, object]) -> None:
    """Nothing would ever send what a replay owes to an integration that is not in adapter.yml."""
    left = sorted((one.seq, one.integration) for one in letters if one.integration not in served)
    if left:
        ids, names = ", ".join(str(seq) for seq, _ in left), sorted({name for _, name in left})
        raise Problem(
            409,
            f"nothing was replayed, as nothing is sent of what is not in adapter.yml ({', '.join(names)}): dead letters"
            f" {ids}; first give them to another one, `integrations move {names[0]} NEW`",
        )


async def _check(store: OperatorStore, name: str, served: Mapping[str, object]) -> None:
    if name in served:
        raise Problem(
            409, "this integration is in adapter.yml; only what one left that is no longer there can be taken"
        )
    if name not in orphans(await store.counts(), served):
        raise Problem(404, "the store holds nothing of such an integration")


async def _in_steps(
    ids: Sequence[int], step: Callable[[Sequence[int]], Awaitable[Removed]], count: Callable[[Removed], None]
) -> Removed:
    removed = Removed()
    for first in range(0, len(ids), STEP):
        done = await step(ids[first : first + STEP])
        count(done)
        removed = removed.plus(done)
    return removed


def _answer(name: str, to: str | None, removed: Removed) -> dict[str, Any]:
    return {
        "id": name,
        "integration": name,
        "to": to,
        "alarms": removed.alarms,
        "reports": removed.reports,
        "superseded": removed.reports + removed.owed - removed.taken_reports if to else 0,
        "owed": removed.owed,
        "dead_letters": removed.dead_letters,
    }
