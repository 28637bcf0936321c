"""Rows 4, 6, 8 and 41: a real process whose disk is full, read-only, holds a million reports, or loses the files."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from adapter.clock import SystemClock
from adapter.store.sqlite.store import SqliteStore
from tests.builders import firing
from tests.faults.chaos import alive, answers, law, nth_state, process, steps_at
from tests.faults.oracle import Ledger, examine
from tests.faults.result import CaseResult, case_result, quantile, unless
from tests.flow.attacks import peak_memory
from tests.needs import unavailable
from tests.stage import REPOSITORY, adapter, drained, fetch, free_port, post, sandbox, values, webhook, write_config

MIB = 2**20


def own_mounts() -> str:
    """The path of `unshare`; skips the test where a plain user may not mount a file system with it."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], capture_output=True).returncode:
        unavailable("unshare -rm is not allowed here")
    return unshare


async def full_disk(folder: Path, *, rounds: int, mebibytes: int = 96) -> CaseResult:
    """Row 4: another program fills the service's disk and empties it again; the service is not restarted."""
    unshare, port, admin = own_mounts(), free_port(), free_port()
    data = folder / "data"
    data.mkdir()
    first, recovery, wrong = [], [], []
    async with sandbox() as coc:
        config = write_config(folder, coc.port)
        serve = f"{sys.executable} -m adapter serve --config.file={config} --web.listen-address=127.0.0.1:{port}"
        mount = f"mount -t tmpfs -o size={mebibytes}m none {data} && exec {serve} --web.admin-address=127.0.0.1:{admin}"
        with (folder / "log").open("wb") as log:
            child = subprocess.Popen([unshare, "-rm", "sh", "-c", mount], cwd=REPOSITORY, stdout=log, stderr=log)
        url, ledger, number = f"http://127.0.0.1:{port}", Ledger(), 0
        try:
            await _ready(url)
            filler = Path(f"/proc/{child.pid}/root{data}/filler")
            for _ in range(rounds):
                number = await _some(url, ledger, number)
                await asyncio.to_thread(_fill, filler)
                began = time.monotonic()
                while (status := await _one(url, ledger, number := number + 1)) == 200:
                    wrong += [unless(time.monotonic() - began < 1, "no 503 within 1 s of a full disk")]
                first.append(time.monotonic() - began)
                wrong += [unless(status == 503, f"answered {status}, not 503")]
                wrong += [unless(await _not_ready(url), "still ready after 3 s of a full disk")]
                filler.unlink()
                began = time.monotonic()
                while await _one(url, ledger, number := number + 1) != 200:
                    assert time.monotonic() - began < 60, "no 200 within 60 s of an empty disk"
                    await asyncio.sleep(0.05)
                recovery.append(time.monotonic() - began)
                await drained(url)
            liveness = await alive(url, coc, ledger)
            scrape = await drained(url)
        finally:
            child.kill()
            child.wait()
        verdict = examine(ledger, steps_at(coc))
    figures = {
        "rounds": rounds,
        "ms to the first 503 at most": round(max(first) * 1000),
        "s to recover at most": round(max(recovery), 2),
        "steps acknowledged": verdict.owed,
        "lost": verdict.lost,
    }
    slow = unless(max(recovery) < 15, "no recovery within 15 s")
    return case_result(figures, wrong, verdict.violations(), liveness, law(scrape), slow)


async def _ready(url: str) -> None:
    end = time.monotonic() + 30
    while not await answers(f"{url}/-/ready"):
        assert time.monotonic() < end, "not ready"
        await asyncio.sleep(0.05)


async def _not_ready(url: str) -> bool:
    """Whether readiness turns off within 3 s; its answer is cached for a second."""
    end = time.monotonic() + 3
    while await answers(f"{url}/-/ready"):
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.1)
    return True


async def _one(url: str, ledger: Ledger, number: int) -> int:
    alerts = [nth_state(f"Disk{number}x{n}", 1) for n in range(20)]
    ledger.sent(alerts)
    status, _ = await post(f"{url}/webhook", webhook(*alerts))
    if status == 200:
        ledger.acknowledged(alerts)
    return status


async def _some(url: str, ledger: Ledger, number: int) -> int:
    for _ in range(5):
        number += 1
        assert await _one(url, ledger, number) == 200
    return number


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


