"""Alerts that share a fingerprint and not their labels are counted, in each store."""

from __future__ import annotations

from adapter.store.contract import Store
from adapter.store.views import AlarmQuery
from tests.builders import an_alert, an_intake, firing, resolved


async def conflicts(store: Store) -> int:
    (row,) = await store.alarms(AlarmQuery())
    return row.conflicts


async def test_other_labels_under_a_known_fingerprint_are_counted_whatever_they_say(store: Store) -> None:
    other = {"alertname": "other", "namespace": "shop"}
    assert (await store.accept(firing("a1"))).conflicts == 0
    assert (await store.accept(an_intake(an_alert("a1", labels=other)))).conflicts == 1
    assert (await store.accept(resolved("a1"))).conflicts == 1
    assert (await store.accept(resolved("a1"))).conflicts == 0
    assert await conflicts(store) == 2


async def test_two_of_them_in_one_webhook_are_counted(store: Store) -> None:
    other = an_alert("a1", labels={"alertname": "other"})
    assert (await store.accept(an_intake(an_alert("a1"), other))).conflicts == 1
    assert (await store.accept(an_intake(an_alert("a1"), other))).conflicts == 2
    assert await conflicts(store) == 3


async def test_labels_in_another_order_and_changed_annotations_are_none(store: Store) -> None:
    labels = an_alert("a1").labels
    await store.accept(firing("a1"))
    turned = an_alert("a1", text="worse", labels=dict(reversed(labels.items())))
    assert (await store.accept(an_intake(turned))).conflicts == 0
    assert await conflicts(store) == 0
