"""`store copy`: nothing pending is lost, whichever way."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapter.alarm import Kind, Outcome, Pause
from adapter.alertmanager import Reject, unpack
from adapter.clock import SystemClock
from adapter.errors import StoreRefused
from adapter.store import open_store
from adapter.store.contract import Store
from adapter.store.copy import copy_store
from adapter.store.views import AlarmQuery
from tests.builders import DAY, FOREVER, NOON, delivered, firing, resolved, retried, settled_as
from tests.postgres import PostgresServer, wrong_queues

PAUSE = Pause(reason="credentials", since=NOON, by="adapter", detail="401")

NewUrl = Callable[[str], Any]


@pytest.fixture
def new_url(postgres: PostgresServer, tmp_path: Path) -> NewUrl:
    """A URL of an empty store of that backend."""
    urls: list[str] = []

    async def new(backend: str) -> str:
        url = f"sqlite:{tmp_path}/{len(urls)}/adapter.db" if backend == "sqlite" else await postgres.new_database()
        urls.append(url)
        return url

    return new


async def opened(url: str) -> Store:
    return await open_store(url, backlog=1000, clock=SystemClock())


async def fill(store: Store) -> None:
    """A little of everything."""
    await store.accept(firing("open", "dead", "gone"))
    for claim in (await store.claim("default", 10)).claims:
        dead = claim.report.fingerprint == "dead"
        await store.settle([settled_as(claim, Outcome.DEAD) if dead else delivered(claim)])
    await store.accept(firing("open", text="1"))
    await store.settle([retried(claim, delay=600) for claim in (await store.claim("default", 1)).claims])
    for step in (resolved("open"), firing("open"), resolved("gone")):
        await store.accept(step)
    await store.accept(firing("a\0b", integration="other", rejects=(Reject(reason="a list", head=b"\xff\0"),)))
    await store.accept(firing("gone", received=NOON + DAY))
    await store.accept(firing("gone", received=NOON + DAY))
    await store.maintain(NOON + DAY, FOREVER)
    await store.set_pause("other", PAUSE)
    await store.keep_directory("default", NOON, b'[["a","Shop"]]')


async def seen(store: Store) -> dict[str, Any]:
    """Everything a store shows, apart from when reports are due."""
    rows = await store.alarms(AlarmQuery())
    trails = [await store.trail(row.integration, row.alarm.fingerprint) for row in rows]
    return {
        "alarms": rows,
        "trails": [[replace(row, due_in=None) for row in trail] for trail in trails],
        "dead": [row.report for row in await store.dead_letters(None, 0, 100)],
        "rejects": await store.rejects(0, 100),
        "pauses": await store.pauses(),
        "directories": (await store.directories_fetched(), await store.directory("default")),
        "counts": await store.counts(),
    }


async def left(store: Store) -> dict[str, list[tuple[Kind, str]]]:
    """What leaves, in order, by alarm, with the alert's summary."""
    out: dict[str, list[tuple[Kind, str]]] = {}
    for integration in ("default", "other"):
        while claims := (await store.claim(integration, 1, ignore_delay=True)).claims:
            report = claims[0].report
            summary = unpack(report.raw)[0]["annotations"]["summary"]
            out.setdefault(report.fingerprint, []).append((report.kind, summary))
            await store.settle([delivered(claims[0])])
    return out


