"""`make bench`: run every case, or those of ONLY; print the table, write JSON into a file.

python -m bench [--only B1,B3] [--repeats 3] [--smoke] [--json FILE] [--write]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench import procfs, report
from bench.cases import CASES
from bench.figures import Row
from bench.process import ROOT, cores
from bench.setting import Bench

PAGE = ROOT / "docs" / "performance.md"


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measure the adapter and compare it with its goals.")
    parser.add_argument("--only", default="", metavar="B1,B3", help="these cases and no others")
    parser.add_argument("--repeats", type=int, default=3, help="how often to measure; at least 1, default 3")
    parser.add_argument("--smoke", action="store_true", help="with little load, only to see that the cases work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args(words)
    chosen = [name.strip().upper() for name in options.only.split(",") if name.strip()]
    if unknown := [name for name in chosen if name not in CASES]:
        parser.error(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    if options.write and (options.smoke or options.repeats < 3):
        parser.error("--write needs at least 3 repeats, and no --smoke")
    options.cases = chosen or list(CASES)
    return options


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def own_cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


async def run(names: list[str], repeats: int, smoke: bool, folder: Path) -> tuple[list[Row], dict[str, float]]:
    """Run the cases; return their rows, and how many cores other processes used during each case."""
    subject, tools = cores()
    if tools is not None:
        os.sched_setaffinity(0, {tools})
    bench = Bench(repeats=repeats, smoke=smoke, folder=folder, subject_core=subject, tool_core=tools, say=say)
    rows: list[Row] = []
    other_load: dict[str, float] = {}
    for name in names:
        busy, own, started = procfs.machine_busy_seconds(), own_cpu(), time.monotonic()
        rows += await CASES[name](bench)
        seconds = time.monotonic() - started
        other_load[name] = max(0.0, (procfs.machine_busy_seconds() - busy - (own_cpu() - own)) / seconds)
        say(f"{name} took {seconds:.0f} s; other processes used {other_load[name]:.2f} cores")
    order = list(CASES)
    return sorted(rows, key=lambda row: order.index(row.case)), other_load


def main(words: list[str]) -> int:
    options = arguments(words)
    data = ROOT / "data"
    data.mkdir(exist_ok=True)  # a temporary folder may be in memory, where a commit costs nothing
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=data))
    try:
        rows, other_load = uvloop.run(run(options.cases, options.repeats, options.smoke, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = report.Report(
        rows=rows,
        other_load=other_load,
        repeats=options.repeats,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=report.machine(),
    )
    print(report.table(rows))
    for remark in report.remarks(result):
        print(f"- {remark}")
    print("a smoke run: the figures mean nothing" if options.smoke else report.summary(rows))
    if options.json:
        options.json.write_text(report.as_json(result))
    if options.write:
        report.replace_block(PAGE, report.markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
