"""Row 37: attacks of one kind after the other, each while an honest sender posts webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.faults.chaos import alive
from tests.faults.comparison import Comparison, compare
from tests.faults.oracle import Ledger
from tests.faults.result import CaseResult, case_result, unless
from tests.flow.attacks import ALLOWED, peak_memory
from tests.stage import adapter, sandbox, write_config

MIB = 2**20
_TIMEOUT: Final = 3  # seconds for headers and body, so that a phase sees the slow ones come again
_LIFE: Final = 0.3  # seconds of a connection at the server that does nothing, which cannot tell the end of a request
_RATIO: Final = 3.0
_FEWEST: Final = 500  # samples below which a p99 says nothing


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


def _violations(seen: Comparison) -> list[str]:
    lines = (
        unless(set(seen.answered) <= ALLOWED, f"answered {dict(seen.answered)}"),
        unless(set(seen.honest) == {200}, f"the honest sender was answered {dict(seen.honest)}"),
        unless(seen.ratio <= _RATIO or seen.fewest < _FEWEST, f"the honest sender's p99 is {seen}"),
        unless(seen.fewest >= _FEWEST, f"only {seen.fewest} samples"),
    )
    return [line for line in lines if line]
