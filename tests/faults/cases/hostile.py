"""Rows 37 and 43: attacks of one kind after the other, then all at once, while others send or ask."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import aiohttp
import bcrypt

from tests.faults.chaos import alive, nth_state
from tests.faults.comparison import Comparison, compare
from tests.faults.oracle import Ledger, arrivals, examine
from tests.faults.result import CaseResult, case_result, quantile, unless
from tests.flow.attackers import ON_ADMIN_LISTENER, attacker
from tests.flow.attacks import ALLOWED, PASSWORD, USER, Statuses, peak_memory
from tests.flow.bare import bare_server
from tests.flow.honest import honest_traffic
from tests.stage import Adapter, adapter, drained, post, sandbox, webhook, write_config

MIB = 2**20
HOSTILE_MAPPINGS: Final[Mapping[str, Callable[[int], str]]] = {
    "rules": lambda count: _rules(
        *({"name": f"r{n}", "when": f"labels.a == '{n}'", "drop": True} for n in range(count))
    ),
    "rules with a misspelt key": lambda count: _rules(*({"name": f"r{n}", "whn": "{{"} for n in range(count))),
    "filters in a row": lambda count: _rules({"name": "r", "when": "labels.a" + " | upper" * count, "drop": True}),
    "digits of a number": lambda count: _rules({"name": "r", "when": f"labels.a == {'9' * count}", "drop": True}),
    "entries of a lookup table": lambda count: json.dumps(
        {"lookup": {"t": {f"key{n}": f"value{n}" for n in range(count)}}, "rules": [{"name": "r", "drop": True}]}
    ),
}
_TIMEOUT: Final = 3  # seconds for headers and body, so that a phase sees the slow ones come again
_LIFE: Final = 0.3  # seconds of a connection at the server that does nothing, which cannot tell the end of a request
_RATIO: Final = 3.0
_CHART_LIMIT: Final = 512  # MiB
_UNFELT: Final = 0.05  # seconds; below that a ratio says nothing about a sender
_FEWEST: Final = 500  # samples below which a p99 says nothing


def _rules(*rules: Mapping[str, object]) -> str:
    return json.dumps({"rules": rules})


async def attacks(folder: Path, *, sizes: Mapping[str, int], rounds: int, seconds: float) -> CaseResult:
    """Run each attack of `sizes` (size by name) against an adapter of its own."""
    figures: dict[str, object] = {}
    broken: list[str] = []
    for name, size in sizes.items():
        place = folder / name.replace(" ", "-")  # a store of its own: the fresh alert is no repeat
        place.mkdir()
        more = f"webhook: {{header_timeout: {_TIMEOUT}s, body_timeout: {_TIMEOUT}s}}\n"
        async with sandbox() as coc, adapter(write_config(place, coc.port, more)) as service:
            before = peak_memory(service.process.pid)
            life = _TIMEOUT if name == "slow sockets" else _LIFE
            seen = await compare(service.port, name, size, rounds=rounds, seconds=seconds, life=life)
            grown = (peak_memory(service.process.pid) - before) / MIB
            liveness = await alive(service.url, coc, Ledger(), seconds=10.0)
            broken += [f"{name}: {line}" for line in (*_violations(seen), liveness) if line]
            broken += [f"{name}: grown by {grown:.0f} MiB"] if grown >= 160 else []
            broken += [f"{name}: a bug in the log"] if "bug in the adapter" in service.log_text else []
        figures[name] = f"p99 {seen}, {grown:.0f} MiB grown: {size}"
    return case_result(figures, broken)


async def all_at_once(folder: Path, *, sizes: Mapping[str, int], seconds: float, ratio: float) -> CaseResult:
    """Every attack of `sizes` at the same time, beside an honest sender and one whose reports are counted.

    Both send for a quarter of `seconds` before the attacks too. Attackers know a password, but for those that guess
    one. Beside the honest sender another asks a server that does next to nothing: what that waits is the machine's.
    """
    more = f"webhook: {{header_timeout: {_TIMEOUT}s, body_timeout: {_TIMEOUT}s}}\n"
    ledger, broken = Ledger(), []
    web = folder / "web.yml"
    web.write_text(f"basic_auth_users: {{{USER}: '{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()}'}}\n")
    async with sandbox() as coc, AsyncExitStack() as stack:
        config = write_config(folder, coc.port, more)
        service = await stack.enter_async_context(adapter(config, f"--web.config.file={web}"))
        url = service.url.replace("//", f"//{USER}:{PASSWORD}@")
        attackers = [(name, await stack.enter_async_context(attacker(name, size))) for name, size in sizes.items()]
        bare = await stack.enter_async_context(bare_server())
        async with honest_traffic(service.port, pause=0.02) as honest, honest_traffic(bare, pause=0.02) as other:
            began = time.monotonic()
            reports = asyncio.create_task(_report(url, ledger, 1.25 * seconds))
            await asyncio.sleep(seconds / 4)
            middle = time.monotonic()
            answered = await _sum(one.attack(_port(service, name), seconds) for name, one in attackers)
            ended = time.monotonic()
            await reports
        await drained(url, seconds=120)
        counted = [body for body in coc.bodies if body["alarmName"].startswith("Counted")]
        broken += examine(ledger, arrivals(counted)).violations()
        broken += ["a bug in the log"] if "bug in the adapter" in service.log_text else []
        memory = peak_memory(service.process.pid) / MIB
    quiet, loud = (quantile(honest.between(*span), 0.99) for span in ((began, middle), (middle, ended)))
    figures = {
        "attacks": len(sizes),
        "s": round(seconds),
        "steps acknowledged": ledger.steps,
        "ms p99 quiet": round(quiet * 1000),
        "ms p99 meanwhile": round(loud * 1000),
        "ms p99 meanwhile of a server that only answers": round(quantile(other.between(middle, ended), 0.99) * 1000),
        "MiB of memory at most": round(memory),
    }
    return case_result(
        figures,
        broken,
        unless(set(answered) <= ALLOWED, f"answered {dict(answered)}"),
        unless(set(honest.statuses) == {200}, f"the honest sender was answered {dict(honest.statuses)}"),
        unless(
            loud <= ratio * quiet or loud < _UNFELT, f"the honest sender's p99 is {loud:.3f} s, quiet {quiet:.3f} s"
        ),
        unless(memory < _CHART_LIMIT, f"{memory:.0f} MiB"),
    )


async def waits(folder: Path, *, sizes: Mapping[str, int], seconds: float, most: float) -> CaseResult:
    """How long a health check waits at most while each attack, and a reload of each hostile mapping, runs alone."""
    longest: dict[str, float] = {}
    (folder / "mappings").mkdir()
    mapping = folder / "mappings" / "a.yaml"
    mapping.write_text(HOSTILE_MAPPINGS["rules"](1))
    async with sandbox() as coc, adapter(write_config(folder, coc.port, "mappings: mappings\n")) as service:
        for name, size in sizes.items():
            async with honest_traffic(service.port, pause=0.004, path="/-/healthy") as checks:
                if make := HOSTILE_MAPPINGS.get(name):
                    mapping.write_text(make(size))
                    await post(f"{service.admin_url}/-/reload", b"")
                else:
                    async with attacker(name, size) as one:
                        await one.attack(_port(service, name), seconds)
                await drained(service.url, seconds=120)
            longest[name] = max(checks.seconds) * 1000
        broken = ["a bug in the log"] if "bug in the adapter" in service.log_text else []
    worst = max(longest, key=longest.__getitem__)
    return case_result(
        {"attacks": len(longest), f"ms of waiting at most ({sizes[worst]} {worst})": round(longest[worst])},
        broken,
        unless(longest[worst] < most, f"waits in ms: { {name: round(wait) for name, wait in longest.items()} }"),
    )


def _port(service: Adapter, attack: str) -> int:
    return service.admin if attack in ON_ADMIN_LISTENER else service.port


async def _sum(attacks: Iterable[Awaitable[Statuses]]) -> Statuses:
    return sum(await asyncio.gather(*attacks), Counter())


async def _report(url: str, ledger: Ledger, seconds: float) -> None:
    """Post a new alert ten times a second, again until it is acknowledged, as Alertmanager does."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1
        alerts = [nth_state(f"Counted{number}", 1)]
        ledger.sent(alerts)
        status = 0
        while status != 200:
            with suppress(aiohttp.ClientError, OSError):
                status, _ = await post(f"{url}/webhook", webhook(*alerts))
            await asyncio.sleep(0.1)
        ledger.acknowledged(alerts)


def _violations(seen: Comparison) -> list[str]:
    lines = (
        unless(set(seen.answered) <= ALLOWED, f"answered {dict(seen.answered)}"),
        unless(set(seen.honest) == {200}, f"the honest sender was answered {dict(seen.honest)}"),
        unless(seen.ratio <= _RATIO or seen.fewest < _FEWEST, f"the honest sender's p99 is {seen}"),
        unless(seen.fewest >= _FEWEST, f"only {seen.fewest} samples"),
    )
    return [line for line in lines if line]
