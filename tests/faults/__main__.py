"""`make faults`: run the catalogue in full counts, print one line per case, exit 1 on any violation.

`ONLY=7` runs one row, `ONLY=1,9` some; `SHORT=1` takes the counts of the tests; `WRITE=1` writes the table into
docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

import pytest

from tests.faults.catalogue import CATALOGUE, Case
from tests.faults.result import CaseResult
from tests.faults.table import write_table


def run_case(case: Case, *, short: bool = False) -> CaseResult | None:
    """Run the case; None when this machine lacks what it needs. An exception of the case is a violation."""
    run = case.short if short else case.full
    if run is None:
        return None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            return finished(run(Path(folder)))
        except pytest.skip.Exception as exc:
            print(f"{case.row:>3}  {case.name}: skipped, {exc.msg}", flush=True)
            return None
        except (Exception, pytest.fail.Exception) as exc:
            return CaseResult("", (f"{type(exc).__name__}: {exc}"[:600],))


def finished(result: CaseResult | Awaitable[CaseResult]) -> CaseResult:
    """Run an asynchronous case in an event loop of its own."""

    async def awaited(waiting: Awaitable[CaseResult]) -> CaseResult:
        return await waiting

    return result if isinstance(result, CaseResult) else asyncio.run(awaited(result))


def main() -> int:
    logging.disable(logging.CRITICAL)
    os.environ.setdefault("FAULTS_LIVENESS", "5")
    chosen = {int(part) for part in os.environ.get("ONLY", "").replace(",", " ").split()}
    violated = False
    for case in CATALOGUE:
        if chosen and case.row not in chosen:
            continue
        began = time.monotonic()
        result = run_case(case, short=bool(os.environ.get("SHORT")))
        if result is None:
            continue
        seconds = time.monotonic() - began
        word = "VIOLATED" if result.violations else "holds"
        print(f"{case.row:>3}  {case.name}: {word}; {result.figure} ({seconds:.0f} s)", flush=True)
        for line in result.violations:
            print(f"     {line}", flush=True)
        violated = violated or bool(result.violations)
        if os.environ.get("WRITE"):
            write_table([(case.row, case.name, result)])
    return int(violated)


if __name__ == "__main__":
    sys.exit(main())
