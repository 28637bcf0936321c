"""The promises of adapter/store/contract.py, one by one, for every backend. The number in a name is the promise's."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from adapter.alarm import Kind, News, Outcome, Pause, Status
from adapter.alertmanager import Reject, unpack
from adapter.clock import SECOND
from adapter.errors import BacklogFull, StoreUnavailable
from adapter.matchers import parse_matchers
from adapter.store.contract import Claim, Claims, Intake, Pruned, Retention, Settlement, Store
from adapter.store.pruning import PruningTime
from adapter.store.views import AlarmQuery
from tests.builders import (
    DAY,
    FOREVER,
    GROUP,
    NOON,
    a_provenance,
    an_alert,
    an_attempt,
    an_intake,
    delivered,
    firing,
    resolved,
    retried,
    settled_as,
)
from tests.fakes import FakeClock
from tests.store.places import Place


async def claim_one(store: Store, integration: str = "default") -> Claim:
    claims = (await store.claim(integration, 1)).claims
    assert len(claims) == 1
    return claims[0]


async def drain(store: Store, outcome: Outcome = Outcome.DELIVERED) -> list[tuple[str, Kind]]:
    """Settle what is due until nothing is. Returns what left, in order."""
    left = []
    while claims := (await store.claim("default", 100)).claims:
        left += [(claim.report.fingerprint, claim.report.kind) for claim in claims]
        settle = delivered if outcome is Outcome.DELIVERED else lambda claim: settled_as(claim, outcome)
        await store.settle([settle(claim) for claim in claims])
    return left


async def a_dead_letter(store: Store, intake: Intake) -> int:
    await store.accept(intake)
    claim = await claim_one(store)
    await store.settle([settled_as(claim, Outcome.DEAD)])
    return claim.report.seq


# 1. Durable


async def test_1_what_was_accepted_survives_a_crash(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1", "a2"))
    store = await durable.crash(store)
    assert await drain(store) == [("a1", Kind.ALARM), ("a2", Kind.ALARM)]


async def test_1_what_was_settled_is_not_delivered_again_after_a_crash(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1", "a2"))
    await store.settle([delivered(await claim_one(store))])
    store = await durable.crash(store)
    assert await drain(store) == [("a2", Kind.ALARM)]


async def test_1_the_raw_alert_comes_back_byte_for_byte_what_it_was(durable: Place) -> None:
    store = await durable.open()
    alert = an_alert(labels={"a\0b": "\u4e2d\n\ud7ff\U0001f600", "items": '"{{ x }}'}, annotations={"": "\x01"})
    await store.accept(an_intake(alert))
    store = await durable.crash(store)
    found, group = unpack((await claim_one(store)).report.raw)
    assert (found["labels"], found["annotations"]) == (alert.labels, alert.annotations)
    assert group["externalURL"] == GROUP.externalURL


async def test_1_a_refused_webhook_leaves_nothing_behind(place: Place) -> None:
    store = await place.open(backlog=1)
    with pytest.raises(BacklogFull):
        await store.accept(firing("a1", "a2"))
    assert await store.alarms(AlarmQuery()) == []
    assert (await store.claim("default", 10)).claims == ()


async def test_1_an_alarm_and_what_coc_has_of_it_survive_an_orderly_restart(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1"))
    await store.settle([delivered(await claim_one(store), at=NOON + SECOND)])
    await store.close()
    store = await durable.open()
    row = (await store.alarms(AlarmQuery()))[0]
    assert row.alarm.last_accepted_at == NOON + SECOND
    assert row.accepted is not None
    assert row.accepted.status == "alarm"
    assert (await store.accept(firing("a1"))).news == {News.REPEAT: 1, News.REJECTED: 0}


# 2. One transaction


async def test_2_the_alarm_and_its_report_are_there_together(store: Store) -> None:
    receipt = await store.accept(firing("a1"))
    row = (await store.alarms(AlarmQuery()))[0]
    assert (row.alarm.status, row.alarm.pending, row.alarm.episode) == (Status.FIRING, 1, 1)
    assert receipt.owed == (("a1", Kind.ALARM),)
    assert [found.report.kind for found in await store.trail("default", "a1")] == [Kind.ALARM]


# 3. Lifecycle inside


async def test_3_the_life_of_an_alarm(store: Store) -> None:
    steps = [firing("a1"), firing("a1"), firing("a1", text="worse"), resolved("a1"), resolved("a1"), firing("a1")]
    owed = [(await store.accept(step)).owed for step in steps]
    assert [[kind for _, kind in step] for step in owed] == [
        [Kind.ALARM], [], [Kind.UPDATE], [Kind.OK], [], [Kind.ALARM],
    ]  # fmt: skip


async def test_3_an_alert_twice_in_a_webhook_is_looked_at_twice(store: Store) -> None:
    receipt = await store.accept(an_intake(an_alert(), an_alert(status="resolved"), an_alert("a2")))
    assert receipt.owed == (("a1", Kind.ALARM), ("a1", Kind.OK), ("a2", Kind.ALARM))
    assert (receipt.pending, receipt.open_alarms) == (3, 1)


async def test_3_the_same_webhook_many_times_at_once_is_news_once(store: Store) -> None:
    receipts = await asyncio.gather(*(store.accept(firing("a1", "a2")) for _ in range(20)))
    assert sum(len(receipt.owed) for receipt in receipts) == 2


async def test_3_integrations_know_nothing_of_each_other(store: Store) -> None:
    await store.accept(firing("a1", integration="one"))
    assert (await store.accept(firing("a1", integration="two"))).owed == (("a1", Kind.ALARM),)
    assert (await claim_one(store, "two")).report.integration == "two"
    assert (await store.claim("three", 10)).claims == ()


async def test_3_a_large_webhook_is_one_step(store: Store) -> None:
    names = [f"a{n}" for n in range(321)]
    receipt = await store.accept(firing(*names))
    assert (len(receipt.owed), receipt.pending, receipt.open_alarms) == (321, 321, 321)
    assert [name for name, _ in receipt.owed] == names
    assert (await store.accept(firing(*names))).owed == ()


async def test_3_a_refresh_is_owed_when_coc_accepted_a_report_long_ago(store: Store) -> None:
    await store.accept(firing("a1"))
    await drain(store)
    assert (await store.accept(firing("a1", refresh=DAY, received=NOON + DAY - 1))).owed == ()
    assert (await store.accept(firing("a1", refresh=DAY, received=NOON + DAY))).owed == (("a1", Kind.REFRESH),)


# 4. In order


async def test_4_reports_of_an_alarm_leave_one_at_a_time_in_order(store: Store) -> None:
    for step in (firing("a1"), resolved("a1"), firing("a1"), resolved("a1")):
        await store.accept(step)
    kinds = []
    for _ in range(4):
        claim = await claim_one(store)
        assert (await store.claim("default", 10)).claims == ()
        kinds.append((claim.report.episode, claim.report.kind))
        await store.settle([delivered(claim)])
    assert kinds == [(1, Kind.ALARM), (1, Kind.OK), (2, Kind.ALARM), (2, Kind.OK)]


async def test_4_nothing_passes_a_report_that_waits_for_its_delay(place: Place, store: Store) -> None:
    await store.accept(firing("a1"))
    await store.accept(resolved("a1"))
    await store.settle([retried(await claim_one(store), delay=30)])
    waiting = await store.claim("default", 10)
    assert waiting.claims == ()
    assert waiting.next_due == pytest.approx(30, abs=5)
    await place.advance(store, 31)
    assert (await claim_one(store)).report.kind is Kind.ALARM


async def test_4_a_report_that_waits_is_given_out_early_when_asked_for(store: Store) -> None:
    await store.accept(firing("a1"))
    await store.settle([retried(await claim_one(store), delay=600)])
    early = await store.claim("default", 10, ignore_delay=True)
    assert [claim.report.fingerprint for claim in early.claims] == ["a1"]
    assert (await store.claim("default", 10, ignore_delay=True)).claims == ()


async def test_4_each_claim_is_of_another_alarm_longest_due_first(place: Place, store: Store) -> None:
    for name in ("a1", "a2", "a3"):
        await store.accept(firing(name))
        await store.accept(resolved(name))
        await place.advance(store, 1)
    first = await store.claim("default", 2)
    rest = await store.claim("default", 10)
    assert [claim.report.fingerprint for claim in first.claims + rest.claims] == ["a1", "a2", "a3"]
    assert (first.next_due, rest.next_due) == (None, None)


async def test_4_a_flapping_alarm_keeps_its_place_in_the_line(place: Place, store: Store) -> None:
    await store.accept(firing("a1"))
    await drain(store)
    await store.accept(firing("a1", text="1"))
    await place.advance(store, 1)
    await store.accept(firing("a2"))
    await place.advance(store, 1)
    await store.accept(firing("a1", text="2"))
    assert [claim.report.fingerprint for claim in (await store.claim("default", 2)).claims] == ["a1", "a2"]


async def test_4_an_untried_update_is_replaced_by_a_newer_one(store: Store) -> None:
    await store.accept(firing("a1"))
    await drain(store)
    await store.accept(firing("a1", text="1"))
    receipt = await store.accept(firing("a1", text="2"))
    assert (receipt.superseded, receipt.pending, receipt.owed) == (1, 1, (("a1", Kind.UPDATE),))
    claim = await claim_one(store)
    assert unpack(claim.report.raw)[0]["annotations"] == {"summary": "2"}
    assert claim.earlier is Outcome.DELIVERED
    outcomes = [row.outcome for row in await store.trail("default", "a1")]
    assert outcomes == [None, Outcome.SUPERSEDED, Outcome.DELIVERED]


async def test_4_two_updates_in_one_webhook_leave_one(store: Store) -> None:
    await store.accept(firing("a1"))
    receipt = await store.accept(an_intake(an_alert(text="1"), an_alert(text="2")))
    assert (receipt.superseded, receipt.pending) == (1, 2)
    assert await drain(store) == [("a1", Kind.ALARM), ("a1", Kind.UPDATE)]


async def test_4_an_update_behind_its_alarm_is_replaced_and_the_alarm_stays(store: Store) -> None:
    for text in ("", "1", "2", "3"):
        await store.accept(firing("a1", text=text))
    assert await drain(store) == [("a1", Kind.ALARM), ("a1", Kind.UPDATE)]


async def test_4_an_update_that_was_tried_or_is_claimed_is_not_replaced(place: Place, store: Store) -> None:
    await store.accept(firing("a1"))
    await drain(store)
    await store.accept(firing("a1", text="1"))
    claim = await claim_one(store)
    assert (await store.accept(firing("a1", text="2"))).superseded == 0
    await store.settle([retried(claim, delay=1)])
    await place.advance(store, 2)
    await store.accept(firing("a1", text="3"))
    kinds = []
    while claims := (await store.claim("default", 1)).claims:
        kinds.append(unpack(claims[0].report.raw)[0]["annotations"]["summary"])
        await store.settle([delivered(claims[0])])
    assert kinds == ["1", "3"]


async def test_4_an_ok_is_never_replaced(store: Store) -> None:
    for step in (firing("a1"), resolved("a1"), firing("a1"), firing("a1", text="1"), resolved("a1")):
        assert (await store.accept(step)).superseded == 0
    assert [kind for _, kind in await drain(store)] == [Kind.ALARM, Kind.OK, Kind.ALARM, Kind.UPDATE, Kind.OK]


# 5. Free repeats


async def test_5_a_repeat_is_counted_and_shown_without_being_written_first(store: Store) -> None:
    await store.accept(firing("a1"))
    for n in range(1, 4):
        receipt = await store.accept(firing("a1", received=NOON + n))
        assert (receipt.webhook, receipt.owed, receipt.news) == (0, (), {News.REPEAT: 1, News.REJECTED: 0})
    await store.maintain(NOON, FOREVER)
    row = (await store.alarms(AlarmQuery()))[0]
    assert (row.repeats, row.last_seen, row.first_seen) == (3, NOON + 3, NOON)


async def test_5_a_change_after_a_repeat_is_when_the_alarm_was_last_seen(store: Store) -> None:
    await store.accept(firing("a1"))
    await store.accept(firing("a1", received=NOON + 1))
    await store.accept(firing("a1", text="1", received=NOON + 2))
    for _ in range(2):
        row = (await store.alarms(AlarmQuery()))[0]
        assert (row.repeats, row.last_seen) == (1, NOON + 2)
        await store.maintain(NOON, FOREVER)


async def test_5_repeats_are_written_when_the_store_is_closed(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1"))
    await store.accept(firing("a1", received=NOON + 7))
    await store.close()
    row = (await (await durable.open()).alarms(AlarmQuery()))[0]
    assert (row.repeats, row.last_seen) == (1, NOON + 7)


async def test_5_a_stale_resolve_is_counted_on_its_alarm(store: Store) -> None:
    await store.accept(firing("a1"))
    receipt = await store.accept(an_intake(an_alert(status="resolved", ends=NOON - 1)))
    assert receipt.news[News.STALE] == 1
    await store.maintain(NOON, FOREVER)
    row = (await store.alarms(AlarmQuery()))[0]
    assert (row.stale, row.repeats, row.alarm.status) == (1, 0, Status.FIRING)


async def test_5_a_newer_start_of_a_repeat_is_remembered(store: Store) -> None:
    await store.accept(firing("a1"))
    await store.accept(an_intake(an_alert(starts=NOON + 9)))
    receipt = await store.accept(an_intake(an_alert(status="resolved", ends=NOON + 8)))
    assert receipt.news[News.STALE] == 1


# 6. Nothing claimed is lost


async def test_6_what_was_claimed_at_a_crash_is_given_out_again(place: Place, store: Store) -> None:
    await store.accept(firing("a1", "a2"))
    await store.claim("default", 1)
    store = await place.crash(store)
    assert sorted(await drain(store)) == [("a1", Kind.ALARM), ("a2", Kind.ALARM)]


async def test_6_what_was_claimed_at_a_crash_may_have_been_sent_and_so_may_its_ok(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1"))
    assert not (await claim_one(store)).maybe_sent
    store = await durable.crash(store)
    again = await claim_one(store)
    assert again.maybe_sent
    await store.settle([settled_as(again, Outcome.DROPPED)])
    await store.accept(resolved("a1"))
    ok = await claim_one(store)
    assert (ok.report.kind, ok.earlier, ok.maybe_sent) == (Kind.OK, Outcome.DROPPED, True)


async def test_6_maybe_sent_outlives_a_second_crash_and_an_orderly_end(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1"))
    await claim_one(store)
    store = await durable.crash(await durable.crash(store))
    await store.settle([settled_as(await claim_one(store), Outcome.DEAD)])
    await store.close()
    store = await durable.open()
    await store.accept(resolved("a1"))
    assert (await claim_one(store)).maybe_sent


async def test_6_what_comes_after_a_crash_was_not_sent(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1"))
    await claim_one(store)
    store = await durable.crash(store)
    await store.accept(firing("a2"))
    assert [claim.maybe_sent for claim in (await store.claim("default", 2)).claims] == [True, False]


async def test_6_after_an_orderly_end_nothing_may_have_been_sent(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1", "a2"))
    await store.settle([Settlement(claim=claim, at=NOON) for claim in (await store.claim("default", 1)).claims])
    await store.close()
    store = await durable.open()
    assert [claim.maybe_sent for claim in (await store.claim("default", 2)).claims] == [False, False]


async def test_6_an_acceptance_after_a_crash_ends_maybe_sent(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1"))
    await claim_one(store)
    store = await durable.crash(store)
    await store.settle([delivered(await claim_one(store))])
    await store.accept(firing("a1", text="1"))
    assert not (await claim_one(store)).maybe_sent


async def test_6_what_replaces_an_update_that_was_claimed_at_a_crash_may_have_been_sent(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1"))
    await drain(store)
    await store.accept(firing("a1", text="1"))
    await claim_one(store)
    store = await durable.crash(store)
    assert (await store.accept(firing("a1", text="2"))).superseded == 1
    claim = await claim_one(store)
    assert (claim.report.kind, claim.maybe_sent) == (Kind.UPDATE, True)


async def test_6_a_delay_does_not_outlive_the_process_by_more_than_itself(place: Place, store: Store) -> None:
    await store.accept(firing("a1"))
    await store.settle([retried(await claim_one(store), delay=600)])
    store = await place.crash(store)
    await place.advance(store, 601)
    claim = await claim_one(store)
    assert claim.report.attempts == 1


async def test_6_concurrent_claims_never_share_an_alarm(store: Store) -> None:
    names = [f"a{n:03}" for n in range(60)]
    await store.accept(firing(*names))
    claims: list[Claims] = await asyncio.gather(*(store.claim("default", 7) for _ in range(12)))
    given = [claim.report.fingerprint for some in claims for claim in some.claims]
    assert sorted(given) == names


# 7. Settled once


async def test_7_a_second_settlement_does_not_count(store: Store) -> None:
    await store.accept(firing("a1"))
    claim = await claim_one(store)
    first, second = (await store.settle([delivered(claim)]))[0], (await store.settle([delivered(claim)]))[0]
    assert (first.counted, first.pending) == (True, 0)
    assert (second.counted, second.reasserted, second.pending) == (False, False, 0)


async def test_7_a_settlement_that_does_not_count_leaves_the_rest_of_its_batch_alone(store: Store) -> None:
    await store.accept(firing("a1", "a2"))
    first, second = (await store.claim("default", 2)).claims
    await store.settle([delivered(first)])
    assert [settled.counted for settled in await store.settle([delivered(first), delivered(second)])] == [False, True]
    assert (await store.counts())["default"].pending == 0


async def test_7_the_next_report_is_due_at_once(store: Store) -> None:
    await store.accept(firing("a1"))
    await store.accept(resolved("a1"))
    settled = (await store.settle([delivered(await claim_one(store))]))[0]
    assert (settled.pending, settled.open_alarms) == (1, 0)
    claim = await claim_one(store)
    assert claim.report.kind is Kind.OK
    assert (claim.earlier, claim.maybe_sent) == (Outcome.DELIVERED, False)
    assert claim.accepted is not None
    assert claim.accepted.status == "alarm"


async def test_7_the_earlier_outcome_is_that_of_the_same_episode(store: Store) -> None:
    for step in (firing("a1"), resolved("a1"), firing("a1")):
        await store.accept(step)
    alarm = await claim_one(store)
    await store.settle([settled_as(alarm, Outcome.DEAD)])
    ok = await claim_one(store)
    assert ok.earlier is Outcome.DEAD
    await store.settle([settled_as(ok, Outcome.DISCARDED)])
    assert (await claim_one(store)).earlier is None


async def test_7_maybe_sent_stays_with_its_episode(place: Place, store: Store) -> None:
    for step in (firing("a1"), resolved("a1"), firing("a1")):
        await store.accept(step)
    await store.settle([retried(await claim_one(store), delay=1, ambiguous=True)])
    await place.advance(store, 2)
    again = await claim_one(store)
    assert again.maybe_sent
    await store.settle([settled_as(again, Outcome.DEAD)])
    ok = await claim_one(store)
    assert ok.maybe_sent
    await store.settle([settled_as(ok, Outcome.DISCARDED)])
    assert not (await claim_one(store)).maybe_sent


async def test_7_an_acceptance_ends_maybe_sent_for_its_episode(store: Store) -> None:
    for step in (firing("a1"), firing("a1", text="1"), firing("a1", text="2"), resolved("a1")):
        await store.accept(step)
    alarm = await claim_one(store)
    await store.settle([retried(alarm, delay=0, ambiguous=True)])
    again = await claim_one(store)
    await store.settle([delivered(again)])
    update = await claim_one(store)
    assert (again.maybe_sent, update.maybe_sent, update.report.kind) == (True, False, Kind.UPDATE)
    await store.settle([retried(update, delay=0, ambiguous=True)])
    assert (await claim_one(store)).maybe_sent


async def test_7_a_refusal_is_remembered(place: Place, store: Store) -> None:
    await store.accept(firing("a1"))
    claim = await claim_one(store)
    await store.settle([Settlement(claim=claim, at=NOON, attempts=(an_attempt(),), refused=True)])
    again = (await claim_one(store)).report
    assert (again.refused, again.attempts, claim.report.refused) == (True, 1, False)


async def test_7_the_last_ten_attempts_are_kept(store: Store) -> None:
    await store.accept(firing("a1"))
    for n in range(13):
        claim = await claim_one(store)
        await store.settle([retried(claim, delay=0, at=n, message=f"try {n} \u4e2d")])
    row = (await store.trail("default", "a1"))[0]
    assert [attempt.at for attempt in row.attempts] == list(range(3, 13))
    assert row.attempts[-1] == an_attempt(at=12, message="try 12 \u4e2d")
    assert row.report.attempts == 13


async def test_7_a_body_accepted_for_a_report_that_had_left_is_remembered(store: Store) -> None:
    await store.accept(firing("a1"))
    claim = await claim_one(store)
    await store.settle([settled_as(claim, Outcome.UNNEEDED)])
    settled = (await store.settle([delivered(claim)]))[0]
    assert not settled.counted
    row = (await store.alarms(AlarmQuery()))[0]
    assert row.accepted is not None


# 8. Bounded


async def test_8_what_would_pass_the_bound_is_refused_and_repeats_are_not(place: Place) -> None:
    store = await place.open(backlog=20)
    names = [f"a{n}" for n in range(20)]
    await store.accept(firing(*names))
    with pytest.raises(BacklogFull, match="backlog is full"):
        await store.accept(firing("more"))
    assert (await store.accept(firing(*names))).news[News.REPEAT] == 20


async def test_8_an_ok_of_a_firing_alarm_is_taken_until_a_tenth_over(place: Place) -> None:
    store = await place.open(backlog=20)
    await store.accept(firing(*(f"a{n}" for n in range(20))))
    await store.accept(resolved("a0"))
    with pytest.raises(BacklogFull):
        await store.accept(an_intake(an_alert("a1", "resolved"), an_alert("new")))
    with pytest.raises(BacklogFull):
        await store.accept(resolved("unknown"))
    assert (await store.accept(resolved("a1"))).pending == 22
    with pytest.raises(BacklogFull):
        await store.accept(resolved("a2"))


async def test_8_an_update_that_replaces_one_adds_nothing(place: Place) -> None:
    store = await place.open(backlog=2)
    await store.accept(firing("a1"))
    await store.accept(firing("a1", text="1"))
    assert (await store.accept(firing("a1", text="2"))).superseded == 1
    with pytest.raises(BacklogFull):
        await store.accept(firing("a2"))


async def test_8_the_bound_holds_over_all_integrations_together(place: Place) -> None:
    store = await place.open(backlog=2)
    await store.accept(firing("a1", integration="one"))
    await store.accept(firing("a1", integration="two"))
    with pytest.raises(BacklogFull):
        await store.accept(firing("a1", integration="three"))


async def test_8_there_is_room_again_when_the_backlog_has_drained(place: Place) -> None:
    store = await place.open(backlog=1)
    await store.accept(firing("a1"))
    with pytest.raises(BacklogFull):
        await store.accept(firing("a2"))
    await drain(store)
    assert (await store.accept(firing("a2"))).pending == 1


async def test_8_what_is_pending_is_never_pruned(store: Store) -> None:
    await store.accept(firing("a1", "a2"))
    await store.accept(resolved("a1"))
    await store.maintain(NOON + 10_000 * DAY, Retention(delivered=0, dead=0, resolved=0))
    assert len(await drain(store)) == 3


# 10. Counts belong to commits


async def test_10_counts_follow_every_step(store: Store) -> None:
    receipt = await store.accept(firing("a1", "a2", "a3"))
    assert (receipt.pending, receipt.open_alarms) == (3, 3)
    receipt = await store.accept(resolved("a1"))
    assert (receipt.pending, receipt.open_alarms) == (4, 2)
    settled = await store.settle([delivered(claim) for claim in (await store.claim("default", 2)).claims])
    assert [(one.pending, one.open_alarms) for one in settled] == [(3, 2), (2, 2)]
    counts = (await store.counts())["default"]
    assert (counts.pending, counts.open_alarms, counts.oldest, counts.dead) == (2, 2, NOON, 0)


async def test_10_counts_of_concurrent_steps_are_handed_out_in_commit_order(store: Store) -> None:
    seen: list[int] = []

    async def take(name: str) -> None:
        seen.append((await store.accept(firing(name))).pending)

    await asyncio.gather(*(take(f"a{n}") for n in range(30)))
    assert seen == list(range(1, 31))


async def test_10_counts_survive_a_crash(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1", "a2"))
    await a_dead_letter(store, firing("a3"))
    before = await store.counts()
    store = await durable.crash(store)
    assert await store.counts() == before


async def test_10_the_oldest_pending_report_is_known(store: Store) -> None:
    await store.accept(firing("a1"))
    await store.accept(firing("a2", received=NOON + 5))
    assert (await store.counts())["default"].oldest == NOON
    await store.settle([delivered(await claim_one(store))])
    assert (await store.counts())["default"].oldest == NOON + 5
    await drain(store)
    assert (await store.counts())["default"].oldest is None


# 11. Times


async def test_11_a_wall_clock_that_jumps_changes_no_delay(place: Place, store: Store) -> None:
    await store.accept(firing("a1", "a2"))
    await store.settle([retried(await claim_one(store), delay=60)])
    place.clock.wall += 10 * DAY
    assert [claim.report.fingerprint for claim in (await store.claim("default", 9)).claims] == ["a2"]
    place.clock.wall -= 20 * DAY
    await place.advance(store, 61)
    assert (await claim_one(store)).report.fingerprint == "a1"


async def test_11_a_wall_clock_set_back_over_a_restart_delays_nothing(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1"))
    durable.clock.wall -= 400 * DAY
    store = await durable.crash(store)
    assert await drain(store) == [("a1", Kind.ALARM)]


# 12. Closed


async def test_12_after_close_every_call_is_refused(store: Store) -> None:
    await store.accept(firing("a1"))
    claim = await claim_one(store)
    await store.close()
    await store.close()
    calls = [
        lambda: store.accept(firing("a2")),
        lambda: store.reject("default", NOON, []),
        lambda: store.claim("default", 1),
        lambda: store.settle([delivered(claim)]),
        store.pauses,
        lambda: store.set_pause("default", None),
        store.counts,
        lambda: store.alarms(AlarmQuery()),
        lambda: store.trail("default", "a1"),
        lambda: store.dead_letters(None, 0, 1),
        lambda: store.replay([1], as_sent=False),
        lambda: store.discard([1]),
        lambda: store.rejects(0, 1),
        lambda: store.recent(1),
        lambda: store.reports([1]),
        lambda: store.maintain(NOON, FOREVER),
        store.directories_fetched,
        lambda: store.directory("default"),
        lambda: store.keep_directory("default", NOON, b"[]"),
        store.probe,
        store.size,
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await call()


async def test_12_close_waits_for_commits_under_way(durable: Place) -> None:
    store = await durable.open()
    under_way = [asyncio.ensure_future(store.accept(firing(f"a{n}"))) for n in range(50)]
    await asyncio.sleep(0)
    await store.close()
    accepted = [task for task in under_way if (await asyncio.wait([task])) and task.exception() is None]
    store = await durable.open()
    assert len(await drain(store)) == len(accepted) == 50


# What delivery and operators need besides


# 13. Directories


async def test_13_a_directory_is_kept_whole_for_each_integration(store: Store) -> None:
    assert await store.directories_fetched() == {}
    assert await store.directory("default") is None
    await store.keep_directory("default", NOON, b'[["a","old"]]')
    await store.keep_directory("other", NOON, b"[]")
    await store.keep_directory("default", NOON + SECOND, b'[["b","\\u0000 new"]]')
    assert await store.directories_fetched() == {"default": NOON + SECOND, "other": NOON}
    assert await store.directory("default") == b'[["b","\\u0000 new"]]'
    assert await store.directory("other") == b"[]"


async def test_13_a_directory_survives_a_crash(durable: Place) -> None:
    store = await durable.open()
    await store.keep_directory("default", NOON, b"[]" * 1_000_000)
    store = await durable.crash(store)
    assert await store.directory("default") == b"[]" * 1_000_000


async def test_pauses_survive_a_crash_and_are_lifted(durable: Place) -> None:
    store = await durable.open()
    pause = Pause(reason="credentials", since=NOON, by="adapter", detail="401")
    await store.set_pause("default", pause)
    await store.set_pause("other", pause)
    store = await durable.crash(store)
    await store.set_pause("other", None)
    assert await store.pauses() == {"default": pause}


async def test_only_a_person_changes_an_operators_pause(store: Store) -> None:
    person = Pause(reason="operator", since=NOON, by="kim")
    ours = Pause(reason="credentials", since=NOON, by="adapter", detail="401")
    assert await store.set_pause("default", ours, automatic=True) == ours
    assert await store.set_pause("default", None, automatic=True) is None
    assert await store.set_pause("default", person) == person
    assert await store.set_pause("default", ours, automatic=True) == person
    assert await store.set_pause("default", None, automatic=True) == person
    assert await store.pauses() == {"default": person}
    assert await store.set_pause("default", ours) == ours
    assert await store.set_pause("default", None) is None
    assert await store.pauses() == {}


async def test_rejects_are_kept_with_and_without_a_webhook(store: Store) -> None:
    await store.reject("default", NOON, [Reject(reason="not JSON", head=b"\xff\0")])
    receipt = await store.accept(firing("a1", rejects=(Reject(reason="a list", head=b"[]"),)))
    assert (receipt.news[News.REJECTED], receipt.news[News.NEWS]) == (1, 1)
    rows = await store.rejects(0, 10)
    assert [(row.reason, row.head, row.received) for row in rows] == [
        ("not JSON", b"\xff\0", NOON),
        ("a list", b"[]", NOON),
    ]
    assert [row.reason for row in await store.rejects(rows[0].id, 10)] == ["a list"]


async def test_rejects_are_bounded(store: Store) -> None:
    for n in range(3):
        await store.reject("default", NOON, [Reject(reason=f"{n}", head=b"")] * 900)
    rows = await store.rejects(0, 5000)
    assert 900 <= len(rows) <= 1000
    assert rows[-1].reason == "2"


async def test_the_trail_tells_what_was_made_and_who_sent_it(store: Store) -> None:
    await store.accept(firing("a1", "a2"))
    await store.settle([delivered(claim, at=NOON + 5) for claim in (await store.claim("default", 1)).claims])
    row = (await store.trail("default", "a1"))[0]
    assert (row.outcome, row.done, row.provenance, row.due_in) == (Outcome.DELIVERED, NOON + 5, a_provenance(), None)
    assert row.sender == {"receiver": "coc", "externalURL": GROUP.externalURL, "alerts": 2}
    waiting = (await store.trail("default", "a2"))[0]
    assert (waiting.outcome, waiting.done, waiting.provenance, waiting.attempts) == (None, 0, None, ())
    assert waiting.due_in is not None
    assert waiting.due_in <= 0
    assert await store.trail("default", "unknown") == []


async def test_the_newest_report_of_each_alarm_is_found_among_the_last_ones(store: Store) -> None:
    await store.accept(firing("a1", "a2", "a3"))
    await store.settle([delivered(claim, at=NOON + 5) for claim in (await store.claim("default", 2)).claims])
    await store.accept(firing("a2", integration="other"))
    await store.accept(resolved("a1"))
    rows = await store.recent(10)
    assert [(row.integration, row.fingerprint, row.status) for row in rows] == [
        ("default", "a1", Status.RESOLVED),
        ("other", "a2", Status.FIRING),
        ("default", "a3", Status.FIRING),
        ("default", "a2", Status.FIRING),
    ]
    made = next(row for row in rows if (row.integration, row.fingerprint) == ("default", "a2"))
    assert (made.rule, made.rendered, made.fell_back) == (a_provenance().rule, True, bool(a_provenance().fallbacks))
    assert (rows[0].rule, rows[0].rendered, rows[0].fell_back) == (None, False, False)
    assert rows[0].labels["alertname"] == "a1"
    assert [row.fingerprint for row in await store.recent(1)] == ["a1"]
    assert [row.seq for row in rows] == sorted((row.seq for row in rows), reverse=True)


async def test_reports_are_read_by_seq(store: Store) -> None:
    await store.accept(firing("a1", "a2", "a3"))
    first, second, _ = sorted(row.seq for row in await store.recent(10))
    found = await store.reports([second, first, 999])
    assert [(row.report.seq, row.report.fingerprint) for row in found] == [(first, "a1"), (second, "a2")]
    assert unpack(found[0].report.raw)[0]["labels"]["alertname"] == "a1"
    assert await store.reports([]) == []


async def test_alarms_are_found_by_every_criterion(store: Store) -> None:
    await store.accept(an_intake(an_alert("a1", labels={"pod": "API-1", "e": "Stra\u00dfe"})))
    await store.accept(an_intake(an_alert("b2", "resolved", labels={"pod": "db"}), integration="other"))

    async def found(**criteria: object) -> list[str]:
        return [row.alarm.fingerprint for row in await store.alarms(AlarmQuery(**criteria))]  # type: ignore[arg-type]

    assert await found() == ["a1", "b2"]
    assert await found(integration="other") == ["b2"]
    assert await found(status=Status.FIRING) == ["a1"]
    assert await found(fingerprint="b2") == ["b2"]
    assert await found(text="api") == ["a1"]
    assert await found(text="STRASSE") == ["a1"]
    assert await found(text="pod") == []
    assert await found(text="B2") == ["b2"]
    assert await found(matchers=parse_matchers(["pod=db"])) == ["b2"]
    assert await found(matchers=parse_matchers(["pod=~d.", "e="])) == ["b2"]
    assert await found(limit=1) == ["a1"]
    first = (await store.alarms(AlarmQuery(limit=1)))[0]
    assert await found(after=first.id) == ["b2"]


# Dead letters


async def test_a_dead_letter_waits_for_a_person(store: Store) -> None:
    seq = await a_dead_letter(store, firing("a1"))
    other = await a_dead_letter(store, firing("a2"))
    assert (await store.counts())["default"].dead == 2
    letters = await store.dead_letters("default", 0, 10)
    assert [row.report.seq for row in letters] == [seq, other]
    assert [row.report.seq for row in await store.dead_letters(None, seq, 10)] == [other]
    assert await store.dead_letters("other", 0, 10) == []


async def test_a_discarded_dead_letter_leaves_the_list_and_stays_dead(store: Store) -> None:
    seq = await a_dead_letter(store, firing("a1"))
    assert await store.discard([seq, 999]) == [seq]
    assert await store.discard([seq]) == []
    assert await store.dead_letters(None, 0, 10) == []
    assert (await store.trail("default", "a1"))[0].outcome is Outcome.DEAD
    assert (await store.counts())["default"].dead == 0


async def test_a_replayed_dead_letter_is_owed_again_as_a_new_report(store: Store) -> None:
    seq = await a_dead_letter(store, firing("a1"))
    assert await store.replay([seq, 999], as_sent=False) == {seq: (Kind.ALARM,)}
    assert await store.replay([seq], as_sent=False) == {}
    report = (await claim_one(store)).report
    assert report.seq > seq
    assert (report.kind, report.body, report.attempts, report.refused, report.webhook) == (
        Kind.ALARM, None, 0, False, 0,
    )  # fmt: skip
    assert [row.replayed for row in await store.trail("default", "a1")] == [False, True]
    counts = (await store.counts())["default"]
    assert (counts.pending, counts.dead) == (1, 0)


async def test_a_dead_letter_is_replayed_as_it_was_sent(store: Store) -> None:
    seq = await a_dead_letter(store, firing("a1"))
    await store.replay([seq], as_sent=True)
    assert (await claim_one(store)).report.body == a_provenance().body


async def test_a_replayed_alarm_is_followed_by_the_ok_that_was_discarded_for_it(store: Store) -> None:
    seq = await a_dead_letter(store, firing("a1"))
    await store.accept(resolved("a1"))
    await drain(store, Outcome.DISCARDED)
    assert await store.replay([seq], as_sent=True) == {seq: (Kind.ALARM, Kind.REASSERT)}
    alarm = await claim_one(store)
    await store.settle([delivered(alarm)])
    again = (await claim_one(store)).report
    assert (again.kind, unpack(again.raw)[0]["status"], again.body) == (Kind.REASSERT, "resolved", None)
    assert again.episode == 1


async def test_a_replayed_report_goes_behind_what_waits_and_that_is_said_again(store: Store) -> None:
    seq = await a_dead_letter(store, firing("a1"))
    await store.accept(resolved("a1"))
    await store.replay([seq], as_sent=False)
    assert [kind for _, kind in await drain(store)] == [Kind.OK, Kind.ALARM, Kind.REASSERT]


async def test_dead_letters_of_one_alarm_are_replayed_in_their_order(store: Store) -> None:
    first = await a_dead_letter(store, firing("a1"))
    second = await a_dead_letter(store, resolved("a1"))
    assert await store.replay([second, first], as_sent=False) == {first: (Kind.ALARM,), second: (Kind.OK,)}
    assert [kind for _, kind in await drain(store)] == [Kind.ALARM, Kind.OK]


# Retention


async def test_what_is_done_is_pruned_after_its_retention(store: Store) -> None:
    retention = Retention(delivered=7 * DAY, dead=90 * DAY, resolved=30 * DAY)
    await a_dead_letter(store, firing("dead"))
    await store.accept(firing("open", "gone"))
    await store.accept(resolved("gone"))
    await drain(store)

    assert not any(await store.maintain(NOON + 7 * DAY, retention))
    assert len(await store.trail("default", "gone")) == 2
    pruned = await store.maintain(NOON + 7 * DAY + 1, retention)
    assert pruned == Pruned(reports=3, dead_letters=0, alarms=0, webhooks=3, rejects=0)
    assert await store.trail("default", "gone") == []
    assert len(await store.alarms(AlarmQuery())) == 3

    assert (await store.maintain(NOON + 31 * DAY, retention)).alarms == 1
    assert [row.alarm.fingerprint for row in await store.alarms(AlarmQuery())] == ["dead", "open"]
    assert len(await store.dead_letters(None, 0, 10)) == 1

    assert (await store.maintain(NOON + 91 * DAY, retention)).dead_letters == 1
    assert await store.dead_letters(None, 0, 10) == []
    assert (await store.counts())["default"].dead == 0


@pytest.mark.parametrize("right", [0, 120])
async def test_a_clock_far_ahead_for_two_minutes_prunes_nothing(store: Store, right: int) -> None:
    """`right`: minutes from the start of the service to the jump; 0 when the clock was wrong at the start."""
    retention, clock = Retention(delivered=7 * DAY, dead=90 * DAY, resolved=30 * DAY), FakeClock()
    await a_dead_letter(store, firing("dead"))
    pruned = []
    if not right:
        clock.wall += 400 * DAY
    time = PruningTime(clock)
    for minute in range(600):
        if minute == right and right:
            clock.wall += 400 * DAY
        if minute == right + 2:
            clock.wall -= 400 * DAY
        pruned.append(await store.maintain(time.now(), retention))
        assert (time.jumped == 400 * DAY) == (minute == right > 0)
        clock.pass_time(60)
    assert not any(map(any, pruned))
    clock.pass_time(91 * 86_400)
    assert (await store.maintain(time.now(), retention)).dead_letters == 1


async def test_a_resolved_alarm_stays_as_long_as_its_dead_letter(store: Store) -> None:
    retention = Retention(delivered=DAY, dead=90 * DAY, resolved=DAY)
    await store.accept(firing("a1"))
    await store.settle([settled_as(await claim_one(store), Outcome.DEAD)])
    await store.accept(resolved("a1"))
    await drain(store, Outcome.DISCARDED)
    await store.maintain(NOON + 30 * DAY, retention)
    assert [row.report.fingerprint for row in await store.dead_letters(None, 0, 10)] == ["a1"]
    assert len(await store.alarms(AlarmQuery())) == 1
    await store.maintain(NOON + 91 * DAY, retention)
    assert await store.alarms(AlarmQuery()) == []


async def test_ids_are_not_used_again_after_pruning(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1"))
    claim = await claim_one(store)
    await store.settle([delivered(claim)])
    await store.maintain(NOON + DAY, Retention(delivered=0, dead=0, resolved=0))
    await store.close()
    store = await durable.open()
    await store.accept(resolved("a1"))
    assert (await claim_one(store)).report.seq > claim.report.seq


async def test_a_store_can_say_how_it_is(store: Store) -> None:
    await store.probe()
    assert await store.size() >= 0
    assert {"backend", "place", "warnings"} <= set(store.describe())


async def test_rejects_are_read_newest_first_and_by_integration(store: Store) -> None:
    for number in range(5):
        await store.reject("dba" if number % 2 else "default", NOON, [Reject(reason=str(number), head=b"x")])
    newest = await store.rejects(0, 2, before=2**62)
    assert [row.reason for row in newest] == ["4", "3"]
    assert [row.reason for row in await store.rejects(0, 10, before=newest[-1].id)] == ["2", "1", "0"]
    assert [row.reason for row in await store.rejects(0, 10, integration="dba")] == ["1", "3"]
    assert [row.reason for row in await store.rejects(0, 10, integration="dba", before=2**62)] == ["3", "1"]


async def test_refusals_are_the_last_answers_about_dead_letters(store: Store) -> None:
    attempts = [an_attempt(reason="refused", status=400, code=f"COC.{number}", message="no") for number in (1, 2)]
    await store.accept(firing("a1", "a2", "a3"))
    claims = {claim.report.fingerprint: claim for claim in (await store.claim("default", 3)).claims}
    for name, some in (("a1", attempts), ("a2", attempts[:1]), ("a3", ())):
        await store.settle([replace(settled_as(claims[name], Outcome.DEAD, NOON + 1), attempts=tuple(some))])
    refusals = await store.refusals("default", 0, 10)
    assert [(one.status, one.code, one.message, one.at) for one in refusals] == [
        (400, "COC.2", "no", NOON + 1), (400, "COC.1", "no", NOON + 1), (0, "", "", NOON + 1),
    ]  # fmt: skip
    assert len({one.alarm for one in refusals}) == 3
    assert await store.refusals(None, refusals[0].seq, 1) == refusals[1:2]
    assert await store.refusals("dba", 0, 10) == []
    await store.discard([refusals[0].seq])
    assert await store.refusals(None, 0, 10) == refusals[1:]


async def test_a_trail_goes_on_before_the_last_report_of_a_page(store: Store) -> None:
    for number in range(3):
        await store.accept(firing("a1", text=str(number)))
        await store.settle([delivered(await claim_one(store))])
    seqs = [row.report.seq for row in await store.trail("default", "a1")]
    assert len(seqs) == 3
    assert [row.report.seq for row in await store.trail("default", "a1", 2)] == seqs[:2]
    assert [row.report.seq for row in await store.trail("default", "a1", 2, seqs[1])] == seqs[2:]
