"""A store of version 0.1.0 is taken over with all it holds: what waits, what is dead, what may have been sent."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from adapter.alarm import Kind, Outcome, Pause, Status
from adapter.alertmanager import unpack
from adapter.clock import SECOND
from adapter.store.contract import Retention, Store
from adapter.store.views import AlarmQuery
from tests.builders import DAY, NOON, a_provenance, an_alert, an_attempt, an_intake, delivered, firing, resolved
from tests.store.conftest import DURABLE
from tests.store.places import Place, PostgresPlace, SqlitePlace

DUMPS = Path(__file__).parent / "data"


@pytest.fixture(params=DURABLE)
async def old(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Where version 0.1.0 left a store."""
    dump = (DUMPS / f"{request.param}-0.1.0.sql").read_text(encoding="utf-8")
    if request.param == "sqlite":
        place: Place = SqlitePlace(tmp_path)
        (tmp_path / "0").mkdir()
        with closing(sqlite3.connect(tmp_path / "0" / "adapter.db")) as connection:
            connection.executescript(dump)
    else:
        server = request.getfixturevalue("postgres")
        dsn = await server.new_database()
        place = PostgresPlace(server, dsn)
        async with server.admin(dsn) as connection:
            await connection.execute(dump)
    yield place
    await place.leave()


@pytest.fixture
async def store(old: Place) -> Store:
    return await old.open()


async def test_what_was_owed_is_owed_and_what_may_have_been_sent_is_known(store: Store) -> None:
    claims = (await store.claim("default", 10)).claims
    waiting = {claim.report.fingerprint: claim for claim in claims}
    assert set(waiting) == {"ambiguous", "open", "fresh", "claimed"}
    assert waiting["ambiguous"].maybe_sent
    assert waiting["ambiguous"].report.attempts == 1
    update = waiting["open"]
    assert (update.report.kind, update.maybe_sent, update.earlier) == (Kind.UPDATE, True, Outcome.DELIVERED)
    assert unpack(update.report.raw)[0]["annotations"] == {"summary": "2"}
    assert update.accepted is not None
    assert (update.accepted.status, update.accepted.at) == ("alarm", NOON + 4 * SECOND)
    assert [claim.report.fingerprint for claim in (await store.claim("second", 10)).claims] == ["other"]
    settled = await store.settle([delivered(claim) for claim in claims])
    assert [one.counted for one in settled] == [True] * 4


async def test_alarms_go_on_where_they_were(store: Store) -> None:
    rows = {row.alarm.fingerprint: row for row in await store.alarms(AlarmQuery())}
    assert len(rows) == 9
    assert (rows["closed"].alarm.status, rows["closed"].alarm.last_accepted_at) == (
        Status.RESOLVED,
        NOON + 2 * SECOND,
    )
    assert (rows["open"].repeats, rows["open"].labels) == (1, {"alertname": "Full", "instance": "open"})
    fresh = an_alert("fresh", labels={"alertname": "Full", "instance": "fresh"}, generatorURL="")
    assert (await store.accept(an_intake(fresh))).owed == ()
    assert (await store.accept(firing("open", text="3"))).owed == (("open", Kind.UPDATE),)
    assert (await store.accept(resolved("dead"))).owed == (("dead", Kind.OK),)
    counts = (await store.counts())["default"]
    assert (counts.open_alarms, counts.dead) == (6, 1)


async def test_the_trail_of_a_report_is_kept(store: Store) -> None:
    again, dead = await store.trail("default", "replayed")
    assert (dead.outcome, dead.replayed, dead.provenance) == (Outcome.DEAD, True, a_provenance())
    assert (again.outcome, again.done, again.report.body) == (
        Outcome.DELIVERED,
        NOON + 3 * SECOND,
        a_provenance().body,
    )
    assert again.attempts == (an_attempt(reason="accepted", status=200),)
    assert [row.outcome for row in await store.trail("default", "open")] == [
        None,
        Outcome.SUPERSEDED,
        Outcome.DELIVERED,
    ]
    sender = (await store.trail("default", "closed"))[0].sender
    assert sender == {"receiver": "coc", "externalURL": "http://alertmanager.example", "alerts": 1}


async def test_a_dead_letter_waits_and_is_replayed(store: Store) -> None:
    (letter,) = await store.dead_letters(None, 0, 10)
    assert letter.report.fingerprint == "dead"
    assert await store.replay([letter.report.seq], as_sent=False) == {letter.report.seq: (Kind.ALARM,)}


async def test_pauses_and_rejects_are_kept_and_history_is_pruned(store: Store) -> None:
    assert await store.pauses() == {"second": Pause(reason="operator", since=NOON, by="kim", detail="a window")}
    (reject,) = await store.rejects(0, 10)
    assert (reject.reason, reject.head) == ("not JSON \u4e2d", b"\xff\0")
    await store.maintain(NOON + 10 * DAY, Retention(delivered=DAY, dead=DAY, resolved=DAY))
    assert await store.trail("default", "closed") == []
    assert await store.rejects(0, 10) == []
    assert len((await store.claim("default", 10)).claims) == 4
