"""Metrics are complete from the start, closed, lawful at any moment, and described by docs/metrics.md."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from adapter.alarm import Kind, News, Outcome
from adapter.alertmanager import Reject
from adapter.application import Lookup
from adapter.coc.fields import BY_NAME
from adapter.coc.verdict import Reason
from adapter.delivery.contract import Observer
from adapter.mapping.render.request import Reason as FallbackReason
from adapter.metrics import (
    BACKENDS,
    BREAKER_STATES,
    CODES,
    FETCHES,
    FIELDS,
    KINDS,
    OTHER,
    PAUSES,
    REFUSALS,
    STATUSES,
    Metrics,
)
from adapter.reconcile.judge import Act, State
from adapter.reconcile.snapshot import Result
from adapter.server import access
from adapter.store.contract import Receipt, Settled, Settlement
from adapter.store.memory import MemoryStore
from adapter.store.views import Counts, Provenance
from tests.builders import NOON, a_webhook, an_alert, an_intake, delivered, firing, retried, settled_as
from tests.chart.rule_files import ALERTS, DASHBOARD, METRICS_PAGE, ROOT, RUNBOOKS, mentioned, promtool, sample_names
from tests.fakes import FakeClock
from tests.needs import needs

CLOSED = {
    ("webhooks", "code"): CODES,
    ("alerts_received", "status"): STATUSES,
    ("alerts", "outcome"): tuple(News),
    ("reports", "outcome"): tuple(Outcome),
    ("reports_enqueued", "kind"): KINDS,
    ("coc_requests", "reason"): tuple(Reason),
    ("mapping_fallbacks", "field"): FIELDS,
    ("mapping_fallbacks", "reason"): tuple(FallbackReason),
    ("clipped_fields", "field"): FIELDS,
    ("integration_paused", "reason"): PAUSES,
    ("breaker_state", "state"): BREAKER_STATES,
    ("store_info", "backend"): BACKENDS,
    ("access_refused", "reason"): REFUSALS,
    ("applications_lookups", "result"): tuple(Lookup),
    ("applications_fetches", "result"): FETCHES,
    ("reconcile_polls", "result"): tuple(Result),
    ("reconcile_alarms", "state"): tuple(State),
    ("reconcile_acts", "act"): tuple(Act),
}
"""Every label but `integration` and `alertmanager`, and those that tell a version or a revision."""


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = [sample.value for sample in samples(metrics, name) if sample.labels == labels]
    assert found, f"no series coc_adapter_{name}{labels}"
    return found[0]


def total(metrics: Metrics, name: str, **labels: str) -> float:
    """The sum over every label not given."""
    return sum(sample.value for sample in samples(metrics, name) if labels.items() <= sample.labels.items())


def samples(metrics: Metrics, name: str) -> list[Sample]:
    restricted = metrics.registry.restricted_registry([f"coc_adapter_{name}"])
    return [sample for family in restricted.collect() for sample in family.samples]


def openmetrics(metrics: Metrics) -> str:
    text: bytes = generate_openmetrics(metrics.registry)  # type: ignore[no-untyped-call]
    return text.decode()


def series(registry: CollectorRegistry) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    for family in registry.collect():
        for sample in family.samples:
            yield sample.name, tuple(sorted(sample.labels.items()))


def unaccounted(metrics: Metrics, integration: str) -> float:
    settled = total(metrics, "reports_total", integration=integration)
    owed = total(metrics, "reports_enqueued_total", integration=integration)
    return owed - settled - value(metrics, "reports_pending", integration=integration)


async def use(metrics: Metrics, store: MemoryStore, *names: str, integration: str = "default") -> None:
    """Webhooks with these alerts, each delivered, and everything else once."""
    intake = firing(*names, integration=integration)
    metrics.webhook_accepted(integration, intake.webhook, await store.accept(intake))
    metrics.webhook_answered(integration, 200, 0.002)
    claims = (await store.claim(integration, 1000)).claims
    settlements = [delivered(claim, NOON + 70_000) for claim in claims]
    for settlement, settled in zip(settlements, await store.settle(settlements), strict=True):
        metrics.coc_answered(integration, Reason.ACCEPTED, 0.03)
        metrics.report_settled(settlement, settled)
    metrics.rendered(len(claims), 0.001)
    metrics.backlog(await store.counts())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics(clock: FakeClock) -> Metrics:
    return Metrics(["default", "second"], clock=clock, alertmanagers=["main"])


@pytest.fixture
def store(clock: FakeClock) -> MemoryStore:
    return MemoryStore(backlog=1_000_000, clock=clock)


# Complete, closed, at zero


def test_promtool_finds_nothing_wrong_with_a_fresh_scrape(metrics: Metrics) -> None:
    promtool(needs("promtool"), "check", "metrics", text=generate_latest(metrics.registry).decode())


async def test_promtool_finds_nothing_wrong_with_a_used_one(metrics: Metrics, store: MemoryStore) -> None:
    metrics.reloaded(True, "4f2a")
    metrics.paused("default", "credentials")
    await use(metrics, store, "a", "b")
    promtool(needs("promtool"), "check", "metrics", text=generate_latest(metrics.registry).decode())


@pytest.mark.parametrize(("family", "label"), CLOSED, ids=lambda part: part)
def test_a_label_has_each_of_its_values_from_the_start_and_no_other(metrics: Metrics, family: str, label: str) -> None:
    found = {
        sample.labels[label]
        for each in metrics.registry.collect()
        if each.name == f"coc_adapter_{family}"
        for sample in each.samples
    }
    assert found == set(CLOSED[family, label])


def test_no_other_label_is_left_open(metrics: Metrics) -> None:
    metrics.reloaded(True, "4f2a")
    open_labels = {
        (family.name.removeprefix("coc_adapter_"), label)
        for family in metrics.registry.collect()
        if family.name.startswith("coc_adapter_")
        for sample in family.samples
        for label in sample.labels.keys() - {"le", "integration", "alertmanager"}
    } - CLOSED.keys()
    assert open_labels == {
        ("build_info", "version"),
        ("build_info", "pythonversion"),
        ("mapping_revision_info", "revision"),
    }


def test_everything_is_there_for_each_integration_and_counters_stand_at_zero(metrics: Metrics) -> None:
    by_integration = {
        sample.name: set[str]()
        for family in metrics.registry.collect()
        for sample in family.samples
        if "integration" in sample.labels
    }
    for family in metrics.registry.collect():
        for sample in family.samples:
            if "integration" in sample.labels:
                by_integration[sample.name].add(sample.labels["integration"])
            if family.type == "counter" and family.name.startswith("coc_adapter_"):
                assert sample.value == 0
    assert by_integration.pop("coc_adapter_webhooks_total") == {"default", "second", "unknown"}
    assert set(map(frozenset, by_integration.values())) == {frozenset({"default", "second"})}


def test_created_series_are_off(metrics: Metrics) -> None:
    assert "_created" not in generate_latest(metrics.registry).decode()


def test_two_live_side_by_side() -> None:
    one, other = Metrics(["a"]), Metrics(["a"])
    one.webhook_answered("a", 200, 0.01)
    assert value(one, "webhooks_total", integration="a", code="200") == 1
    assert value(other, "webhooks_total", integration="a", code="200") == 0


def test_the_label_values_are_those_of_the_packages_that_count() -> None:
    assert set(REFUSALS) == {*access.REFUSALS, OTHER}
    assert set(BREAKER_STATES) == set(get_args(get_type_hints(Observer.breaker)["state"]))
    assert {name for name, field in BY_NAME.items() if not field.own} < set(FIELDS)


async def test_no_alert_makes_a_series(metrics: Metrics, store: MemoryStore) -> None:
    await use(metrics, store, "first")
    await store.accept(firing("second"))
    claim = (await store.claim("default", 1)).claims[0]
    settled = Settled(counted=True, reasserted=False, pending=0, open_alarms=0)
    before = set(series(metrics.registry))
    for batch in range(100):
        names = [f"alert{batch}x{number}" for number in range(1000)]
        owed = tuple((name, Kind.ALARM) for name in names)
        receipt = Receipt(webhook=1, news={News.NEWS: 1000}, owed=owed, superseded=0, pending=1000, open_alarms=1000)
        metrics.webhook_accepted("default", a_webhook(*map(an_alert, names)), receipt)
        for name in names:
            report = replace(claim.report, fingerprint=name, coc_alarm_id=name)
            metrics.report_settled(delivered(replace(claim, report=report)), settled)
    assert set(series(metrics.registry)) == before
    assert total(metrics, "reports_total", outcome="delivered") == 100_001


# The law


COUNTED = [Outcome.DELIVERED, Outcome.UNNEEDED, Outcome.DEAD, Outcome.DISCARDED, Outcome.DROPPED]
STEPS = st.one_of(
    st.tuples(st.just("alert"), st.sampled_from("abc"), st.sampled_from(["firing", "resolved"]), st.integers(0, 2)),
    st.tuples(st.just("settle"), st.sampled_from([None, *COUNTED]), st.integers(1, 3)),
    st.tuples(st.just("twice")),
    st.tuples(st.just("replay")),
    st.tuples(st.just("restart")),
)


async def settle(metrics: Metrics, store: MemoryStore, settlements: list[Settlement]) -> None:
    for settlement, settled in zip(settlements, await store.settle(settlements), strict=True):
        metrics.report_settled(settlement, settled)


async def step(metrics: Metrics, store: MemoryStore, what: str, *how: Any) -> None:
    if what == "alert":
        name, status, text = how
        intake = an_intake(an_alert(name, status, text=str(text)))
        metrics.webhook_accepted("default", intake.webhook, await store.accept(intake))
    elif what == "settle":
        outcome, limit = how
        claims = (await store.claim("default", limit)).claims
        results = {None: lambda claim: retried(claim, 0.0), Outcome.DELIVERED: delivered}
        result = results.get(outcome, lambda claim: settled_as(claim, outcome))
        await settle(metrics, store, [result(claim) for claim in claims])
    elif what == "twice":
        for claim in (await store.claim("default", 1)).claims:
            await settle(metrics, store, [delivered(claim)])
            await settle(metrics, store, [delivered(claim)])
    else:
        dead = [row.report.seq for row in await store.dead_letters("default", 0, 10)]
        kinds = [kind for owed in (await store.replay(dead, as_sent=False)).values() for kind in owed]
        if kinds:
            metrics.replayed("default", kinds)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_the_law_holds_after_every_step_and_over_every_restart(steps: list[tuple[Any, ...]]) -> None:
    async def run() -> None:
        clock = FakeClock()
        store, metrics = MemoryStore(backlog=1000, clock=clock), Metrics(["default"], clock=clock)
        for what, *how in steps:
            if what == "restart":
                store.restart(killed=True)
                metrics = Metrics(["default"], clock=clock)
                for name, counts in (await store.counts()).items():
                    metrics.carried(name, counts)
            else:
                await step(metrics, store, what, *how)
            counts = (await store.counts()).get("default", Counts(pending=0, open_alarms=0, oldest=None))
            assert unaccounted(metrics, "default") == 0
            assert value(metrics, "reports_pending", integration="default") == counts.pending
            assert value(metrics, "open_alarms", integration="default") == counts.open_alarms

    asyncio.run(run())


# What each event does


def test_a_webhook_is_counted_under_its_answer_and_a_strange_path_under_unknown(metrics: Metrics) -> None:
    metrics.webhook_answered("default", 200, 0.004)
    metrics.webhook_answered("no-such-integration", 404, 0.001)
    metrics.webhook_answered("second", 418, 0.001)
    assert value(metrics, "webhooks_total", integration="default", code="200") == 1
    assert value(metrics, "webhooks_total", integration="unknown", code="404") == 1
    assert value(metrics, "webhooks_total", integration="second", code="other") == 1
    assert value(metrics, "webhook_duration_seconds_count") == 3


async def test_received_and_judged_alerts_come_to_the_same_sum(metrics: Metrics, store: MemoryStore) -> None:
    rejects = (Reject(reason="no labels", head=b"{}"),)
    for intake in (firing("a", "b"), firing("a", "b", "c"), an_intake(an_alert("a", "resolved"), rejects=rejects)):
        metrics.webhook_accepted("default", intake.webhook, await store.accept(intake))
    assert total(metrics, "alerts_received_total") == total(metrics, "alerts_total") == 7
    assert value(metrics, "alerts_received_total", integration="default", status="unusable") == 1
    assert value(metrics, "alerts_total", integration="default", outcome="rejected") == 1
    assert value(metrics, "alerts_total", integration="default", outcome="repeat") == 2
    assert value(metrics, "reports_enqueued_total", integration="default", kind="ok") == 1


async def test_truncated_alerts_are_counted(metrics: Metrics, store: MemoryStore) -> None:
    webhook = a_webhook(an_alert())
    cut = type(webhook)(group=webhook.group, truncated=15, alerts=webhook.alerts, rejects=(), rejected=0, size=1)
    metrics.webhook_accepted("default", cut, await store.accept(an_intake(an_alert())))
    assert value(metrics, "truncated_alerts_total") == 15


async def test_a_settled_report_tells_its_latency_and_what_its_mapping_did(
    metrics: Metrics, store: MemoryStore
) -> None:
    await use(metrics, store, "a")
    assert value(metrics, "delivery_latency_seconds_sum") == pytest.approx(0.07)
    assert value(metrics, "mapping_fallbacks_total", field="alarmLevel", reason="empty") == 1
    assert value(metrics, "clipped_fields_total", field="alarmDesc") == 1


async def test_a_retry_counts_neither_outcome_nor_fallback(metrics: Metrics, store: MemoryStore) -> None:
    await step(metrics, store, "alert", "a", "firing", 0)
    await step(metrics, store, "settle", None, 1)
    assert total(metrics, "reports_total") == 0
    assert total(metrics, "mapping_fallbacks_total") == 0
    assert value(metrics, "reports_pending", integration="default") == 1


async def test_an_untried_update_that_a_newer_one_replaces_is_superseded(metrics: Metrics, store: MemoryStore) -> None:
    for text in range(4):
        await step(metrics, store, "alert", "a", "firing", text)
    assert value(metrics, "reports_enqueued_total", integration="default", kind="update") == 3
    assert value(metrics, "reports_total", integration="default", outcome="superseded") == 2
    assert value(metrics, "reports_pending", integration="default") == 2
    assert unaccounted(metrics, "default") == 0


async def test_gauges_follow_each_settlement(metrics: Metrics, store: MemoryStore) -> None:
    await store.accept(firing("a"))
    claim = (await store.claim("default", 1)).claims[0]
    metrics.report_settled(delivered(claim), Settled(counted=True, reasserted=False, pending=4, open_alarms=9))
    assert value(metrics, "reports_pending", integration="default") == 4
    assert value(metrics, "open_alarms", integration="default") == 9


async def test_a_settlement_that_lost_its_lease_counts_only_the_reassert(metrics: Metrics, store: MemoryStore) -> None:
    await store.accept(firing("a"))
    claim = (await store.claim("default", 1)).claims[0]
    metrics.report_settled(delivered(claim), Settled(counted=False, reasserted=True, pending=1, open_alarms=1))
    assert total(metrics, "reports_total") == 0
    assert value(metrics, "delivery_latency_seconds_count") == 0
    assert value(metrics, "reports_enqueued_total", integration="default", kind="reassert") == 1


async def test_an_unknown_severity_is_counted_once_its_report_is_settled(metrics: Metrics, store: MemoryStore) -> None:
    await store.accept(firing("a"))
    claim = (await store.claim("default", 1)).claims[0]
    for outcome, counted in ((None, 0), (Outcome.DELIVERED, 1)):
        settlement = Settlement(claim=claim, at=NOON, outcome=outcome, unknown_severity=True)
        metrics.report_settled(settlement, Settled(counted=True, reasserted=False, pending=1, open_alarms=1))
        assert value(metrics, "severity_unknown_total") == counted


async def test_a_key_of_additional_is_no_label(metrics: Metrics, store: MemoryStore) -> None:
    await store.accept(firing("a"))
    claim = (await store.claim("default", 1)).claims[0]
    provenance = Provenance(
        rule="r",
        mapping="m",
        revision="1",
        fallbacks=(("additional.runbook of the shop", "error"), ("when", "timeout"), ("fieldOfTomorrow", "empty")),
        clipped=("additional.x",),
        body=b"{}",
    )
    settlement = Settlement(claim=claim, at=NOON, outcome=Outcome.DROPPED, provenance=provenance)
    metrics.report_settled(settlement, (await store.settle([settlement]))[0])
    assert value(metrics, "mapping_fallbacks_total", field="additional", reason="error") == 1
    assert value(metrics, "mapping_fallbacks_total", field="when", reason="timeout") == 1
    assert value(metrics, "mapping_fallbacks_total", field="other", reason="empty") == 1
    assert value(metrics, "clipped_fields_total", field="additional") == 1


def test_the_age_of_the_oldest_report_grows_between_looks_at_the_store(metrics: Metrics, clock: FakeClock) -> None:
    metrics.carried("default", Counts(pending=3, open_alarms=3, oldest=NOON - 60_000_000))
    assert value(metrics, "oldest_pending_seconds", integration="default") == 60
    clock.pass_time(30)
    assert value(metrics, "oldest_pending_seconds", integration="default") == 90


async def test_the_age_is_zero_as_soon_as_nothing_is_owed(
    metrics: Metrics, store: MemoryStore, clock: FakeClock
) -> None:
    await step(metrics, store, "alert", "a", "firing", 0)
    clock.pass_time(5)
    assert value(metrics, "oldest_pending_seconds", integration="default") == 5
    await step(metrics, store, "settle", Outcome.DELIVERED, 1)
    assert value(metrics, "oldest_pending_seconds", integration="default") == 0


def test_a_clock_set_back_makes_no_negative_age_or_latency(metrics: Metrics, clock: FakeClock) -> None:
    metrics.carried("default", Counts(pending=1, open_alarms=1, oldest=clock.now() + 3_600_000_000))
    assert value(metrics, "oldest_pending_seconds", integration="default") == 0


def test_replicas_look_the_shared_backlog_up_and_do_not_count_it_as_carried(metrics: Metrics) -> None:
    counts = Counts(pending=7, open_alarms=5, oldest=NOON, dead=2)
    metrics.carried("default", counts, shared=True)
    assert total(metrics, "reports_enqueued_total") == 0
    metrics.backlog({"default": Counts(pending=4, open_alarms=3, oldest=NOON, dead=1)}, shared=True)
    assert value(metrics, "reports_pending", integration="default") == 4
    assert value(metrics, "open_alarms", integration="default") == 3
    assert value(metrics, "dead_letters", integration="default") == 1
    metrics.backlog({}, shared=True)
    assert value(metrics, "reports_pending", integration="default") == 0


def test_a_refresh_from_an_unshared_store_moves_no_term_of_the_law(metrics: Metrics) -> None:
    metrics.carried("default", Counts(pending=7, open_alarms=5, oldest=NOON))
    metrics.backlog({"default": Counts(pending=9, open_alarms=6, oldest=NOON, dead=1)})
    assert value(metrics, "reports_pending", integration="default") == 7
    assert unaccounted(metrics, "default") == 0


def test_reports_of_an_integration_that_was_removed_are_still_shown(metrics: Metrics) -> None:
    metrics.carried("former", Counts(pending=2, open_alarms=1, oldest=NOON))
    assert value(metrics, "reports_pending", integration="former") == 2
    assert unaccounted(metrics, "former") == 0


def test_one_reason_of_a_pause_is_in_force_and_none_after_it(metrics: Metrics) -> None:
    for reason in (*PAUSES, None):
        metrics.paused("default", reason)
        found = {each for each in PAUSES if value(metrics, "integration_paused", integration="default", reason=each)}
        assert found == ({reason} if reason else set())
    with pytest.raises(ValueError, match="'tired' is none of operator"):
        metrics.paused("default", "tired")


def test_a_refused_reload_keeps_the_time_of_the_last_good_one(metrics: Metrics, clock: FakeClock) -> None:
    clock.wall = 100_000_000
    metrics.reloaded(True, "old")
    clock.wall = 200_000_000
    metrics.reloaded(False, "old")
    assert value(metrics, "config_last_reload_successful") == 0
    assert value(metrics, "config_last_reload_success_timestamp_seconds") == 100


def test_only_the_revision_in_force_is_exported(metrics: Metrics) -> None:
    metrics.reloaded(True, "old")
    metrics.reloaded(True, "new")
    assert value(metrics, "mapping_revision_info", revision="new") == 1
    assert [sample.labels for sample in samples(metrics, "mapping_revision_info")] == [{"revision": "new"}]


def test_the_free_space_of_a_store_is_not_zero_while_unknown(metrics: Metrics) -> None:
    assert value(metrics, "store_free_bytes") != value(metrics, "store_free_bytes"), "NaN before the first refresh"
    metrics.store_size(4096, 1 << 30)
    assert value(metrics, "store_free_bytes") == 1 << 30
    metrics.store_size(4096)
    assert value(metrics, "store_free_bytes") != value(metrics, "store_free_bytes")


# Exemplars


async def test_openmetrics_carries_the_alarm_id_of_a_late_delivery(metrics: Metrics, store: MemoryStore) -> None:
    await use(metrics, store, "5b2f0c1a9d3e4f60")
    families = text_string_to_metric_families(openmetrics(metrics))  # type: ignore[no-untyped-call]
    latency = next(family for family in families if family.name == "coc_adapter_delivery_latency_seconds")
    exemplars = [sample.exemplar for sample in latency.samples if sample.exemplar]
    assert [(exemplar.labels, exemplar.value) for exemplar in exemplars] == [({"alarm_id": "5b2f0c1a9d3e4f60"}, 0.07)]


async def test_an_alarm_id_too_long_for_an_exemplar_is_delivered_without(metrics: Metrics, store: MemoryStore) -> None:
    await use(metrics, store, "a" * 255)
    assert value(metrics, "delivery_latency_seconds_count") == 1
    assert "# {" not in openmetrics(metrics)


# The page


def test_the_page_says_what_the_registry_says() -> None:
    metrics = Metrics(["default"], alertmanagers=["main"])
    metrics.reloaded(True, "4f2a")
    documented = {}
    for name, kind, labels, text in re.findall(
        r"^\| `(coc_adapter_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \| [^|]+ \|$", METRICS_PAGE.read_text(), re.MULTILINE
    ):
        documented[name] = (kind, set(re.findall(r"`([^`]+)`", labels)), text)
    declared = {}
    for family in metrics.registry.collect():
        if family.name.startswith("coc_adapter_"):
            name, short = family.name + "_total" * (family.type == "counter"), family.name.removeprefix("coc_adapter_")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            values = {str(each) for label in labels for each in CLOSED.get((short, label), ())}
            declared[name] = (family.type, labels | values, family.documentation)
    assert documented == declared


def test_the_page_lists_what_the_collectors_of_the_process_add() -> None:
    documented = set(re.findall(r"^\| `((?:process|python)_\w+)` ", METRICS_PAGE.read_text(), re.MULTILINE))
    found = {name for name in sample_names(Metrics([]).registry) if not name.startswith("coc_adapter_")}
    assert documented == found


@pytest.mark.parametrize(
    "path",
    [
        ALERTS,
        DASHBOARD,
        *sorted(RUNBOOKS.glob("*.md")),
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "docs" / "zh").glob("*.md")),
        *ROOT.glob("README*.md"),
    ],
    ids=lambda path: path.name,
)
def test_every_metric_a_file_mentions_exists(path: Any) -> None:
    assert mentioned(path.read_text()) <= sample_names(Metrics(["default"]).registry)


def test_every_metric_is_in_an_alert_or_on_the_dashboard() -> None:
    shown = mentioned(ALERTS.read_text()) | mentioned(DASHBOARD.read_text())
    for family in Metrics(["default"]).registry.collect():
        if family.name.startswith("coc_adapter_"):
            assert any(name.startswith(family.name) for name in shown), family.name


def test_every_kind_of_report_can_be_enqueued(metrics: Metrics) -> None:
    metrics.replayed("default", list(Kind))
    assert unaccounted(metrics, "default") == 0