@pytest.mark.parametrize(
    ("source", "target"),
    [("sqlite", "postgresql"), ("postgresql", "sqlite"), ("postgresql", "postgresql"), ("sqlite", "sqlite")],
)
async def test_everything_arrives_and_leaves_in_order(
    postgres: PostgresServer, new_url: NewUrl, source: str, target: str
) -> None:
    source_url, target_url = await new_url(source), await new_url(target)
    store = await opened(source_url)
    await fill(store)
    before = await seen(store)
    await store.close()

    copied = await copy_store(source_url, target_url, SystemClock())
    assert copied == {"alarms": 4, "reports": 9, "pending": 6, "dead": 1, "webhooks": 7, "rejects": 1, "pauses": 1}

    store = await opened(target_url)
    assert await seen(store) == before
    if target == "postgresql":
        assert await wrong_queues(postgres, target_url) == 0
    assert await left(store) == {
        "open": [(Kind.UPDATE, "1"), (Kind.OK, ""), (Kind.ALARM, "")],
        "gone": [(Kind.OK, ""), (Kind.ALARM, "")],
        "a\0b": [(Kind.ALARM, "")],
    }
    await store.close()


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
async def test_the_copy_goes_on_with_new_ids(new_url: NewUrl, target: str) -> None:
    source_url, target_url = await new_url("sqlite"), await new_url(target)
    store = await opened(source_url)
    await fill(store)
    newest = (await store.trail("default", "gone"))[0].report
    await store.maintain(NOON + DAY + 1, replace(FOREVER, delivered=0))  # the report is kept longer than its webhook
    assert (await store.trail("default", "gone"))[0].webhook == {"id": newest.webhook}
    await store.close()
    await copy_store(source_url, target_url, SystemClock())
    store = await opened(target_url)
    receipt = await store.accept(firing("new"))
    assert (receipt.pending, receipt.open_alarms) == (6, 4)
    assert (await store.trail("default", "new"))[0].report.seq > newest.seq
    assert receipt.webhook > newest.webhook
    await store.close()


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
@pytest.mark.parametrize("role", ["source", "target"])
async def test_a_store_that_is_served_is_not_touched(new_url: NewUrl, backend: str, role: str) -> None:
    served, other = await new_url(backend), await new_url("sqlite")
    store = await opened(served)
    await store.accept(firing("a1"))
    if role == "target":
        await (await opened(other)).close()
    with pytest.raises(StoreRefused, match=r"in use by another process|is being served: replica"):
        await copy_store(*((served, other) if role == "source" else (other, served)), SystemClock())
    await store.close()


async def test_reports_under_way_of_a_killed_replica_stop_the_copy(postgres: PostgresServer, new_url: NewUrl) -> None:
    url = await new_url("postgresql")
    store = await opened(url)
    await store.accept(firing("a1"))
    await store.claim("default", 1)
    await store.close()
    with pytest.raises(StoreRefused, match="1 reports under way"):
        await copy_store(url, await new_url("sqlite"), SystemClock())


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
async def test_that_a_claimed_report_may_have_been_sent_travels(
    postgres: PostgresServer, new_url: NewUrl, source: str, target: str
) -> None:
    source_url, target_url = await new_url(source), await new_url(target)
    store = await opened(source_url)
    await store.accept(firing("a1"))
    await store.claim("default", 1)
    await store.close()
    if source == "postgresql":
        async with postgres.admin(source_url) as connection:
            await connection.execute("UPDATE alarm SET due = now(), lease_until = now()")
    await copy_store(source_url, target_url, SystemClock())
    store = await opened(target_url)
    await store.accept(firing("a2"))
    assert [claim.maybe_sent for claim in (await store.claim("default", 2)).claims] == [True, False]
    await store.close()


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_a_target_that_holds_something_is_refused(new_url: NewUrl, backend: str) -> None:
    urls = [await new_url("sqlite"), await new_url(backend)]
    for url in urls:
        store = await opened(url)
        await store.accept(firing("a1"))
        await store.close()
    with pytest.raises(StoreRefused, match="not empty"):
        await copy_store(*urls, SystemClock())


async def test_a_source_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="does not exist"):
        await copy_store(f"sqlite:{tmp_path}/none.db", f"sqlite:{tmp_path}/other.db", SystemClock())
    assert list(tmp_path.iterdir()) == []


async def test_memory_is_nothing_to_copy(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="memory"):
        await copy_store("memory:", f"sqlite:{tmp_path}/other.db", SystemClock())


