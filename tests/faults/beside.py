"""Measures what an honest sender sees during an attack, and how much of it is only the work of moving the bytes.

Rounds of three phases: quiet, the same attack against a server that does nothing, the attack. Other load of the machine
affects all three. Each round gives its ratios, of which the median is taken, so that one bad round decides nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.faults.found import quantile
from tests.flow.attackers import attacker, nothing
from tests.flow.attacks import Statuses
from tests.flow.honest import Good, good_traffic

_SETTLED: Final = 1.5  # seconds after a phase in which connections that are left end


@dataclass(frozen=True, slots=True)
class Beside:
    """p99 in ms and as multiples of the quiet one, medians over the rounds; `fewest`: samples of a kind of phase."""

    quiet: float
    ratio: float
    control: float
    fewest: int
    answered: Statuses
    honest: Statuses

    def __str__(self) -> str:
        idle = f"x{self.control:.1f} when the same bytes go to a server that does nothing"
        return f"x{self.ratio:.1f} of the quiet {self.quiet:.0f} ms ({idle})"


async def beside(port: int, name: str, size: int, *, rounds: int, seconds: float, life: float) -> Beside:
    """`seconds` of a phase; `life` of a connection at the server that does nothing."""
    phases: dict[str, list[tuple[float, float]]] = {"quiet": [], "control": [], "attack": []}
    answered: Statuses = Counter()
    async with attacker(name, size) as hostile, nothing(life) as idle, good_traffic(port, pause=0.004) as good:
        await hostile.attack(idle, 0.1)
        for _ in range(rounds):
            for phase, spans in phases.items():
                await asyncio.sleep(_SETTLED)
                began = time.monotonic()
                if phase == "quiet":
                    await asyncio.sleep(seconds)
                else:
                    statuses = await hostile.attack(idle if phase == "control" else port, seconds)
                    answered += statuses if phase == "attack" else Counter()
                spans.append((began, began + seconds))
    return _judged(good, phases, answered)


def _judged(good: Good, phases: dict[str, list[tuple[float, float]]], answered: Statuses) -> Beside:
    seen = {phase: [good.between(*span) for span in spans] for phase, spans in phases.items()}
    p99 = {phase: [quantile(samples, 0.99) for samples in spans] for phase, spans in seen.items()}
    return Beside(
        quiet=median(p99["quiet"]) * 1000,
        ratio=median(attack / quiet for attack, quiet in zip(p99["attack"], p99["quiet"], strict=True)),
        control=median(control / quiet for control, quiet in zip(p99["control"], p99["quiet"], strict=True)),
        fewest=min(sum(map(len, spans)) for spans in seen.values()),
        answered=answered,
        honest=good.statuses,
    )
