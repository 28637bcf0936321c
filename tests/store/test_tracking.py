"""Promise 13 and what reconciling asks of a store, for every backend."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from adapter.alarm import Kind, News, Status
from adapter.clock import SystemClock
from adapter.store.contract import Expected, Intake, Store
from adapter.store.postgres.store import open_postgres
from adapter.store.views import AlarmQuery, AlarmRow, TrackedAlarm
from tests.builders import DAY, FOREVER, GROUP, NOON, an_alert, an_intake, firing, resolved
from tests.postgres import PostgresServer
from tests.store.places import Place


def told_by(intake: Intake, origin: str, receiver: str = "coc") -> Intake:
    group = replace(GROUP, externalURL=origin, receiver=receiver)
    return replace(intake, webhook=replace(intake.webhook, group=group))


async def row_of(store: Store, name: str = "a1") -> AlarmRow:
    (row,) = await store.alarms(AlarmQuery(fingerprint=name))
    return row


async def open_alarms(store: Store) -> list[TrackedAlarm]:
    return await store.tracked("default", Status.FIRING, 0, 100)


async def test_13_a_close_that_was_expected_so_is_taken_and_remembered(store: Store) -> None:
    await store.accept(firing("a1"))
    close = resolved("a1", received=NOON + 10, expected={"a1": Expected(1, NOON + 1)})
    assert (await store.accept(close)).owed == (("a1", Kind.OK),)
    (closed,) = await store.tracked("default", Status.RESOLVED, 0, 10)
    assert (closed.fingerprint, closed.reconciled) == ("a1", NOON + 10)
    assert await open_alarms(store) == []


async def test_13_an_alarm_seen_meanwhile_is_left_alone(store: Store) -> None:
    await store.accept(firing("a1"))
    await store.accept(firing("a1", received=NOON + 5))  # a repeat, which no store has written yet
    receipt = await store.accept(resolved("a1", received=NOON + 10, expected={"a1": Expected(1, NOON + 5)}))
    assert (receipt.owed, receipt.news.get(News.NEWS, 0), receipt.open_alarms) == ((), 0, 1)


async def test_13_another_episode_is_left_alone(store: Store) -> None:
    for intake in (firing("a1"), resolved("a1"), firing("a1")):
        await store.accept(intake)
    assert not (await store.accept(resolved("a1", expected={"a1": Expected(1, NOON + 1)}))).owed
    assert (await store.accept(resolved("a1", expected={"a1": Expected(2, NOON + 1)}))).owed


async def test_13_an_alarm_expected_to_be_unknown_is_taken_once(store: Store) -> None:
    adopt = firing("a1", expected={"a1": Expected(0, NOON + 1)})
    receipts = await asyncio.gather(*(store.accept(adopt) for _ in range(5)))
    assert [owed for receipt in receipts for owed in receipt.owed] == [("a1", Kind.ALARM)]


async def test_13_of_a_mixed_intake_only_what_is_as_expected_is_taken(store: Store) -> None:
    await store.accept(firing("a1", "a2", "a3"))
    await store.accept(firing("a2", received=NOON + 9))
    expected = {name: Expected(1, NOON + 1) for name in ("a1", "a2", "a3")}
    receipt = await store.accept(resolved("a1", "a2", "a3", received=NOON + 10, expected=expected))
    assert receipt.owed == (("a1", Kind.OK), ("a3", Kind.OK))


async def test_13_a_webhook_at_the_same_moment_goes_first(store: Store) -> None:
    await store.accept(firing("a1"))
    close = resolved("a1", received=NOON + 10, expected={"a1": Expected(1, NOON + 1)})
    await asyncio.gather(store.accept(firing("a1", received=NOON + 2)), store.accept(close))
    assert (await row_of(store)).alarm.status is Status.FIRING


async def test_a_webhook_with_news_says_where_an_alarm_comes_from(store: Store) -> None:
    await store.accept(told_by(firing("a1"), "http://a", "r\\.1"))
    await store.accept(told_by(firing("a1"), "http://b"))  # a repeat
    alarm = (await row_of(store)).alarm
    assert (alarm.origin, alarm.receiver) == ("http://a", "r\\.1")
    await store.accept(told_by(firing("a1", text="worse"), "http://b"))
    assert (await row_of(store)).alarm.origin == "http://b"


async def test_a_repeat_fills_an_empty_origin_and_owes_nothing(store: Store) -> None:
    await store.accept(told_by(firing("a1"), "", "coc"))
    assert (await store.accept(told_by(firing("a1"), "http://a", "other"))).owed == ()
    alarm = (await row_of(store)).alarm
    assert (alarm.origin, alarm.receiver) == ("http://a", "other")


async def test_a_new_episode_is_not_closed_by_reconciling(store: Store) -> None:
    await store.accept(firing("a1"))
    await store.accept(resolved("a1", expected={"a1": Expected(1, NOON + 1)}))
    await store.accept(firing("a1"))
    await store.accept(resolved("a1"))
    assert await store.tracked("default", Status.RESOLVED, 0, 10) == []


async def test_open_alarms_come_in_pages_with_when_they_were_last_seen(store: Store) -> None:
    await store.accept(firing("a1", "a2", "a3"))
    await store.accept(resolved("a2"))
    await store.accept(firing("a9", integration="other"))
    await store.accept(firing("a3", received=NOON + 7))
    first = await store.tracked("default", Status.FIRING, 0, 1)
    rest = await store.tracked("default", Status.FIRING, first[0].id, 10)
    assert [(row.fingerprint, row.last_seen, row.pending) for row in first + rest] == [
        ("a1", NOON, 1),
        ("a3", NOON + 7, 1),
    ]
    assert rest[0].origin == GROUP.externalURL
    known = await store.known("default", ["a2", "a3", "nobody"])
    assert {name: row.episode for name, row in known.items()} == {"a2": 1, "a3": 1}
    assert await store.known("default", []) == {}


async def test_open_alarms_of_which_nobody_spoke_are_found_and_counted(store: Store) -> None:
    await store.accept(firing("a1", "a2", "a3"))
    await store.accept(resolved("a3"))
    await store.accept(firing("a2", received=NOON + DAY))
    since = NOON + DAY
    assert [row.alarm.fingerprint for row in await store.alarms(AlarmQuery(unseen_since=since))] == ["a1"]
    await store.maintain(NOON, FOREVER)
    assert await store.unseen(since) == {"default": 1}
    assert await store.unseen(NOON) == {}


async def test_origin_receiver_and_closing_survive_a_restart(durable: Place) -> None:
    store = await durable.open()
    await store.accept(an_intake(an_alert(labels={"a": "\0"})))
    await store.accept(told_by(firing("a2"), "http://a\0", "r\\0"))
    await store.accept(resolved("a1", expected={"a1": Expected(1, NOON + 1)}))
    store = await durable.restart(store)
    assert [(row.origin, row.receiver) for row in await open_alarms(store)] == [("http://a\0", "r\\0")]
    assert [row.reconciled for row in await store.tracked("default", Status.RESOLVED, 0, 10)] == [NOON]


async def test_one_replica_leads_and_another_takes_over_when_it_is_silent(postgres: PostgresServer) -> None:
    dsn = await postgres.new_database()
    names = ("first", "second")
    first, second = [await open_postgres(dsn, backlog=9, clock=SystemClock(), replica=name) for name in names]
    assert await first.lead("reconcile main", 0.3) == "first"
    assert await second.lead("reconcile main", 0.3) == "first"
    assert await second.lead("reconcile other", 0.3) == "second"
    await asyncio.sleep(0.35)
    assert await second.lead("reconcile main", 60.0) == "second"
    assert await first.lead("reconcile main", 60.0) == "second"
    await second.close()
    assert await first.lead("reconcile main", 60.0) == "first"
    await first.close()
