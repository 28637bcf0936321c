"""Rows whose loops stand elsewhere: run with larger counts, and told in the same words."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from tests.faults.found import Found, found, unless
from tests.needs import needs
from tests.stage import REPOSITORY
from tests.store.postgres_faults import Figures, killed_backends, killed_replicas, server_crashes, two_alertmanagers
from tests.store.postgres_server import PostgresServer, postgres_server


def borrowed(*names: str, figure: str = "", **environment: str) -> Callable[[Path], Found]:
    """A row that is these tests; `figure`: what to look for in what they print."""

    def row(folder: Path) -> Found:
        command = [sys.executable, "-m", "pytest", "-q", "-rP", "-p", "no:cacheprovider", f"--basetemp={folder}/t"]
        command += ["-o", "timeout=1200", *names]
        ran = subprocess.run(
            command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, timeout=1800
        )
        counts = re.findall(r"(\d+) (passed|failed|skipped|error)", ran.stdout.splitlines()[-1] if ran.stdout else "")
        figures: dict[str, object] = {f"tests {word}": number for number, word in counts} | dict(environment)
        line = re.search(figure, ran.stdout) if figure else None
        figures |= {line[1]: line[2]} if line else {}
        failed = re.findall(r"^FAILED (.*)$", ran.stdout, re.MULTILINE)
        return found(figures, failed, unless(ran.returncode == 0 or bool(failed), f"exit code {ran.returncode}"))

    return row


PostgresRun = Callable[[PostgresServer, Path], Coroutine[Any, Any, Figures]]


def postgres(run: PostgresRun, *, duplicates: Callable[[Figures], int] = lambda figures: 0) -> Callable[[Path], Found]:
    """A row on a PostgreSQL of its own; skips where there is none."""

    def row(folder: Path) -> Found:
        needs("initdb")
        with postgres_server() as server:
            seen = asyncio.run(run(server, folder))
        figures: Mapping[str, object] = {
            "steps": seen.transitions,
            "lost": seen.lost,
            "reordered": seen.reordered,
            "duplicates": seen.duplicates,
            "accepts refused": seen.unavailable,
            "s": round(seen.seconds),
        }
        allowed = duplicates(seen)
        return found(
            figures,
            unless(seen.harm == (0, 0, 0, ()), f"lost, reordered, wrong in the end, sums: {seen.harm}"),
            unless(seen.duplicates <= allowed, f"{seen.duplicates} duplicates, {allowed} may be"),
        )

    return row


def replicas_killed(kills: int, every: float) -> Callable[[Path], Found]:
    """Row 24."""
    return postgres(
        lambda server, folder: killed_replicas(
            server, folder, count=3, kills=kills, every=every, alerts=400, transitions=max(4, kills)
        ),
        duplicates=lambda seen: kills * 50,
    )


def server_stopped(crashes: int) -> Callable[[Path], Found]:
    """Row 25."""
    return postgres(
        lambda server, _: server_crashes(server, crashes=crashes, every=2.0, alerts=300, transitions=2 * crashes),
        duplicates=lambda seen: crashes * 200,
    )


def backends_killed(kills: int) -> Callable[[Path], Found]:
    """Row 27."""
    return postgres(
        lambda server, _: killed_backends(server, kills=kills, every=0.2, alerts=300, transitions=max(4, kills // 4)),
        duplicates=lambda seen: kills * 200,
    )


def pair_on_postgres(transitions: int) -> Callable[[Path], Found]:
    """Row 22 on two replicas."""
    return postgres(lambda server, _: two_alertmanagers(server, count=2, alerts=300, transitions=transitions))