MOVES: Final[Mapping[str, Callable[[Path], object]]] = {
    "folder renamed": lambda data: data.rename(data.with_name("elsewhere")),
    "files removed": lambda data: [file.unlink() for file in data.iterdir()],
    "file replaced": lambda data: shutil.copy(data / "adapter.db", data / "new").replace(data / "adapter.db"),
}


async def files_moved(folder: Path) -> CaseResult:
    """Row 41: the store's files leave their path while reports wait for COC."""
    wrong, seconds = [], []
    for number, (name, move) in enumerate(MOVES.items()):
        home = folder / str(number)
        home.mkdir()
        async with sandbox() as coc, adapter(write_config(home, coc.port)) as service:
            await coc.fail({"status": 503})
            ledger = Ledger()
            accepted = await _some(service.url, ledger, 0)
            move(home / "data")
            began = time.monotonic()
            while (status := await _one(service.url, ledger, accepted := accepted + 1)) == 200:
                wrong += [unless(time.monotonic() - began < 2, f"{name}: still 200 after 2 s")]
            seconds.append(time.monotonic() - began)
            wrong += [unless(status == 503, f"{name}: answered {status}, not 503")]
            wrong += [unless(await _not_ready(service.url), f"{name}: still ready after 3 s")]
            await coc.fail()
            await coc.received(ledger.steps, seconds=60)
            wrong += [f"{name}: {line}" for line in examine(ledger, steps_at(coc)).violations()]
    return case_result({"ways": len(MOVES), "s to the first 503 at most": round(max(seconds), 2)}, wrong)


async def read_only(folder: Path, *, rounds: int = 1) -> CaseResult:
    """Row 6: the folder of the store is read-only; the start is refused in one line that names it."""
    unshare = own_mounts()
    (folder / "data").mkdir()
    config = write_config(folder, free_port())
    mount = f"mount -t tmpfs -o ro none {folder / 'data'} && exec {sys.executable} -m adapter serve"
    command = [unshare, "-rm", "sh", "-c", f"{mount} --config.file={config} --web.listen-address=127.0.0.1:0"]
    ran = await asyncio.to_thread(subprocess.run, command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    output = (ran.stdout + ran.stderr).strip()
    return case_result(
        {"exit code": ran.returncode, "lines of output": len(output.splitlines())},
        unless(ran.returncode == 1, f"exit code {ran.returncode}"),
        unless(str(folder / "data") in output and "Traceback" not in output, f"output {output!r}"),
    )


async def large_backlog(folder: Path, *, reports: int, drain: float) -> CaseResult:
    """Row 8: start with `reports` pending reports, and deliver for `drain` seconds."""
    clock = SystemClock()
    path = folder / "data" / "adapter.db"
    store = await SqliteStore.open(path, backlog=2 * reports, clock=clock)
    batch = min(2000, reports)
    for start in range(0, reports, batch):
        await store.accept(firing(*(f"{n:08x}" for n in range(start, min(start + batch, reports))), text="words " * 20))
    await store.close()
    size = path.stat().st_size / MIB
    async with sandbox() as coc:
        config = write_config(folder, coc.port, f"limits: {{backlog: {2 * reports}}}\n")
        async with process(config) as service:
            assert service.now is not None
            began, before = time.monotonic(), coc.count
            seconds: list[float] = []
            while time.monotonic() - began < drain and coc.count < reports:
                asked = time.monotonic()
                status, _ = await post(f"{service.url}/webhook", webhook(nth_state(f"Meanwhile{len(seconds)}", 1)))
                seconds.append(time.monotonic() - asked)
                assert status == 200
                await asyncio.sleep(0.2)
            rate = (coc.count - before) / (time.monotonic() - began)
            memory = peak_memory(service.now.process.pid) / MIB
            scrape = await fetch(f"{service.url}/metrics")
            started = service.starts[0]
    figures = {
        "reports": reports,
        "MiB on disk": round(size),
        "s to start": round(started, 2),
        "MiB of memory at most": round(memory),
        "reports/s drained": round(rate),
        "ms p99 of an acknowledgement meanwhile": round(quantile(seconds, 0.99) * 1000),
    }
    pending = values(scrape, "coc_adapter_reports_pending")
    left = values(scrape, "coc_adapter_reports_total")
    carried = values(scrape, "coc_adapter_reports_enqueued_total", kind="carried")
    return case_result(
        figures,
        unless(carried == reports, f"C: {carried:.0f} of {reports} carried"),
        unless(left > 0 and pending + left == reports + len(seconds), "C: the sums do not agree"),
    )
