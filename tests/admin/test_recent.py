"""Which of the alerts that came lately are given first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapter.admin.recent import Wanted, recent_reports, varied
from adapter.alarm import Status
from adapter.clock import SystemClock
from adapter.store import open_store
from adapter.store.contract import Store
from adapter.store.views import RecentRow
from tests.builders import an_alert, an_intake, delivered, firing, resolved


def a_row(seq: int, rule: str | None, name: str) -> RecentRow:
    return RecentRow(seq, "default", f"f{seq}", Status.FIRING, {"alertname": name}, rule, rule is not None, False)


def test_each_rule_comes_once_then_each_alertname_before_any_twice() -> None:
    rows = [a_row(9, "a", "x"), a_row(8, "a", "y"), a_row(7, "a", "x"), a_row(6, "b", "z"), a_row(5, None, "w")]
    assert [row.seq for row in varied(rows)] == [9, 6, 5, 8, 7]


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from("xyz")), max_size=40))
def test_no_alert_is_lost_and_the_first_ones_cover_every_rule(pairs: list[tuple[str | None, str]]) -> None:
    rows = [a_row(-number, rule, name) for number, (rule, name) in enumerate(pairs)]
    found = varied(rows)
    assert sorted(found) == sorted(rows)
    rules = {row.rule for row in rows}
    assert {row.rule for row in found[: len(rules)]} == rules
    covered = [row for row in found if row.labels["alertname"] not in {r.labels["alertname"] for r in found[:6]}]
    assert not covered, "three rules without one, and three alertnames"


async def a_store() -> Store:
    store = await open_store("memory:", backlog=1000, integrations={}, clock=SystemClock())
    await store.accept(an_intake(an_alert("a1", labels={"alertname": "Pod", "pod": "Straße"})))
    await store.settle([delivered(claim) for claim in (await store.claim("default", 9)).claims])
    await store.accept(firing("a2", "a3", integration="other"))
    await store.accept(resolved("a1"))
    return store


async def test_filters_are_of_the_newest_report_of_each_alarm() -> None:
    store = await a_store()

    async def names(**wanted: object) -> list[str]:
        rows = await recent_reports(store, Wanted(**{"limit": 10, **wanted}))  # type: ignore[arg-type]
        return sorted(row.report.fingerprint for row in rows)

    assert await names() == ["a1", "a2", "a3"]
    assert await names(status=Status.RESOLVED) == ["a1"]
    assert await names(integration="other") == ["a2", "a3"]
    assert await names(text="A2") == ["a2"]
    assert await names(rule="-") == [], "those that wait were not rendered yet"
    assert await names(fell_back=True) == []
    assert len(await names(limit=2)) == 2
    assert await names(limit=0) == []
    await store.close()
