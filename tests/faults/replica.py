"""A replica's delivery for fault runs: claims, sends by writing a line, settles; in a task or in a process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

from adapter.alertmanager import unpack
from adapter.clock import SystemClock
from adapter.errors import StoreUnavailable
from adapter.store.contract import Claim, Settled, Settlement, Store
from adapter.store.postgres.store import open_postgres
from tests.builders import delivered

Send = Callable[[str], None]


async def deliver(store: Store, send: Send, *, batch: int = 16, pause: float = 0.02) -> None:
    """Deliver until cancelled."""
    clock = SystemClock()
    while True:
        try:
            claims = (await store.claim("default", batch)).claims
        except StoreUnavailable:
            claims = ()
        settlements = []
        for claim in claims:
            in_time = claim.send_before is None or clock.monotonic() < claim.send_before
            if in_time:
                send(line_of(claim))
            settlements.append(delivered(claim) if in_time else Settlement(claim=claim, at=clock.now()))
        if settlements:
            await settle(store, settlements)
        else:
            await asyncio.sleep(pause)


async def settle(store: Store, settlements: list[Settlement]) -> list[Settled]:
    """Settle until the store accepts it, as delivery does."""
    while True:
        try:
            return await store.settle(settlements)
        except StoreUnavailable:
            await asyncio.sleep(0.05)


def status_of(claim: Claim) -> str:
    status: str = unpack(claim.report.raw)[0]["status"]
    return status


def line_of(claim: Claim) -> str:
    return f"{claim.report.fingerprint} {claim.report.seq} {status_of(claim)}"


async def _main(dsn: str, path: str, lease: float) -> None:
    store = await open_postgres(dsn, backlog=10**6, clock=SystemClock(), lease=lease)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    await deliver(store, lambda line: _write(descriptor, line))


def _write(descriptor: int, line: str) -> None:
    os.write(descriptor, f"{line}\n".encode())


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
