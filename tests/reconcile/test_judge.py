"""The judge against a model that knows the whole history and asks of it what the specification says."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.clock import SECOND
from adapter.reconcile.cluster import Mode, Rules
from adapter.reconcile.judge import (
    Candidate,
    Facts,
    Judgement,
    Key,
    Memory,
    State,
    conclude,
    look,
    receivers_of,
    to_look_for,
    unlisted,
)
from adapter.reconcile.snapshot import Listed
from adapter.reconcile.snapshot import State as Firing
from adapter.store.views import TrackedAlarm
from tests.builders import NOON, START

OWN, OTHER = ("coc",), ("elsewhere",)
ORIGIN = "http://am:9093"
RULES = Rules(
    mode=Mode.CLOSE,
    absent_polls=3,
    grace=30 * SECOND,
    settle=0,
    max_close=2,
    adopt_after=60 * SECOND,
    refresh_interval=0,
)
ACTIVE = Listed(Firing.ACTIVE, OWN, START)
SUPPRESSED = Listed(Firing.SUPPRESSED, OWN, START, ("silence",))
MOVED = Listed(Firing.ACTIVE, OTHER, START)


def tracked(name: str, **changes: object) -> TrackedAlarm:
    fields = {
        "id": 1,
        "fingerprint": name,
        "episode": 1,
        "starts": NOON,
        "ends": 0,
        "last_accepted_at": NOON,
        "pending": 0,
        "origin": ORIGIN,
        "receiver": "coc",
        "reconciled": 0,
        "last_seen": NOON,
    }
    return TrackedAlarm(**(fields | changes))  # type: ignore[arg-type]


def facts(seconds: float, listed: dict[str, Listed], *alarms: TrackedAlarm, **changes: object) -> Facts:
    """A snapshot so long after noon; `closed` are known alarms that are not open."""
    fields = {
        "at": NOON + round(seconds * SECOND),
        "steady": seconds,
        "listed": listed,
        "open": {"default": list(alarms)},
        "closed": {"default": {}},
        "receivers": {"default": frozenset({"coc"})},
        "origins": frozenset({ORIGIN}),
    }
    return Facts(**(fields | changes))  # type: ignore[arg-type]


def lacked(polls: int, *alarms: TrackedAlarm, every: float = 20.0, rules: Rules = RULES) -> Judgement:
    """The judgement after so many snapshots that list nothing, from a minute after noon on."""
    memory = Memory()
    for number in range(polls):
        judged = look(memory, facts(60 + number * every, {}, *alarms), rules)
        memory = judged.memory
    return judged


def names(candidates: object) -> list[str]:
    return [one.key.fingerprint for one in candidates]  # type: ignore[attr-defined]


@dataclass
class Past:
    """One step of a history."""

    at: int  # seconds after noon
    kind: str  # valid, invalid, webhook, paused
    listed: dict[str, Listed]


def gone_by_history(history: list[Past], alarm: TrackedAlarm) -> bool:
    """What the specification asks: N valid snapshots in a row without it, over `grace`, and no webhook for `grace`."""
    row: list[Past] = []
    for step in reversed(history):
        item = step.listed.get(alarm.fingerprint)
        if step.kind == "webhook" and alarm.fingerprint in step.listed:
            break
        if step.kind in ("invalid", "paused") or (step.kind == "valid" and item and item.receivers == OWN):
            break
        if step.kind == "valid":
            row.append(step)
    now = history[-1].at
    quiet = now - (alarm.last_seen - NOON) // SECOND >= 30
    return len(row) >= 3 and now - row[-1].at >= 30 and quiet and not alarm.pending


items = st.sampled_from([None, None, None, ACTIVE, SUPPRESSED, MOVED])
steps = st.tuples(
    st.integers(1, 25),
    st.sampled_from(["valid"] * 8 + ["invalid", "webhook", "paused"]),
    st.fixed_dictionaries({"a1": items, "a2": items}),
)


@settings(max_examples=400)
@given(st.lists(steps, min_size=3, max_size=25), st.integers(0, 1))
def test_an_alarm_is_a_candidate_when_and_only_when_the_history_says_so(
    script: list[tuple[int, str, dict[str, Listed | None]]], pending: int
) -> None:
    alarms = {"a1": tracked("a1", id=1), "a2": tracked("a2", id=2, pending=pending)}
    memory, history, now = Memory(), [], 0
    for seconds, kind, listing in script:
        now += seconds
        listed = {name: item for name, item in listing.items() if item is not None}
        history.append(Past(now, kind, listed))
        if kind == "webhook":
            alarms = {
                name: alarm._replace(last_seen=NOON + now * SECOND) if name in listed else alarm
                for name, alarm in alarms.items()
            }
        elif kind == "invalid":
            memory = Memory()
        else:
            quiet = frozenset({"default"} if kind == "paused" else ())
            judged = look(memory, facts(now, listed, *alarms.values(), quiet=quiet), RULES)
            memory = judged.memory
            due = {name for name, alarm in alarms.items() if kind == "valid" and gone_by_history(history, alarm)}
            assert set(names(judged.candidates)) == due


@given(
    st.integers(0, 12),
    st.integers(1, 6),
    st.integers(0, 12),
    st.lists(st.sampled_from([True, False, None]), max_size=12),
)
def test_no_more_than_the_bound_is_closed_and_what_is_over_it_is_held(
    vanished: int, most: int, others: int, answers: list[bool | None]
) -> None:
    rules = replace(RULES, max_close=most)
    alarms = [tracked(f"a{number:02}", id=number) for number in range(vanished)]
    present = [tracked(f"b{number:02}", id=100 + number) for number in range(others)]
    memory = Memory()
    for number in range(3):
        listed = {alarm.fingerprint: ACTIVE for alarm in present}
        judged = look(memory, facts(60 + 20 * number, listed, *alarms, *present), rules)
        memory = judged.memory
    looked_for = to_look_for(judged, rules, frozenset())
    assert len(looked_for) <= most
    found = {one.key: answer for one, answer in zip(looked_for, answers + [False] * vanished, strict=False)}
    conclusion = conclude(judged, found, rules, frozenset())
    waiting = vanished - sum(answer is not False for answer in found.values())
    if waiting > most and waiting > 0.2 * (vanished + others):
        assert (len(conclusion.held), conclusion.close) == (waiting, [])
    else:
        assert conclusion.held == []
        assert names(conclusion.close) == [key.fingerprint for key, answer in found.items() if answer is False]
    assert sum(conclusion.states["default"].values()) == vanished + others


def test_an_alarm_is_gone_after_n_polls_over_the_grace_and_not_before() -> None:
    assert [names(lacked(polls, tracked("a1")).candidates) for polls in (1, 2, 3)] == [[], [], ["a1"]]
    assert names(lacked(3, tracked("a1"), every=10.0).candidates) == []
    assert names(lacked(4, tracked("a1"), every=10.0).candidates) == ["a1"]


def test_a_clock_that_jumps_ahead_closes_nothing() -> None:
    memory = Memory()
    for number in range(3):
        jumped = facts(60 + number, {}, tracked("a1"), at=NOON + 86_400 * number * SECOND)
        judged = look(memory, jumped, RULES)
        memory = judged.memory
    assert names(judged.candidates) == []


@pytest.mark.parametrize("item", [ACTIVE, SUPPRESSED])
def test_presence_of_any_kind_starts_the_count_again(item: Listed) -> None:
    judged = lacked(2, tracked("a1"))
    judged = look(judged.memory, facts(100, {"a1": item}, tracked("a1")), RULES)
    assert judged.memory.absent == {}


def test_a_door_that_refused_webhooks_waits_for_the_grace() -> None:
    memory = lacked(2, tracked("a1")).memory
    refused = facts(100, {}, tracked("a1"), refused_at=NOON + 90 * SECOND)
    assert names(look(memory, refused, RULES).candidates) == []
    assert names(look(memory, replace(refused, refused_at=NOON), RULES).candidates) == ["a1"]


def test_of_another_origin_nothing_is_judged() -> None:
    judged = lacked(5, tracked("a1", origin="http://b"), tracked("a2", origin=""))
    conclusion = conclude(judged, {}, RULES, frozenset())
    assert conclusion.states["default"] == {State.FOREIGN: 2}
    assert judged.in_scope == 0


def test_an_alarm_listed_under_others_alone_is_unrouted_and_closed_only_where_wanted() -> None:
    for rules, closed in ((RULES, []), (replace(RULES, close_unrouted=True), ["a1"])):
        memory = Memory()
        for number in range(3):
            judged = look(memory, facts(60 + 20 * number, {"a1": MOVED}, tracked("a1")), rules)
            memory = judged.memory
        conclusion = conclude(judged, {Key("default", "a1"): True}, rules, frozenset())
        assert names(conclusion.close) == closed
        assert conclusion.states["default"][State.UNROUTED] == 1


def test_an_unanswered_second_look_starts_the_count_again() -> None:
    judged = lacked(3, tracked("a1"))
    conclusion = conclude(judged, {Key("default", "a1"): None}, RULES, frozenset())
    assert (conclusion.close, conclusion.memory.absent) == ([], {})


def test_those_that_waited_longest_are_looked_for_first() -> None:
    judged = lacked(3, *(tracked(f"a{number}", id=number) for number in range(4)))
    first = to_look_for(judged, RULES, frozenset())
    memory = conclude(judged, {one.key: True for one in first}, RULES, frozenset()).memory
    alarms = [tracked(f"a{number}", id=number) for number in range(4)]
    second = to_look_for(look(memory, facts(120, {}, *alarms), RULES), RULES, frozenset())
    assert {*names(first), *names(second)} == {"a0", "a1", "a2", "a3"}


def test_a_held_list_is_let_through_whole_and_no_other() -> None:
    alarms = [tracked(f"a{number}", id=number) for number in range(5)]
    judged = lacked(3, *alarms)
    held = conclude(judged, {}, RULES, frozenset()).held
    assert len(held) == 5
    approved = frozenset(one.key for one in held[:4])
    found: dict[Key, bool | None] = {one.key: False for one in to_look_for(judged, RULES, approved)}
    conclusion = conclude(judged, found, RULES, approved)
    assert set(names(conclusion.close)) >= {key.fingerprint for key in approved}
    assert conclusion.held == []


def test_observe_closes_and_holds_nothing() -> None:
    rules = replace(RULES, mode=Mode.OBSERVE)
    judged = lacked(3, *(tracked(f"a{number}", id=number) for number in range(5)))
    conclusion = conclude(judged, {one.key: False for one in judged.candidates}, rules, frozenset())
    assert (conclusion.close, conclusion.held) == ([], [])


def missing_after(polls: int, item: Listed, known: TrackedAlarm | None = None, seconds: float = 3600) -> Judgement:
    memory = Memory()
    closed = {"default": {"a1": known} if known else {}}
    for number in range(polls):
        judged = look(memory, facts(seconds + number, {"a1": item}, closed=closed), RULES)
        memory = judged.memory
    return judged


def test_an_alert_is_missing_after_n_polls_and_not_while_it_is_young_silenced_or_not_ours() -> None:
    assert [len(missing_after(polls, ACTIVE).suspects) for polls in (2, 3)] == [0, 1]
    assert not missing_after(3, ACTIVE, seconds=10).suspects
    assert not missing_after(5, SUPPRESSED).suspects
    assert not missing_after(5, MOVED).suspects


def test_an_alert_that_fired_again_after_its_alarm_was_resolved_is_missing_with_its_episode() -> None:
    resolved = tracked("a1", episode=4, ends=NOON - SECOND)
    assert [one.episode for one in missing_after(3, ACTIVE, resolved).suspects] == [4]
    assert not missing_after(3, ACTIVE, tracked("a1", ends=NOON + SECOND)).suspects


def test_what_reconciling_closed_and_fires_still_is_a_mistake_at_the_first_snapshot() -> None:
    closed = tracked("a1", ends=NOON + SECOND, reconciled=NOON + 2 * SECOND)
    assert names(missing_after(1, ACTIVE, closed).mistakes) == ["a1"]
    fired_later = tracked("a1", ends=NOON - SECOND, reconciled=NOON)
    assert not missing_after(1, ACTIVE, fired_later).mistakes
    assert not missing_after(1, SUPPRESSED, closed).mistakes


def test_a_refresh_is_due_by_what_coc_accepted_last() -> None:
    rules = replace(RULES, refresh_interval=60 * SECOND)

    def due(item: Listed, seconds: float, **changes: object) -> int:
        return len(look(Memory(), facts(seconds, {"a1": item}, tracked("a1", **changes)), rules).due)

    assert (due(ACTIVE, 59), due(ACTIVE, 60), due(SUPPRESSED, 60)) == (0, 1, 0)
    assert (due(ACTIVE, 60, pending=1), due(ACTIVE, 60, last_accepted_at=0)) == (0, 0)


def test_receivers_are_those_of_the_webhooks_unquoted() -> None:
    alarms = [tracked("a1", receiver=r"team\.coc/a\+b"), tracked("a2", receiver="other", origin="http://b")]
    assert receivers_of(alarms, frozenset({ORIGIN})) == {"team.coc/a+b"}
    assert list(unlisted({"a1": ACTIVE, "a9": ACTIVE, "a8": MOVED}, alarms, frozenset({"coc"}))) == ["a9"]


def test_candidates_name_what_they_are_about() -> None:
    (one,) = lacked(3, tracked("a1")).candidates
    assert isinstance(one, Candidate)
    assert (one.absence.polls, one.absence.since) == (3, NOON + 60 * SECOND)