async def test_a_damaged_source_is_refused_and_nothing_is_kept(tmp_path: Path, new_url: NewUrl) -> None:
    source, target = await new_url("sqlite"), await new_url("sqlite")
    store = await opened(source)
    await store.accept(firing("a1"))
    await store.close()
    with closing(sqlite3.connect(source.removeprefix("sqlite:"))) as connection:
        connection.execute("UPDATE report SET raw = x'00'")
        connection.commit()
    with pytest.raises(StoreRefused, match="damaged; start the adapter on it once"):
        await copy_store(source, target, SystemClock())
    store = await opened(target)
    assert await store.alarms(AlarmQuery()) == []
    await store.close()


async def test_sqlite_is_copied_to_sqlite_without_the_extra_for_postgresql(tmp_path: Path) -> None:
    source, target = f"sqlite:{tmp_path}/a/adapter.db", f"sqlite:{tmp_path}/b/adapter.db"
    store = await open_store(source, backlog=10, clock=SystemClock())
    await store.accept(firing("a1"))
    await store.close()
    code = "import sys; sys.modules['asyncpg'] = None; from adapter.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "store", "copy", f"--from={source}"]
    copied = subprocess.run([*command, f"--to={target}"], capture_output=True, text=True, timeout=60)
    assert (copied.returncode, copied.stderr) == (0, "")
    refused = subprocess.run([*command, "--to=postgresql://nowhere/x"], capture_output=True, text=True, timeout=60)
    assert refused.returncode != 0
    assert "needs asyncpg" in refused.stderr


@pytest.mark.parametrize("name", ["a dotted path", "a link", "a hard link", "a linked folder"])
async def test_the_source_by_another_name_is_refused_as_the_same_store(tmp_path: Path, name: str) -> None:
    source, other = tmp_path / "a" / "store.db", tmp_path / "other"
    store = await opened(f"sqlite:{source}")
    await store.accept(firing("a1"))
    await store.close()
    if name == "a link":
        other.symlink_to(source)
    elif name == "a hard link":
        other.hardlink_to(source)
    elif name == "a linked folder":
        other.symlink_to(source.parent)
        other /= "store.db"
    else:
        other = tmp_path / "a" / ".." / "a" / "store.db"
    with pytest.raises(StoreRefused, match="same store, by another name or a link"):
        await copy_store(f"sqlite:{source}", f"sqlite:{other}", SystemClock())


async def test_one_database_by_two_urls_is_refused_as_the_same_store(new_url: NewUrl) -> None:
    url = await new_url("postgresql")
    await (await opened(url)).close()
    other = f"{url}{'&' if '?' in url else '?'}application_name=other"
    with pytest.raises(StoreRefused, match="same store, by another name"):
        await copy_store(url, other, SystemClock())


async def test_a_file_of_another_kind_is_said_to_be_one_at_either_end_and_stays_as_it_is(
    tmp_path: Path, new_url: NewUrl
) -> None:
    url, foreign = await new_url("sqlite"), tmp_path / "notes.txt"
    await (await opened(url)).close()
    foreign.write_text("what a person wrote")
    for ends, role in (((url, f"sqlite:{foreign}"), "target"), ((f"sqlite:{foreign}", url), "source")):
        with pytest.raises(StoreRefused, match=f"the {role} .*notes.txt is a file of another kind"):
            await copy_store(*ends, SystemClock())
    assert foreign.read_text() == "what a person wrote"
    assert not (tmp_path / "notes.txt.lock").exists()


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
async def test_refreshes_wait_behind_news_in_the_target_too(new_url: NewUrl, source: str, target: str) -> None:
    source_url, target_url = await new_url(source), await new_url(target)
    store = await opened(source_url)
    await store.accept(firing("a1"))
    await store.settle([delivered(claim) for claim in (await store.claim("default", 1)).claims])
    await store.accept(firing("a1", revision="r2"))
    await store.accept(firing("n1", revision="r2"))
    await store.close()
    await copy_store(source_url, target_url, SystemClock())
    store = await opened(target_url)
    assert (await store.counts())["default"].refreshing == 1
    assert [claim.report.fingerprint for claim in (await store.claim("default", 9)).claims] == ["n1", "a1"]
    await store.close()
