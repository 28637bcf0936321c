"""Compare what an honest sender measures during an attack with what it measures without one.

Each round has three phases: quiet, the same attack against a server that does nothing, the attack. The second phase
shows how much of a delay comes from sending the bytes alone. Other load on the machine slows all three phases alike.
The reported ratios are medians over the rounds, so that a single slow round does not matter.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.faults.result import quantile
from tests.flow.attackers import attacker, nothing
from tests.flow.attacks import Statuses
from tests.flow.honest import HonestTraffic, honest_traffic

_SETTLED: Final = 1.5  # seconds after a phase in which the remaining connections end


@dataclass(frozen=True, slots=True)
class Comparison:
    """p99 in ms and as multiples of the quiet one, medians over the rounds; `fewest`: samples in the smallest phase."""

    quiet: float
    ratio: float
    control: float
    fewest: int
    answered: Statuses
    honest: Statuses

    def __str__(self) -> str:
        idle = f"x{self.control:.1f} when the same bytes go to a server that does nothing"
        return f"x{self.ratio:.1f} of the quiet {self.quiet:.0f} ms ({idle})"


async def compare(port: int, name: str, size: int, *, rounds: int, seconds: float, life: float) -> Comparison:
    """Phases take `seconds`; the server that does nothing closes a connection after `life` seconds."""
    phases: dict[str, list[tuple[float, float]]] = {"quiet": [], "control": [], "attack": []}
    answered: Statuses = Counter()
    async with attacker(name, size) as hostile, nothing(life) as idle, honest_traffic(port, pause=0.004) as honest:
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
    return _comparison(honest, phases, answered)


def _comparison(honest: HonestTraffic, phases: dict[str, list[tuple[float, float]]], answered: Statuses) -> Comparison:
    samples = {phase: [honest.between(*span) for span in spans] for phase, spans in phases.items()}
    p99 = {phase: [quantile(times, 0.99) for times in spans] for phase, spans in samples.items()}
    return Comparison(
        quiet=median(p99["quiet"]) * 1000,
        ratio=median(attack / quiet for attack, quiet in zip(p99["attack"], p99["quiet"], strict=True)),
        control=median(control / quiet for control, quiet in zip(p99["control"], p99["quiet"], strict=True)),
        fewest=min(sum(map(len, spans)) for spans in samples.values()),
        answered=answered,
        honest=honest.statuses,
    )
