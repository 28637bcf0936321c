"""The output of `store copy` when it succeeds and when it is refused."""

from __future__ import annotations

from pathlib import Path

from tests.golden import scenario
from tests.golden.normal import place
from tests.golden.recording import same
from tests.golden.terminal import run_in_thread


async def test_a_store_is_copied_or_not_as_recorded(tmp_path: Path) -> None:
    source, target = f"--from=sqlite:{tmp_path}/data/adapter.db", f"--to=sqlite:{tmp_path}/copy/adapter.db"
    async with scenario.serving(tmp_path) as (service, _):
        busy = await run_in_thread("store", "copy", source, target)
        assert await service.terminate() == 0
    (tmp_path / "other.db").write_bytes(b"no database" * 100)
    (tmp_path / "from").write_text(f"sqlite:{tmp_path}/data/adapter.db\n")
    (tmp_path / "to").write_text(f"sqlite:{tmp_path}/second/adapter.db\n")
    outputs = [
        busy,
        await run_in_thread("store", "copy", source, target),
        await run_in_thread("store", "copy", source, target),
        await run_in_thread("store", "copy", source, source.replace("--from", "--to")),
        await run_in_thread("store", "copy", f"--from=sqlite:{tmp_path}/missing.db", target),
        await run_in_thread("store", "copy", f"--from=sqlite:{tmp_path}/other.db", f"--to=sqlite:{tmp_path}/new.db"),
        await run_in_thread("store", "copy", "--from=memory:", target),
        await run_in_thread("store", "copy", source, "--to=mysql://db"),
        await run_in_thread("store", "copy", f"--from-file={tmp_path}/from", f"--to-file={tmp_path}/to"),
        await run_in_thread("store", "copy", source, f"--to-file={tmp_path}/none"),
    ]
    same("store_copy.txt", "\n".join(ran.text(place(tmp_path, "FOLDER")) for ran in outputs))
