"""Grafana can import the dashboard, and every metric it queries exists."""

from __future__ import annotations

from pathlib import Path

import yaml

from adapter.metrics import Metrics
from tests.chart.rule_files import ALERTS, dashboard, dashboard_expressions, mentioned, promtool, sample_names
from tests.needs import needs

KNOWN = sample_names(Metrics(["default"]).registry)
PANELS = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def test_every_expression_parses(tmp_path: Path) -> None:
    recorded = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(dashboard_expressions())]
    rules = tmp_path / "panels.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    promtool(needs("promtool"), "check", "rules", rules)


def test_every_metric_in_an_expression_exists() -> None:
    assert mentioned(" ".join(dashboard_expressions())) <= KNOWN
    assert mentioned(ALERTS.read_text()) <= KNOWN


def test_the_data_source_is_a_variable_everywhere() -> None:
    assert dashboard()["templating"]["list"][0]["type"] == "datasource"
    for panel in PANELS:
        assert {source["datasource"]["uid"] for source in (panel, *panel["targets"])} == {"${datasource}"}


def test_every_panel_says_what_it_shows_and_what_is_healthy() -> None:
    titles = [panel["title"] for panel in PANELS]
    assert len(titles) == len(set(titles))
    assert all(panel["description"] for panel in PANELS)


def test_panels_do_not_overlap_and_ids_are_unique() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + column, place["y"] + line) for column in range(place["w"]) for line in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


def test_the_rows_are_in_order() -> None:
    rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert rows == [
        "Health at a glance",
        "From alerts to COC",
        "Latency",
        "Backlog and integrations",
        "Mapping",
        "Store and process",
        "Reconciling",
        "Alertmanager's metrics",
    ]
