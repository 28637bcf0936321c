"""Row 2 on PostgreSQL: each message of each kind of transaction fails once, in each way of `Break`."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from adapter.alarm import Outcome, Pause
from adapter.clock import SystemClock
from adapter.errors import StoreUnavailable
from adapter.store.contract import Claim
from adapter.store.postgres.store import PostgresStore, open_postgres
from tests.builders import NOON, delivered, firing, resolved, settled_as
from tests.faults.proxy import Break, BreakingProxy, breaking_proxy
from tests.faults.result import CaseResult, case_result, unless
from tests.needs import needs
from tests.postgres import postgres_server, wrong_queues

NEVER: Final = 1_000_000  # messages
PAUSE: Final = Pause(reason="operator", since=NOON, by="test")


@dataclass(frozen=True, slots=True)
class Operation:
    """Prepares the integration `name`, operates on it, checks the result."""

    prepare: Callable[[PostgresStore, str], Awaitable[Any]]
    operate: Callable[[PostgresStore, str, Any], Awaitable[Any]]
    check: Callable[[PostgresStore, str], Awaitable[bool]]


async def messages_lost(folder: Path, *, operations: Mapping[str, Sequence[Break]]) -> CaseResult:
    """Row 2: break each message of each of these operations in each of their ways."""
    needs("initdb")
    points, wrong = 0, list[str]()
    with postgres_server("-c fsync=off") as server:
        dsn = await server.new_database()
        async with breaking_proxy(server) as proxy:
            store = await open_postgres(proxy.dsn(dsn), backlog=1000, clock=SystemClock(), replica="wired")
            direct = await open_postgres(dsn, backlog=1000, clock=SystemClock(), replica="direct")
            try:
                for name, ways in operations.items():
                    for way in ways:
                        broken, ended_wrong = await _break_each(
                            OPERATIONS[name], f"{name}, {way}", way, proxy, store, direct
                        )
                        points += broken
                        wrong += [*ended_wrong, unless(broken >= 4, f"{name}: only {broken} messages")]
            finally:
                proxy.break_at(NEVER, "before")
                await store.close()
                await direct.close()
        alarms = await wrong_queues(server, dsn)
    return case_result({"messages": points}, wrong, unless(not alarms, f"{alarms} alarms count wrongly"))


async def _break_each(
    operation: Operation, label: str, way: Break, proxy: BreakingProxy, store: PostgresStore, direct: PostgresStore
) -> tuple[int, list[str]]:
    """How many messages the operation has, and the names of the runs that ended wrong."""
    wrong = []
    for message in itertools.count(1):
        name = f"{label} {message}"
        before = await operation.prepare(store, name)
        proxy.break_at(message, way)
        await _until_done(operation, store, name, before)
        if not proxy.broke:
            break
        if not await operation.check(direct, name):
            wrong.append(name)
    proxy.break_at(NEVER, way)
    return message - 1, wrong


async def _until_done(operation: Operation, store: PostgresStore, name: str, before: Any) -> None:
    for _ in range(5):
        try:
            await operation.operate(store, name, before)
        except StoreUnavailable:
            continue
        return
    raise AssertionError(f"refused five times after one failure: {name}")


async def _fired(store: PostgresStore, name: str) -> None:
    await store.accept(firing("a1", "a2", integration=name))


async def _claimed(store: PostgresStore, name: str) -> tuple[Claim, ...]:
    await _fired(store, name)
    return (await store.claim(name, 10)).claims


async def _updated(store: PostgresStore, name: str) -> None:
    await store.settle([delivered(claim) for claim in await _claimed(store, name)])
    await store.accept(firing("a1", "a2", integration=name, text="1"))


async def _dead(store: PostgresStore, name: str) -> list[int]:
    claims = await _claimed(store, name)
    await store.settle([settled_as(claim, Outcome.DEAD) for claim in claims])
    return [claim.report.seq for claim in claims]


async def _nothing(store: PostgresStore, name: str) -> None:
    return None


def _pending(count: int, firing: int) -> Callable[[PostgresStore, str], Awaitable[bool]]:
    async def check(store: PostgresStore, name: str) -> bool:
        counts = (await store.counts())[name]
        return (counts.pending, counts.open_alarms) == (count, firing)

    return check


async def _settled_once(store: PostgresStore, name: str) -> bool:
    outcomes = [row.outcome for alarm in ("a1", "a2") for row in await store.trail(name, alarm)]
    return outcomes == [Outcome.DELIVERED] * 2 and await _pending(0, 2)(store, name)


async def _settle(store: PostgresStore, name: str, claims: tuple[Claim, ...]) -> None:
    settled = await store.settle([delivered(claim) for claim in claims])
    assert [one.counted for one in settled] == [True, True], f"an outcome would not be counted: {name}"


async def _paused(store: PostgresStore, name: str) -> bool:
    return (await store.pauses())[name] == PAUSE


async def _one_lease(store: PostgresStore, name: str) -> bool:
    """The reports are leased, by the claim whose answer was lost or by the second one; no other claim gets them."""
    return (await store.claim(name, 10)).claims == () and await _pending(2, 2)(store, name)


OPERATIONS = {
    "accept": Operation(_nothing, lambda store, name, _: _fired(store, name), _pending(2, 2)),
    "resolve": Operation(
        _fired, lambda store, name, _: store.accept(resolved("a1", "a2", integration=name)), _pending(4, 0)
    ),
    "supersede": Operation(
        _updated,
        lambda store, name, _: store.accept(firing("a1", "a2", integration=name, text="2")),
        _pending(2, 2),
    ),
    "claim": Operation(_fired, lambda store, name, _: store.claim(name, 10), _one_lease),
    "settle": Operation(_claimed, _settle, _settled_once),
    "replay": Operation(_dead, lambda store, name, seqs: store.replay(seqs, as_sent=False), _pending(2, 2)),
    "pause": Operation(_nothing, lambda store, name, _: store.set_pause(name, PAUSE), _paused),
}
EVERY_WAY: Final[Mapping[str, Sequence[Break]]] = dict.fromkeys(OPERATIONS, get_args(Break))
