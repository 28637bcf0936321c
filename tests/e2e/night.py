"""A night on call: an adapter with dead letters, a paused integration, a reject and alarms in every state."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.stage import (
    Adapter,
    Coc,
    adapter,
    alert,
    drained,
    fetch,
    post,
    sample,
    sandbox,
    until,
    webhook,
    write_config,
)

DEAD = 100  # dead letters, so that a discard asks for their number
_BATCH, _BETWEEN = 10, 40  # refused, then accepted: with more refused the integration would be to blame, and paused
_MORE = """\
  dba:
    base_url: http://127.0.0.1:{coc}
    allow_http: true
    integration_key: "ffffffffffffffffffffffffffffffff"
"""


@dataclass(frozen=True, slots=True)
class Night:
    service: Adapter
    coc: Coc

    @property
    def url(self) -> str:
        return self.service.admin_url

    async def first(self, path: str) -> dict[str, Any]:
        """The first row of a list of the API."""
        row: dict[str, Any] = json.loads(await fetch(f"{self.url}{path}"))[0]
        return row

    async def pause(self, integration: str) -> None:
        await post(f"{self.url}/api/v1/integrations/{integration}/pause", b"{}")

    async def refuse(self, first: int) -> None:
        """Make a batch of dead letters; then COC accepts others."""
        await self.coc.fail({"status": 400, "code": "COC.30001", "message": "applicationId not found"})
        queues = range(first, first + _BATCH)
        await post(
            f"{self.service.url}/webhook/default",
            webhook(*(alert("QueueFull", labels={"queue": f"q{n}"}) for n in queues)),
        )

        async def dead() -> bool:
            return bool((await self.integrations())["default"]["dead_letters"] == first + _BATCH)

        await until(dead, "the dead letters")
        await self.coc.fail()
        count = self.coc.count
        accepted = (alert("Accepted", labels={"after": f"{first} {n}"}) for n in range(_BETWEEN))
        await post(f"{self.service.url}/webhook/default", webhook(*accepted))
        await until(lambda: self.coc.count == count + _BETWEEN, "the accepted ones")

    async def integrations(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/api/v1/integrations") as answer:
            return {row["integration"]: row for row in await answer.json()}


@asynccontextmanager
async def night(folder: Path) -> AsyncIterator[Night]:
    async with (
        sandbox() as coc,
        adapter(write_config(folder, coc.port, _MORE.format(coc=coc.port))) as service,
    ):
        at_night = Night(service, coc)
        hook = f"{service.url}/webhook/default"
        for name in ("kube-shop-two-rules", "kube-shop-mixed", "unicode", "long-annotations"):
            await post(hook, sample(name))
        await drained(service.url)
        for batch in range(0, DEAD, _BATCH):
            await at_night.refuse(batch)
        await post(f"{service.url}/webhook/dba", webhook(alert("ReplicationStopped", labels={"instance": "db-1"})))

        async def paused() -> bool:
            return (await at_night.integrations())["dba"]["pause"] is not None

        await until(paused, "the pause")
        await post(hook, sample("group200")[:500])
        yield at_night
