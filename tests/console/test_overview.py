"""The overview says the worst first."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from adapter.console import charts
from adapter.console.language import Language
from adapter.console.overview import worst
from adapter.console.shown import duration, visible

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
ENGLISH = Language("en", {}, {})


@dataclass
class Thing:
    """Some attributes of a row of the API."""

    values: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return self.values[name]


def integration(name: str, **changes: Any) -> Thing:
    row = {
        "integration": name, "pause": None, "breaker": "closed", "pending": 0, "oldest_pending_at": None,
        "dead_letters": 0, "webhooks": None,
    }  # fmt: skip
    return Thing(row | changes)


def status(*integrations: Thing, **changes: Any) -> Thing:
    mapping = Thing({"findings": changes.pop("findings", [])})
    row = {"ready": True, "not_ready_because": None, "store": {"warnings": []}, "mapping": mapping}
    return Thing(row | {"integrations": list(integrations)} | changes)


def texts(shown: Thing, *clusters: Thing) -> list[str]:
    return [trouble.text for trouble in worst(shown, clusters, NOW, ENGLISH)]


def test_nothing_wrong_says_nothing() -> None:
    assert texts(status(integration("default"))) == []


def test_what_is_wrong_stands_in_the_order_of_what_it_costs() -> None:
    paused = Thing({"reason": "credentials", "since": "2026-12-01T11:46:00Z", "by": "adapter", "detail": "401"})
    error = Thing({"severity": "error", "message": "no filter 'lvl'"})
    rows = (
        integration("late", pending=3, oldest_pending_at="2026-12-01T11:58:00Z", dead_letters=7),
        integration("silent", breaker="open", webhooks=Thing({"truncated": 2})),
        integration("dba", pause=paused, pending=902, oldest_pending_at="2026-12-01T11:46:00Z"),
    )
    shown = status(
        *rows, ready=False, not_ready_because="the disk", store={"warnings": ["nearly full"]}, findings=[error]
    )
    assert texts(shown, Thing({"held": [1, 2], "missing": [1]})) == [
        "Webhooks are not accepted",
        "The store warns",
        "dba is paused: COC has refused its credentials for 14 min. 902 reports wait, the oldest for 14 min.",
        "COC does not answer silent",
        "late: the oldest of 3 reports waits for 2 min",
        "COC has refused 7 reports for good",
        "A reload was refused: the files before it stay in force",
        "silent: Alertmanager has cut off 2 alerts (max_alerts)",
        "HELD: 2 open alarms vanished at once",
        "1 alerts fire in Alertmanager that no webhook brought",
    ]


def test_a_report_that_has_waited_for_a_minute_is_not_late_yet() -> None:
    assert texts(status(integration("default", pending=1, oldest_pending_at="2026-12-01T11:59:00Z"))) == []


def test_a_chart_sums_whole_minutes_and_names_itself() -> None:
    assert charts.by_minute([1, 2, 3, None, 5, 6, 7, 8], 10) == [29.0]
    assert charts.by_minute([1, None, 3, 4, 5, 2], 10, highest=True) == [5]
    assert 'aria-label="waiting: &lt;12&gt;"' in charts.line([0, 12, 3], "waiting: <12>")
    assert charts.line([], "nothing").count('points=""') == 1


def test_durations_have_one_unit() -> None:
    spans = {0: "0 s", 0.012: "12 ms", 4.25: "4.2 s", 59: "59 s", 200: "3 min", 8000: "2 h", 200_000: "2 d", -5: "0 s"}
    assert {seconds: duration(seconds) for seconds in spans} == spans


def test_control_characters_are_named_and_others_stay() -> None:
    assert visible("a\u202eb\x1b\ud800\u00e9磁盘\n😀") == "a<U+202E>b<U+001B><U+D800>é磁盘\n😀"
    assert visible(None) == ""
    assert visible(3) == 3
