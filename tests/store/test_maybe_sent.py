"""Every store together with `decide`: what COC may have taken unnoticed is corrected by the next report."""

from __future__ import annotations

from pydantic_core import from_json, to_json

from adapter.alarm import Accepted, Kind, Outcome
from adapter.delivery.decide import decide, request_for
from adapter.mapping.render.body import fallback
from adapter.mapping.render.request import Contract, Reason
from adapter.store.contract import Claim, Settlement, Store
from tests.builders import NOON, firing, resolved, retried, settled_as
from tests.store.places import Place


async def claimed(store: Store) -> Claim:
    (claim,) = (await store.claim("default", 1)).claims
    return claim


def decided(claim: Claim, *, dropped: bool = False, level: str = "Major") -> Outcome | dict[str, object]:
    """With a mapping that drops everything, or gives everything this level."""
    request = request_for(claim, Contract())
    rendered = fallback(request, "r1", Reason.NO_RULE)
    json = None if dropped or rendered.body is None else to_json(rendered.body | {"alarmLevel": level})
    decision = decide(claim, request, rendered._replace(dropped=dropped, json=json))
    return decision if isinstance(decision, Outcome) else from_json(decision)


async def test_the_ok_of_an_alarm_that_was_under_way_at_a_crash_is_sent_though_a_rule_drops_both(
    durable: Place,
) -> None:
    store = await durable.open()
    await store.accept(firing("a1"))
    await claimed(store)
    store = await durable.crash(store)
    alarm = await claimed(store)
    assert decided(alarm, dropped=True) is Outcome.DROPPED
    await store.settle([settled_as(alarm, Outcome.DROPPED)])
    await store.accept(resolved("a1"))
    ok = decided(await claimed(store), dropped=True)
    assert isinstance(ok, dict)
    assert ok["alarmStatus"] == "ok"


async def test_an_update_whose_answer_was_lost_is_never_unneeded_until_one_is_accepted(store: Store) -> None:
    for step in (firing("a1"), firing("a1", text="1")):
        await store.accept(step)
    for kind in (Kind.ALARM, Kind.UPDATE):
        claim = await claimed(store)
        if kind is Kind.UPDATE:
            await store.settle([retried(claim, delay=0, ambiguous=True)])
            claim = await claimed(store)
        body = decided(claim)
        assert isinstance(body, dict), kind
        accepted = Accepted(body=to_json(body), status="alarm", at=NOON, episode=claim.report.episode)
        await store.settle([Settlement(claim=claim, at=NOON, outcome=Outcome.DELIVERED, accepted=accepted)])
    await store.accept(firing("a1", text="2"))
    assert decided(await claimed(store)) is Outcome.UNNEEDED
