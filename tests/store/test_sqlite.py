"""What SQLite promises beyond the contract, about its file, folder and free space, under every fault we can cause."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapter.alarm import Kind, News, Outcome, Pause, Status
from adapter.alertmanager import Reject
from adapter.clock import SystemClock
from adapter.errors import SpaceLow, StoreError, StoreRefused, StoreUnavailable
from adapter.store import open_store
from adapter.store.contract import Intake, Retention, Store
from adapter.store.copy import copy_store
from adapter.store.sqlite import database, disk
from adapter.store.sqlite.disk import MIB
from adapter.store.sqlite.store import SqliteStore
from adapter.store.views import AlarmQuery
from tests.builders import FOREVER, NOON, an_alert, an_intake, delivered, firing, resolved, retried, settled_as
from tests.fakes import FakeClock
from tests.needs import unavailable
from tests.stage import REPOSITORY
from tests.store.sqlite import broken, open_at, patiently, small_options

Open = Callable[..., Awaitable[SqliteStore]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "adapter.db"


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[Open]:
    """Opens the store at `path`; closes what was opened."""
    stores: list[SqliteStore] = []

    async def open_(**options: object) -> SqliteStore:
        stores.append(await open_at(path, **options))
        return stores[-1]

    yield open_
    for store in stores:
        await store.close()


async def names_due(store: Store) -> list[str]:
    return [claim.report.fingerprint for claim in (await patiently(lambda: store.claim("default", 1000))).claims]


def sql(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


# Opening


async def test_the_url_names_the_backend(path: Path) -> None:
    for url, backend in ((f"sqlite:{path}", "sqlite"), ("memory:", "memory")):
        store = await open_store(url, backlog=1, clock=FakeClock())
        assert store.describe()["backend"] == backend
        await store.close()
    for url in ("redis:x", "sqlite:", ""):
        with pytest.raises(StoreRefused, match=r"sqlite:PATH|path of a file"):
            await open_store(url, backlog=1, clock=FakeClock())


async def test_a_second_opener_is_refused_with_the_folder_that_is_in_use(path: Path, opened: Open) -> None:
    await opened()
    with pytest.raises(StoreRefused, match=str(path.parent)):
        await opened()


async def test_a_closed_store_can_be_opened_again_at_once(opened: Open) -> None:
    for _ in range(3):
        await (await opened()).close()


async def test_commits_are_written_through_and_the_log_is_gone_after_an_orderly_end(path: Path, opened: Open) -> None:
    store = await opened()
    await store.accept(firing("a1"))
    assert path.with_name("adapter.db-wal").stat().st_size > 0
    await store.close()
    assert not path.with_name("adapter.db-wal").exists()


def test_the_writer_syncs_every_commit(path: Path) -> None:
    path.parent.mkdir()
    with closing(database.connect_writer(path)) as connection:
        found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")}
    assert found == {"synchronous": 2, "journal_mode": "wal"}


async def test_a_reader_can_change_nothing(path: Path, opened: Open) -> None:
    store = await opened()
    await store.accept(firing("a1"))
    with closing(database.connect_reader(path)) as reader, pytest.raises(sqlite3.OperationalError):
        reader.execute("DELETE FROM report")


async def test_a_newer_schema_is_refused_and_left_as_it_is(path: Path, opened: Open) -> None:
    await (await opened()).close()
    sql(path, "PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match="newer version"):
        await opened()
    assert path.read_bytes() == before


async def test_a_schema_that_no_version_wrote_is_refused(path: Path, opened: Open) -> None:
    await (await opened()).close()
    sql(path, "PRAGMA user_version = -1")
    with pytest.raises(StoreRefused, match="schema is -1, which no version wrote"):
        await opened()


async def test_a_database_of_another_program_is_refused_and_left_as_it_is(path: Path, opened: Open) -> None:
    path.parent.mkdir()
    sql(path, "CREATE TABLE songs (title TEXT)")
    with pytest.raises(StoreRefused, match="another program"):
        await opened()
    assert sql(path, "SELECT name FROM sqlite_schema") == [("songs",)]


def test_each_migration_has_a_number_of_its_own_without_a_gap() -> None:
    files = [*(REPOSITORY / "adapter/store/sqlite/schema").glob("*.sql")]
    assert list(database.migrations()) == list(range(1, len(files) + 1))


def test_network_filesystems_are_refused_and_local_ones_are_not(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for kind, refused in (("nfs4", True), ("cifs", True), ("fuse.s3fs", True), ("ext4", False), ("overlay", False)):
        mounts = tmp_path / kind
        mounts.write_text(f"1 0 0:1 / / rw - rootfs rootfs rw\n2 1 {number} / {tmp_path} rw shared:1 - {kind} x rw\n")
        if refused:
            with pytest.raises(StoreRefused, match=kind):
                disk.prepare(tmp_path / "adapter.db", mounts)
        else:
            disk.prepare(tmp_path / "adapter.db", mounts)


def test_the_filesystem_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"1 0 0:1 / / rw - nfs x rw\n2 1 0:2 / {tmp_path}/a\\040b rw - ext4 x rw\n")
    inner = tmp_path / "a b" / "c"
    inner.mkdir(parents=True)
    assert disk.filesystem(inner, mounts) == "ext4"
    assert disk.filesystem(tmp_path, mounts) == "nfs"


# How the process before ended


async def maybe_sent(store: Store) -> dict[str, bool]:
    return {claim.report.fingerprint: claim.maybe_sent for claim in (await store.claim("default", 1000)).claims}


async def test_after_an_end_with_claims_left_all_that_waited_may_have_been_sent(opened: Open) -> None:
    store = await opened()
    await store.accept(firing("a1", "a2"))
    await store.claim("default", 1)
    await store.close()
    store = await opened()
    await store.accept(firing("a3"))
    assert await maybe_sent(store) == {"a1": True, "a2": True, "a3": False}


def a_store_of_the_first_schema(path: Path) -> None:
    """In which the first report of a1 waits and its integration is paused."""
    path.parent.mkdir()
    with closing(database.connect_writer(path)) as old:
        old.executescript(f"{database.migrations()[1]}; PRAGMA user_version = 1")
        old.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
        old.execute("UPDATE counter SET seq = 1, alarm = 1, webhook = 1")
        old.execute("INSERT INTO integration VALUES ('default', 1, 1, 0, 'operator', 1, 'kim', '')")
        old.execute(
            """INSERT INTO alarm (id, integration, fingerprint, status, episode, coc_alarm_id, starts, ends, content,
                   revision, pending, head, due_at, labels, first_seen, last_seen)
               VALUES (1, 'default', 'a1', 'firing', 1, 'a1', 1, 0, x'00', 'r1', 1, 1, 0, '{}', 1, 1)"""
        )
        old.execute(
            """INSERT INTO report (seq, integration, alarm, episode, kind, coc_alarm_id, received, webhook, crc, raw)
               VALUES (1, 'default', 1, 1, 'alarm', 'a1', 1, 1, 3523407757, x'00')"""
        )


@pytest.mark.parametrize("damaged", [False, True])
async def test_a_store_of_the_first_schema_is_migrated_and_what_waits_there_may_have_been_sent(
    path: Path, opened: Open, damaged: bool
) -> None:
    a_store_of_the_first_schema(path)
    if damaged:
        overwrite(path, "alarm_due")
    store = await opened()
    assert len(store.describe()["recovered"]) == damaged
    assert await store.pauses() == {"default": Pause(reason="operator", since=1, by="kim")}
    await store.accept(firing("a2"))
    assert await maybe_sent(store) == {"a1": True, "a2": False}


async def test_what_was_recovered_may_have_been_sent(path: Path, opened: Open) -> None:
    await a_store_left_behind(opened)
    overwrite(path, "alarm_due")
    store = await opened()
    await store.accept(firing("a4"))
    assert await maybe_sent(store) == {"a2": True, "a3": True, "a4": False}


async def test_a_store_that_lost_the_row_of_its_ids_is_recovered(path: Path, opened: Open) -> None:
    await a_store_left_behind(opened)
    sql(path, "DELETE FROM counter")
    store = await opened()
    assert await names_due(store) == ["a2", "a3"]
    assert len(store.describe()["recovered"]) == 1


async def test_a_claim_and_a_send_write_nothing(path: Path, opened: Open) -> None:
    store = await opened()
    await store.accept(firing(*(f"a{n}" for n in range(20))))
    await store.claim("default", 1)  # the first one says that there may be more
    before = path.with_name("adapter.db-wal").stat().st_size
    for _ in range(19):
        await store.claim("default", 1)
    assert path.with_name("adapter.db-wal").stat().st_size == before


# A process that cannot write


def run_as_nobody(code: str, *arguments: str) -> str:
    """Root may write everywhere, so the case needs another user."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() == 0 and setpriv is None:
        unavailable("setpriv is not installed")
    prefix = [str(setpriv), "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    ran = subprocess.run(
        [*prefix, sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    if "No module named" in ran.stderr or "Permission denied: '/" in ran.stderr or "can't open" in ran.stderr:
        unavailable("another user cannot read the interpreter here")
    return ran.stdout + ran.stderr


async def test_a_folder_that_cannot_be_written_is_refused_in_one_line(path: Path, opened: Open) -> None:
    await (await opened()).close()
    for folder in (path.parent, *path.parents[1:4]):
        folder.chmod(0o755)
    code = """
import asyncio, sys
from pathlib import Path
from adapter.errors import StoreRefused
from tests.store.sqlite import open_at
try:
    asyncio.run(open_at(Path(sys.argv[1])))
except StoreRefused as exc:
    print("REFUSED", exc)
"""
    said = run_as_nobody(code, str(path))
    assert "REFUSED" in said
    assert str(path.parent) in said


# Damage


async def a_store_left_behind(opened: Open) -> None:
    store = await opened()
    await store.accept(firing("a1", "a2", "a3"))
    await store.settle([delivered(claim) for claim in (await store.claim("default", 1)).claims])
    await store.close()


async def test_a_file_that_is_no_database_is_put_aside_and_kept(path: Path, opened: Open) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 1000)
    store = await opened()
    await store.accept(firing("a1"))
    (aside,) = store.describe()["recovered"]
    assert path.with_name(aside).read_bytes() == b"not a database" * 1000
    assert aside in store.describe()["warnings"][0]


async def test_an_empty_file_is_a_new_store(path: Path, opened: Open) -> None:
    path.parent.mkdir()
    path.touch()
    store = await opened()
    await store.accept(firing("a1"))
    assert store.describe()["recovered"] == []


async def test_the_warning_of_a_recovery_stays_until_the_old_file_is_moved_away(path: Path, opened: Open) -> None:
    await a_store_left_behind(opened)
    with path.open("r+b") as file:
        file.write(b"\0" * 4096)
    await (await opened()).close()
    store = await opened()
    (aside,) = store.describe()["recovered"]
    path.with_name(aside).unlink()
    assert (store.describe()["recovered"], store.describe()["warnings"]) == ([], [])


def overwrite(path: Path, name: str) -> None:
    """The first page of a table or an index."""
    ((page,),) = sql(path, f"SELECT rootpage FROM sqlite_schema WHERE name = '{name}'")
    assert isinstance(page, int)
    with path.open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(random.Random(page).randbytes(4096))


@pytest.mark.parametrize("name", ["counter", "alarm", "alarm_due", "alarm_identity", "report_alarm", "report_pending"])
async def test_reports_that_can_be_read_are_owed_when_other_pages_are_lost(path: Path, opened: Open, name: str) -> None:
    await a_store_left_behind(opened)
    overwrite(path, name)
    damaged = path.read_bytes()
    store = await opened()
    assert await names_due(store) == ["a2", "a3"]
    assert (await store.counts())["default"].pending == 2
    (aside,) = store.describe()["recovered"]
    assert path.with_name(aside).read_bytes() == damaged


async def test_an_alarm_whose_report_cannot_be_read_is_owed_again_by_its_next_webhook(path: Path, opened: Open) -> None:
    await a_store_left_behind(opened)
    overwrite(path, "report")
    store = await opened()
    assert await names_due(store) == []
    assert (await store.accept(firing("a1", "a2"))).owed == (("a2", Kind.UPDATE),)
    assert (await store.accept(resolved("a3"))).owed == (("a3", Kind.OK),)


async def test_a_resolve_that_cannot_be_read_is_owed_again_by_its_next_webhook(path: Path, opened: Open) -> None:
    store = await opened()
    await store.accept(firing("a1"))
    await store.settle([delivered(claim) for claim in (await store.claim("default", 1)).claims])
    await store.accept(resolved("a1"))
    await store.close()
    overwrite(path, "report")
    store = await opened()
    assert (await store.accept(resolved("a1"))).owed == (("a1", Kind.OK),)


async def test_a_file_without_a_readable_first_page_is_kept_and_a_new_one_serves(path: Path, opened: Open) -> None:
    await a_store_left_behind(opened)
    with path.open("r+b") as file:
        file.write(b"\0" * 4096)
    damaged = path.read_bytes()
    store = await opened()
    assert (await store.accept(firing("a1"))).owed == (("a1", Kind.ALARM),)
    (aside,) = store.describe()["recovered"]
    assert path.with_name(aside).read_bytes() == damaged


async def test_dead_letters_survive_the_recovery(path: Path, opened: Open) -> None:
    store = await opened()
    await store.accept(firing("a1"))
    await store.settle([settled_as(claim, Outcome.DEAD) for claim in (await store.claim("default", 1)).claims])
    await store.close()
    overwrite(path, "alarm_due")
    store = await opened()
    (letter,) = await store.dead_letters(None, 0, 10)
    assert letter.report.fingerprint == "a1"
    assert (await store.counts())["default"].dead == 1


async def test_one_bad_page_of_many_costs_the_reports_on_it_alone(path: Path, opened: Open) -> None:
    store = await opened()
    names = [f"a{n}" for n in range(300)]
    await store.accept(firing(*names, text="words " * 100))
    await store.close()
    with path.open("r+b") as file:
        place = path.read_bytes().index(b'"fingerprint":"a150"')
        file.seek(place // 4096 * 4096)
        file.write(b"\xff" * 4096)
    store = await opened()
    lost = set(names) - set(await names_due(store))
    assert "a150" in lost
    assert len(lost) < 10


async def test_a_pause_survives_the_recovery(path: Path, opened: Open) -> None:
    store = await opened()
    await store.set_pause("default", Pause(reason="operator", since=NOON, by="kim"))
    await store.close()
    overwrite(path, "alarm_due")
    assert set(await (await opened()).pauses()) == {"default"}


async def test_a_recovery_cut_short_is_completed_at_the_next_start(path: Path, opened: Open) -> None:
    await a_store_left_behind(opened)
    path.rename(path.with_name("adapter.db.recovered"))
    path.write_bytes(b"the damaged one")
    path.with_name("adapter.db-wal").write_bytes(b"its log")
    store = await opened()
    assert await names_due(store) == ["a2", "a3"]
    (aside,) = store.describe()["recovered"]
    assert path.with_name(aside).read_bytes() == b"the damaged one"
    assert path.with_name(aside + "-wal").read_bytes() == b"its log"


async def test_half_a_recovery_is_thrown_away(path: Path, opened: Open) -> None:
    await a_store_left_behind(opened)
    path.with_name("adapter.db.salvage").write_bytes(b"half")
    store = await opened()
    assert await names_due(store) == ["a2", "a3"]
    assert not path.with_name("adapter.db.salvage").exists()


async def test_a_report_whose_bytes_changed_is_not_sent_and_owed_again_by_the_next_webhook(
    path: Path, opened: Open
) -> None:
    await a_store_left_behind(opened)
    sql(path, "UPDATE report SET raw = x'00ff' WHERE seq = 2")
    store = await opened()
    assert await names_due(store) == ["a3"]
    assert (await patiently(lambda: store.accept(firing("a2")))).owed == (("a2", Kind.UPDATE),)
    (aside,) = store.describe()["recovered"]
    assert sql(path.with_name(aside), "SELECT raw FROM report WHERE seq = 2") == [(b"\x00\xff",)]


@pytest.mark.parametrize(
    "change",
    ["status = 'boiling'", "fingerprint = x'ff'", "coc_alarm_id = CAST(x'ff' AS TEXT)"],
    ids=["status", "text", "utf-8"],
)
async def test_a_row_that_cannot_be_right_is_recovered_while_serving(path: Path, opened: Open, change: str) -> None:
    store = await opened()
    await store.accept(firing("a1", "a2"))
    sql(path, f"UPDATE alarm SET {change} WHERE id = 1")
    await patiently(lambda: store.accept(firing("a1", "a2", "a3")))
    due = await names_due(store)
    assert set(due) == {"a1", "a2", "a3"}
    assert len(store.describe()["recovered"]) == 1


@pytest.mark.parametrize("keep", [0, 20, 5000, -1000])
async def test_a_truncated_log_gives_a_store_as_it_was_earlier(
    path: Path, opened: Open, tmp_path: Path, keep: int
) -> None:
    store = await opened()
    for n in range(20):
        await store.accept(firing(f"a{n}"))
    left = tmp_path / "left" / "adapter.db"
    left.parent.mkdir()
    shutil.copyfile(path, left)
    log = path.with_name("adapter.db-wal").read_bytes()
    left.with_name("adapter.db-wal").write_bytes(log[:keep])
    again = await open_at(left)
    due = await names_due(again)
    assert due == [f"a{n}" for n in range(len(due))]
    assert (await again.accept(firing("new"))).news[News.NEWS] == 1
    await again.close()


async def test_a_log_of_another_store_is_not_replayed(path: Path, opened: Open, tmp_path: Path) -> None:
    await a_store_left_behind(opened)
    other = await open_at(tmp_path / "other" / "adapter.db")
    await other.accept(firing("foreign"))
    shutil.copyfile(tmp_path / "other" / "adapter.db-wal", path.with_name("adapter.db-wal"))
    await other.close()
    store = await opened()
    assert (await store.accept(firing("a9"))).owed == (("a9", Kind.ALARM),)


# Free space


async def test_little_free_space_refuses_alarms_but_not_repeats_and_oks(opened: Open) -> None:
    free = [100 * MIB]
    store = await opened(free=lambda folder: free[0])
    await store.accept(firing("a1", "a2"))
    free[0] = MIB - 1
    with pytest.raises(StoreUnavailable, match="free"):
        await store.accept(firing("a3"))
    assert (await store.accept(firing("a1", "a2"))).news[News.REPEAT] == 2
    assert (await store.accept(resolved("a1"))).owed == (("a1", Kind.OK),)
    assert "only resolves" in store.describe()["warnings"][0]
    (claim,) = (await store.claim("default", 1)).claims
    assert (await store.settle([delivered(claim)]))[0].counted
    free[0] = MIB // 2 - 1
    with pytest.raises(StoreUnavailable, match="free"):
        await store.accept(resolved("a2"))
    free[0] = 100 * MIB
    assert (await store.accept(firing("a3"))).owed == (("a3", Kind.ALARM),)
    assert store.describe()["backend"] == "sqlite"  # the admin API goes on


async def test_the_free_bytes_are_unknown_until_the_size_was_asked(opened: Open) -> None:
    store = await opened(free=lambda folder: 500 * MIB)
    assert store.describe()["free_bytes"] is None
    await store.size()
    assert store.describe()["free_bytes"] == 500 * MIB


async def test_free_bytes_are_those_of_the_files_limit_where_it_is_smaller(path: Path) -> None:
    options = small_options(free=lambda folder: 500 * MIB)
    store = await SqliteStore.open(path, backlog=1000, clock=FakeClock(), max_bytes=4 * MIB, options=options)
    await store.size()
    before = store.describe()["free_bytes"]
    assert 3 * MIB < before <= 4 * MIB
    await store.accept(firing(*(f"a{number}" for number in range(500))))
    await store.size()
    assert store.describe()["free_bytes"] < before
    await store.close()


async def test_free_bytes_include_what_a_drained_backlog_left_inside_the_file(opened: Open) -> None:
    store = await opened(free=lambda folder: 500 * MIB)
    await store.accept(firing(*(f"a{number}" for number in range(1000))))
    while claims := (await store.claim("default", 1000)).claims:
        await store.settle([delivered(claim) for claim in claims])
    await store.maintain(NOON + 10, Retention(delivered=0, dead=0, resolved=0))
    await store.size()
    assert store.describe()["free_bytes"] > 500 * MIB


async def test_a_disk_that_cannot_be_asked_is_an_unavailable_store(opened: Open) -> None:
    gone = [False]

    def free(folder: Path) -> int:
        if gone[0]:
            raise OSError(5, "Input/output error")
        return 100 * MIB

    store = await opened(free=free)
    gone[0] = True
    with pytest.raises(StoreUnavailable, match="Input/output"):
        await store.accept(firing("a1"))
    gone[0] = False
    assert (await store.accept(firing("a1"))).pending == 1


async def test_the_head_of_a_reject_is_left_out_when_there_is_little_free_space(opened: Open) -> None:
    free = [100 * MIB]
    store = await opened(free=lambda folder: free[0])
    await store.accept(firing("a1"))
    free[0] = 0
    await store.accept(firing("a1", rejects=(Reject(reason="a list", head=b"[" * 1000),)))
    (row,) = await store.rejects(0, 10)
    assert (row.reason, row.head) == ("a list", b"")


async def test_a_file_at_its_size_limit_drains_and_takes_alerts_again(path: Path) -> None:
    store = await SqliteStore.open(path, backlog=10**6, clock=FakeClock(), max_bytes=2 * MIB, options=small_options())
    taken = 0
    for size in (10, 1):
        with suppress(StoreUnavailable):
            while True:
                await store.accept(firing(*(f"{taken + n}" for n in range(size)), text="x" * 2000))
                taken += size
    with pytest.raises(StoreUnavailable, match="size limit"):
        await store.accept(firing(*(f"more{n}" for n in range(10)), text="x" * 2000))
    assert taken > 100
    await store.accept(resolved("0"))
    assert path.stat().st_size <= 2 * MIB
    settled = 0
    while claims := (await store.claim("default", 50)).claims:
        await store.settle([delivered(claim) for claim in claims])
        settled += len(claims)
    assert settled == taken + 1
    await store.maintain(NOON + 10, Retention(delivered=0, dead=0, resolved=0))
    assert (await store.accept(firing("after"))).owed == (("after", Kind.ALARM),)
    await store.close()


async def test_space_is_low_while_resolves_are_taken_and_then_there_is_none(path: Path) -> None:
    store = await SqliteStore.open(path, backlog=10**6, clock=FakeClock(), max_bytes=2 * MIB, options=small_options())

    async def refused(intakes: Iterable[Intake]) -> type[StoreUnavailable]:
        for intake in intakes:
            try:
                await store.accept(intake)
            except StoreUnavailable as exc:
                return type(exc)
        raise AssertionError("everything was taken")

    assert await refused(firing(str(number), text="x" * 2000) for number in range(2000)) is SpaceLow
    assert await refused(resolved(str(number)) for number in range(2000)) is StoreUnavailable
    await store.close()


FULL_DISK = """
import asyncio, os, sys, time
from pathlib import Path
from adapter.errors import StoreUnavailable
from tests.builders import delivered, firing
from tests.store.sqlite import open_at, patiently

async def main(folder):
    store = await open_at(folder / "adapter.db")
    await store.accept(firing("first"))
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096) == 4096:
                pass
        except OSError:
            pass
    taken, refused = 1, 0
    while refused < 20:
        try:
            await store.accept(firing(*(f"{taken}x{n}" for n in range(10)), text="x" * 1000))
            taken += 10
        except StoreUnavailable:
            refused += 1
            await asyncio.sleep(0.01)
    filler.unlink()
    began = time.monotonic()
    await patiently(lambda: store.accept(firing("after")))
    seconds = time.monotonic() - began
    settled = 0
    while claims := (await patiently(lambda: store.claim("default", 50))).claims:
        await patiently(lambda claims=claims: store.settle([delivered(claim) for claim in claims]))
        settled += len(claims)
    print("RESULT", taken + 1, settled, round(seconds, 2))
    await store.close()

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_full_disk_loses_nothing_and_is_left_without_a_restart(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    mount = f'mount -t tmpfs -o size=8m none {tmp_path} && exec {sys.executable} -c "$0" {tmp_path}'
    if unshare is None or subprocess.run([unshare, "-rm", "true"], capture_output=True).returncode:
        unavailable("unshare -rm is not allowed here")
    ran = subprocess.run(
        [unshare, "-rm", "sh", "-c", mount, FULL_DISK],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=120,
    )
    assert "RESULT" in ran.stdout, ran.stderr
    taken, settled, seconds = ran.stdout.split("RESULT")[1].split()
    assert taken == settled
    assert float(seconds) < 10


async def test_the_ballast_of_version_0_1_is_removed(path: Path, opened: Open) -> None:
    path.parent.mkdir()
    ballast = path.with_name("adapter.db.ballast")
    ballast.write_bytes(b"")
    await opened()
    assert not ballast.exists()


# Faults


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), sqlite3.OperationalError("disk I/O error")], ids=["system", "sqlite"]
)
async def test_a_disk_that_fails_between_two_commits_does_not_end_the_store(opened: Open, error: Exception) -> None:
    class Failing(sqlite3.Connection):
        def execute(self, *args: Any) -> sqlite3.Cursor:
            if "wal_checkpoint" in args[0]:
                raise error
            return super().execute(*args)

    store = await opened(connect=partial(sqlite3.connect, factory=Failing), log_bound=0)
    for name in ("a1", "a2", "a3"):
        await patiently(lambda name=name: store.accept(firing(name)))
    assert await names_due(store) == ["a1", "a2", "a3"]


def remove_all(path: Path) -> None:
    for file in path.parent.glob("adapter.db*"):
        file.unlink()


def replace_file(path: Path) -> None:
    path.with_name("new").write_bytes(path.read_bytes())
    path.with_name("new").replace(path)


PLACES = {
    "the folder renamed": lambda path: path.parent.rename(path.parent.with_name("elsewhere")),
    "the files removed": remove_all,
    "the file replaced": replace_file,
    "the log removed": lambda path: path.with_name("adapter.db-wal").unlink(),
}


@pytest.mark.parametrize("change", PLACES.values(), ids=PLACES)
async def test_a_store_whose_files_are_not_at_their_path_takes_nothing_and_delivers_the_rest(
    path: Path, opened: Open, change: Callable[[Path], object]
) -> None:
    store = await opened()
    assert await names_due(store) == []  # delivery has begun
    await store.accept(firing("a1"))
    change(path)
    reject = Reject(reason="no", head=b"x")
    asked = [store.set_pause("default", None), store.replay([1], as_sent=False), store.discard([1])]
    for refused in (store.accept(firing("a2")), store.reject("default", 0, [reject]), store.probe(), *asked):
        with pytest.raises(StoreUnavailable, match="moved, removed or replaced while it was served"):
            await refused
    (claim,) = (await store.claim("default", 10)).claims
    (settled,) = await store.settle([delivered(claim)])
    assert (claim.report.fingerprint, settled.counted) == ("a1", True)
    assert store.describe()["backend"] == "sqlite"  # the admin API goes on


def link_to_another(link: Path) -> None:
    link.unlink()
    link.symlink_to(link.with_name("another.db"))


@pytest.mark.parametrize("change", [Path.unlink, link_to_another, Path.touch], ids=["removed", "moved", "untouched"])
async def test_a_link_to_the_file_that_leads_elsewhere_is_noticed_like_the_file(
    path: Path, opened: Open, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    store = await open_at(link)
    await store.accept(firing("a1"))
    change(link)
    if change is Path.touch:
        await store.accept(firing("a2"))
    else:
        for refused in (store.accept(firing("a2")), store.probe()):
            with pytest.raises(StoreUnavailable, match=rf"{link} was moved, removed or replaced"):
                await refused
    await store.close()
    assert "a1" in await names_due(await opened())


async def test_a_working_directory_that_is_renamed_is_noticed_like_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    store = await open_at(Path("data/adapter.db"))
    await store.accept(firing("a1"))
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(StoreUnavailable, match=r"here/data/adapter\.db was moved, removed or replaced"):
        await store.accept(firing("a2"))
    (tmp_path / "there").rename(tmp_path / "here")
    await store.accept(firing("a2"))
    await store.close()


@pytest.mark.parametrize("name", ["adapter.db", "adapter.db-wal"])
async def test_a_file_that_was_cut_is_noticed_before_anything_more_is_taken(
    path: Path, opened: Open, name: str
) -> None:
    store = await opened()
    for number in range(40):
        await store.accept(firing(f"a{number}"))
    if name == "adapter.db":
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        await patiently(store.probe)
    os.truncate(path.with_name(name), 0)
    with pytest.raises(StoreUnavailable, match=r"was cut|malformed"):
        await store.accept(firing("b1"))
    await patiently(lambda: store.accept(firing("b2")))
    assert store.describe()["recovered"]
    await store.close()
    assert "b2" in await names_due(await opened())


async def test_a_log_that_another_program_empties_is_no_damage(path: Path, opened: Open) -> None:
    store = await opened()
    await store.accept(firing("a1"))
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("VACUUM")
    await patiently(lambda: store.accept(firing("a2")))
    assert await names_due(store) == ["a1", "a2"]
    assert store.describe()["recovered"] == []


@pytest.mark.parametrize("other", ["hard link", "lock removed"])
async def test_the_file_is_served_once_whatever_its_names(path: Path, opened: Open, tmp_path: Path, other: str) -> None:
    await opened()
    second = path
    if other == "hard link":
        second = tmp_path / "second" / "adapter.db"
        second.parent.mkdir()
        os.link(path, second)
    else:
        path.with_name("adapter.db.lock").unlink()
    for again in (partial(SqliteStore.open, second, backlog=10, clock=SystemClock()), partial(copied, second)):
        with pytest.raises(StoreRefused, match="in use by another process"):
            await again()


async def test_a_store_served_is_not_copied_by_the_name_of_a_link(path: Path, opened: Open, tmp_path: Path) -> None:
    await opened()
    (tmp_path / "link.db").symlink_to(path)
    with pytest.raises(StoreRefused, match="in use by another process"):
        await copied(tmp_path / "link.db")


async def copied(source: Path) -> dict[str, int]:
    return await copy_store(f"sqlite:{source}", f"sqlite:{source.with_name('copy.db')}", SystemClock())


@pytest.mark.parametrize("kind", ["link in a circle", "FIFO", "folder"])
async def test_a_path_that_holds_no_file_is_refused(path: Path, opened: Open, kind: str) -> None:
    path.parent.mkdir(exist_ok=True)
    {"link in a circle": lambda: path.symlink_to(path), "FIFO": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
    with pytest.raises(StoreRefused):
        await opened()


async def test_a_folder_that_is_renamed_back_serves_again(path: Path, opened: Open) -> None:
    store = await opened()
    path.parent.rename(path.parent.with_name("elsewhere"))
    with pytest.raises(StoreUnavailable):
        await store.accept(firing("a1"))
    path.parent.with_name("elsewhere").rename(path.parent)
    await store.accept(firing("a1"))
    await store.close()
    assert await names_due(await opened()) == ["a1"]


async def test_a_file_that_was_removed_is_not_made_anew_after_a_failure(path: Path, opened: Open) -> None:
    countdown = [0]
    store = await opened(connect=partial(sqlite3.connect, factory=broken(countdown, sqlite3.SQLITE_IOERR)))
    remove_all(path)
    countdown[0] = 1
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await store.probe()
        await asyncio.sleep(0.06)
    assert not path.exists()


async def test_the_folder_and_the_files_are_for_their_owner_alone(path: Path, opened: Open) -> None:
    store = await opened()
    await store.accept(firing("a1"))
    assert {file.stat().st_mode & 0o777 for file in path.parent.glob("adapter.db*")} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert store.describe()["backend"] == "sqlite"  # the admin API goes on


async def test_files_that_others_can_read_are_named_and_left_as_they_are(path: Path, opened: Open) -> None:
    await (await opened()).close()
    path.chmod(0o644)
    path.parent.chmod(0o777)
    store = await opened()
    assert store.describe()["warnings"] == [
        f"{path} can be read by other users (mode 644): chmod 600 {path}*",
        f"{path.parent} can be changed by all users: chmod o-w {path.parent}",
    ]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o644, 0o777)


async def test_a_second_name_of_the_file_is_the_same_store(path: Path, tmp_path: Path, opened: Open) -> None:
    await opened()
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "link.db"
    link.symlink_to(path)
    with pytest.raises(StoreRefused, match="in use by another process"):
        await open_at(link)


def test_each_new_folder_is_made_durable_in_the_one_above_it(tmp_path: Path) -> None:
    synced: list[Path] = []
    disk.prepare(tmp_path / "a" / "b" / "c.db", sync=synced.append)
    disk.prepare(tmp_path / "a" / "b" / "c.db", sync=synced.append)
    assert synced == [tmp_path, tmp_path / "a"]


async def test_a_file_that_is_refused_when_it_is_opened_anew_is_an_unavailable_store(path: Path, opened: Open) -> None:
    countdown = [0]
    factory = broken(countdown, sqlite3.SQLITE_IOERR)
    store = await opened(connect=partial(sqlite3.connect, factory=factory))
    await store.accept(firing("a1"))
    sql(path, "PRAGMA application_id = 7")
    countdown[0] = 1
    for _ in range(100):
        with pytest.raises(StoreUnavailable) as refusal:
            await store.probe()
        if "another program" in str(refusal.value):
            break
        await asyncio.sleep(0.02)
    assert "another program" in str(refusal.value)
    sql(path, f"PRAGMA application_id = {database.APPLICATION_ID}")
    await patiently(store.probe)
    assert await names_due(store) == ["a1"]


async def test_an_operation_that_fails_by_itself_leaves_those_of_its_commit_alone(opened: Open) -> None:
    store = await opened()
    broken = an_intake(an_alert("bad", starts=2**70))
    results = await asyncio.gather(
        store.accept(firing("a1")), store.accept(broken), store.accept(firing("a2")), return_exceptions=True
    )
    assert [isinstance(result, Exception) for result in results] == [False, True, False]
    assert await names_due(store) == ["a1", "a2"]


async def test_a_claim_gives_out_no_more_bytes_than_fit_and_the_rest_at_the_next(opened: Open) -> None:
    store = await opened()
    large = [an_alert(f"a{number}", annotations={"summary": "x" * 3 * 1024 * 1024}) for number in range(8)]
    for alert in large:
        await store.accept(an_intake(alert))
    given: list[int] = []
    while len(given) < 3:
        claimed = await store.claim("default", 8)
        given.append(len(claimed.claims))
        assert claimed.next_due == (0.0 if sum(given) < 8 else None)
    assert given == [3, 3, 2]


async def test_a_cancelled_claim_is_given_out_again(opened: Open) -> None:
    store = await opened()
    await store.accept(firing("a1"))
    for _ in range(20):
        claiming = asyncio.ensure_future(store.claim("default", 1))
        await asyncio.sleep(0)
        claiming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claiming
    assert await names_due(store) == ["a1"]


async def test_a_cancelled_first_claim_puts_nothing_in_doubt_after_an_orderly_end(opened: Open) -> None:
    store = await opened()
    await store.accept(firing("a1"))
    claiming = asyncio.ensure_future(store.claim("default", 1))
    await asyncio.sleep(0)
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    await store.probe()  # what the claim had asked of the writer is committed
    await store.close()
    (claim,) = (await (await opened()).claim("default", 1)).claims
    assert not claim.maybe_sent


async def test_a_cancelled_settlement_is_written_all_the_same(opened: Open) -> None:
    store = await opened()
    await store.accept(firing("a1"))
    await store.accept(resolved("a1"))
    (claim,) = (await store.claim("default", 1)).claims
    settling = asyncio.ensure_future(store.settle([delivered(claim)]))
    await asyncio.sleep(0)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    await store.probe()
    (claim,) = (await store.claim("default", 1)).claims
    assert claim.report.kind is Kind.OK


# Cost


async def test_a_repeat_writes_nothing(path: Path, opened: Open) -> None:
    store = await opened()
    await store.accept(firing("a1", "a2"))
    log = path.with_name("adapter.db-wal")
    before = (log.stat().st_size, log.stat().st_mtime_ns, path.stat().st_mtime_ns)
    for n in range(50):
        await store.accept(firing("a1", "a2", received=NOON + n))
    assert (log.stat().st_size, log.stat().st_mtime_ns, path.stat().st_mtime_ns) == before


async def statements_of_a_busy_day(opened: Open) -> list[str]:
    """What SQLite ran, with the parameters written out."""
    ran: list[str] = []

    def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = sqlite3.connect(*args, **kwargs)
        connection.set_trace_callback(ran.append)
        return connection

    store = await opened(connect=traced)
    del ran[:]
    await store.accept(firing("a1", "a2", "a3"))
    await store.accept(firing("a1", text="changed"))
    await store.accept(firing("a1", text="changed again", rejects=(Reject(reason="a list", head=b"["),)))
    first, second, third = (await store.claim("default", 3)).claims
    await store.settle([retried(first, delay=600), delivered(second), settled_as(third, Outcome.DEAD)])
    await store.claim("default", 3)
    await store.settle([delivered(claim) for claim in (await store.claim("default", 3, ignore_delay=True)).claims])
    await store.counts()
    await store.trail("default", "a1")
    letters = await store.dead_letters(None, 0, 10) + await store.dead_letters("default", 0, 10)
    await store.replay([letters[0].report.seq], as_sent=True)
    await store.discard([letters[0].report.seq])
    await store.alarms(AlarmQuery())
    await store.alarms(AlarmQuery(integration="default", status=Status.FIRING, text="full"))
    await store.alarms(AlarmQuery(integration="default", fingerprint="a1"))
    await store.maintain(NOON, Retention(delivered=0, dead=0, resolved=0))
    return ran


async def test_no_statement_scans_or_sorts_alarms_or_reports(path: Path, opened: Open) -> None:
    ran = await statements_of_a_busy_day(opened)
    data = {statement for statement in ran if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))}
    assert len(data) > 40
    with closing(database.connect_reader(path)) as connection:
        for statement in data:
            plan = " / ".join(row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
            assert "TEMP B-TREE" not in plan, statement
            assert not re.search(r"SCAN (alarm|report)(?! USING (COVERING )?INDEX)", plan), statement


async def test_the_log_stays_bounded_while_alerts_come_and_go(path: Path, opened: Open) -> None:
    store = await opened()
    largest = 0
    for n in range(60):
        await store.accept(firing(*(f"{n}x{k}" for k in range(100)), text="x" * 3000))
        await store.settle([delivered(claim) for claim in (await store.claim("default", 100)).claims])
        largest = max(largest, path.with_name("adapter.db-wal").stat().st_size)
    await store.maintain(NOON, FOREVER)
    assert largest < 48 * MIB


async def test_a_log_that_a_reader_kept_growing_is_emptied_when_it_is_gone(path: Path, opened: Open) -> None:
    store = await opened(log_bound=MIB)
    await store.accept(firing("a1"))
    log = path.with_name("adapter.db-wal")
    with closing(database.connect_reader(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM report").fetchall()
        for n in range(30):
            await store.accept(firing(*(f"{n}x{k}" for k in range(100)), text="x" * 1000))
        assert log.stat().st_size > 2 * MIB
    for _ in range(200):
        await store.probe()
        if log.stat().st_size < MIB:
            break
        await asyncio.sleep(0.05)
    assert log.stat().st_size < MIB


async def test_the_due_times_of_the_run_before_hold_nothing_back(opened: Open) -> None:
    store = await opened()
    await store.accept(firing("a1", "a2", "a3"))
    first, second, _ = (await store.claim("default", 3)).claims
    await store.settle([retried(first, delay=600), retried(second, delay=60)])
    await store.close()
    assert await names_due(await opened()) == ["a3", "a2", "a1"]


async def test_a_store_of_many_alarms_is_paged_through(opened: Open) -> None:
    store = await opened()
    await store.accept(firing(*(f"a{n:04}" for n in range(1000))))
    seen: list[str] = []
    after = 0
    while rows := await store.alarms(AlarmQuery(integration="default", text="SHOP", after=after, limit=300)):
        after = rows[-1].id
        seen += [row.alarm.fingerprint for row in rows]
    assert seen == [f"a{n:04}" for n in range(1000)]


async def test_calls_go_on_after_an_unavailable_moment(opened: Open) -> None:
    countdown = [0]
    factory = broken(countdown, sqlite3.SQLITE_IOERR_FSYNC)
    store = await opened(connect=lambda *args, **kwargs: sqlite3.connect(*args, factory=factory, **kwargs))
    await store.accept(firing("a1"))
    countdown[0] = 1
    with pytest.raises(StoreUnavailable):
        await store.accept(firing("a2"))
    with pytest.raises(StoreError):
        await store.probe()
    await patiently(lambda: store.accept(firing("a2")))
    assert await names_due(store) == ["a1", "a2"]
