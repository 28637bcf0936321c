"""The end of the demo: what is not delivered. Dead letters, a paused integration, a reject."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final, TextIO

import aiohttp

from adapter.store.contract import Store

INTEGRATION: Final = "dba"
SAMPLE: Final = "maxalerts10-of-25"  # what COC refuses
WAITING: Final = ("kube-kubelet-info", "bare-no-annotations", "no-alertname")  # for the paused integration
PATIENCE: Final = 30.0  # seconds for each step

CONFIG: Final = """\
  dba:
    base_url: http://127.0.0.1:{port}
    allow_http: true
    integration_key: "ffffffffffffffffffffffffffffffff"
    auth: none
"""
_FAULT: Final = [
    {"status": 400, "code": "COC.30001", "message": "the application does not take alarms from this source"}
]


async def refuse(port: int, coc: int, store: Store, out: TextIO) -> None:
    """Post to the adapter's `port` what the sandbox at the port `coc` refuses, and what cannot be used."""
    print("\nCOC refuses too, and not all that comes can be used (the adapter logs it):\n", file=out)
    faults = f"http://127.0.0.1:{coc}/faults"
    async with aiohttp.ClientSession(raise_for_status=True) as session:

        async def post(path: str, body: bytes) -> None:
            async with session.post(f"http://127.0.0.1:{port}{path}", data=body, raise_for_status=False):
                pass

        body = _sample(SAMPLE)
        refused = len(json.loads(body)["alerts"])
        await session.put(faults, json=_FAULT)
        await post("/webhook", body)
        await _until(lambda: _dead(store, refused))
        await session.delete(faults)
        print(f"  {refused} alarms are refused for good (400 COC.30001): dead letters", file=out)
        for name in WAITING:
            await post(f"/webhook/{INTEGRATION}", _sample(name))
        await _until(lambda: _paused(store))
        print(f"  the key of {INTEGRATION} is wrong (401): the integration is paused, its reports wait", file=out)
        await post("/webhook", body[: len(body) // 2])
        print("  a body breaks off in the middle: its beginning is kept as a reject", file=out, flush=True)


def _sample(name: str) -> bytes:
    return files("adapter").joinpath("samples", f"{name}.json").read_bytes()


async def _dead(store: Store, number: int) -> bool:
    return sum(counts.dead for counts in (await store.counts()).values()) >= number


async def _paused(store: Store) -> bool:
    return INTEGRATION in await store.pauses()


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(int(PATIENCE / 0.1)):
        if await true():
            return
        await asyncio.sleep(0.1)
