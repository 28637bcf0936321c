"""The chart renders the alert rules and the dashboard of files/ unchanged, and a monitor finds the service."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml

from tests.chart.rendering import CHART, Rendered, Resource, render
from tests.needs import needs

_SOURCE: Resource = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())


def _names(groups: list[Resource]) -> list[str]:
    return [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]


def test_the_rules_of_every_values_set_satisfy_promtool(rendered: Rendered, tmp_path: Path) -> None:
    promtool = needs("promtool")
    for rule in rendered.of("PrometheusRule"):
        path = tmp_path / "rules.yaml"
        path.write_text(yaml.safe_dump(rule["spec"]))
        done = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_is_rendered_as_it_is_written() -> None:
    rendered = render({"prometheusRule": {"enabled": True, "disabledGroups": []}}).one("PrometheusRule")
    assert rendered["spec"] == _SOURCE


def test_the_rules_of_the_proof_of_life_are_off_by_default() -> None:
    rendered = render({"prometheusRule": {"enabled": True}}).one("PrometheusRule")
    names = {group["name"] for group in rendered["spec"]["groups"]}
    assert names == {group["name"] for group in _SOURCE["groups"]} - {"coc-adapter-proof-of-life"}


def test_values_can_leave_out_label_and_link_the_rules(renders: dict[str, Rendered]) -> None:
    groups = renders["operator"].one("PrometheusRule")["spec"]["groups"]
    assert set(_names(_SOURCE["groups"])) - set(_names(groups)) == {"CocAdapterRestarting"}
    for group in groups:
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["labels"]["team"] == "sre"
                assert rule["labels"]["severity"]
                address = f"https://runbooks.example.com/coc-adapter/{rule['alert']}.md"
                assert rule["annotations"]["runbook_url"] == address


def test_the_dashboard_is_rendered_as_it_is_written(renders: dict[str, Rendered]) -> None:
    configmap = renders["operator"].one("ConfigMap", "-dashboard")
    assert json.loads(configmap["data"]["coc-adapter.json"]) == json.loads(
        (CHART / "files" / "dashboard.json").read_text()
    )
    assert configmap["metadata"]["namespace"] == "grafana"
    assert configmap["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_a_monitor_finds_the_service_and_its_port(renders: dict[str, Rendered]) -> None:
    for name, kind, endpoints in [
        ("operator", "ServiceMonitor", "endpoints"),
        ("podmonitor", "PodMonitor", "podMetricsEndpoints"),
    ]:
        spec = renders[name].one(kind)["spec"]
        service = renders[name].one("Service")
        target = (
            service["metadata"] if kind == "ServiceMonitor" else renders[name].workload["spec"]["template"]["metadata"]
        )
        assert spec["selector"]["matchLabels"].items() <= target["labels"].items()
        assert spec["namespaceSelector"] == {"matchNames": [service["metadata"]["namespace"]]}
        ports = service["spec"]["ports"] if kind == "ServiceMonitor" else renders[name].container["ports"]
        assert spec[endpoints][0]["port"] in [port["name"] for port in ports]
        assert spec[endpoints][0]["path"] == "/metrics"
