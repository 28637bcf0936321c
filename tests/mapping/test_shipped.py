"""The shipped mappings: whose alarm it is, what it says, how bad it is, and what COC gets besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.coc.fields import LEVELS, tidy
from adapter.mapping import shipped
from tests.mapping.builders import a_request, fields, outcome, program

SHIPPED = program(shipped())
CASES = yaml.safe_load((shipped() / "tests" / "rule-sets.yaml").read_text())["tests"]

ORDER = (
    "persistentvolumeclaim", "persistentvolume", "deployment", "statefulset", "daemonset", "job_name", "cronjob",
    "horizontalpodautoscaler", "poddisruptionbudget", "resourcequota", "pod", "target", "server", "consumergroup",
    "topic", "queue", "node", "nodename", "host", "app", "service", "instance", "job",
)  # fmt: skip
PLACES: dict[str, dict[str, str]] = {
    "kubernetes": {"namespace": "shop"},
    "hosts": {"alertname": "TargetDown"},
    "rest": {},
}


def body_of(labels: dict[str, str], annotations: dict[str, str] | None = None) -> dict[str, Any]:
    return fields(SHIPPED, a_request(labels, annotations))


@pytest.mark.parametrize("place", PLACES)
def test_the_order_of_the_resource_is_the_same_in_every_file(place: str) -> None:
    for number, name in enumerate(ORDER):
        labels = PLACES[place] | {label: f"x-{label}" for label in ORDER[number:]}
        assert body_of(labels)["resourceName"] == f"x-{name}"
        assert body_of(labels | {f"exported_{name}": "other"})["resourceName"] == "other"


def test_the_three_templates_of_the_resource_are_one() -> None:
    files = [yaml.safe_load(path.read_text()) for path in sorted(shipped().glob("*.yaml"))]
    for field in ("resourceName", "alarmDesc", "alarmLevel", "URL"):
        assert len({file["defaults"][field] for file in files if "defaults" in file}) == 1, field


@pytest.mark.parametrize(
    ("labels", "resource"),
    [
        ({"job": "node-exporter", "pod": "node-exporter-x", "instance": "n1:9100", "namespace": "mon"}, "n1"),
        ({"job": "postgres-exporter", "pod": "postgres-exporter-x", "server": "pg-1", "namespace": "db"}, "pg-1"),
        ({"job": "mysql", "pod": "mysqld-exporter-x", "service": "mysqld-exporter", "instance": "db:9104"}, "db:9104"),
        ({"job": "postgres-exporter", "pod": "postgres-exporter-x", "node": "n1", "instance": "db:9187"}, "db:9187"),
        ({"job": "kubelet", "node": "n1", "instance": "10.0.0.1:10250"}, "n1"),
        ({"job": "kube-state-metrics", "pod": "api-0", "namespace": "shop"}, "api-0"),
        ({"job": "kube-state-metrics", "pod": "node-exporter-x", "namespace": "mon"}, "node-exporter-x"),
        ({"job": "kubelet", "pod": "redis-exporter-x", "namespace": "mon", "node": "n1"}, "redis-exporter-x"),
        ({"job": "kube-state-metrics", "pod": "kube-state-metrics-x", "node": "n1", "namespace": "mon"}, "n1"),
        ({"job": "kube-state-metrics", "service": "kube-state-metrics", "namespace": "shop", "instance": "i"}, "shop"),
        ({"job": "kube-state-metrics", "namespace": "mon", "exported_namespace": "shop", "instance": "i"}, "shop"),
        ({"job": "cert-manager", "pod": "cert-manager-x", "name": "tls", "alertname": "CertExpiry"}, "tls"),
        ({"job": "kube-state-metrics", "name": "x", "pod": "kube-state-metrics-x", "exported_pod": "api-0"}, "api-0"),
        ({"name": "authentication", "instance": "i"}, "i"),
        ({"job": "blackbox", "instance": "https://shop.example"}, "https://shop.example"),
        ({"job": "windows", "instance": "w:9182", "volume": "C:"}, "w"),
        ({"job": "integrations/unix", "instance": "n2"}, "n2"),
        ({"job": "integrations/node_exporter", "instance": "n3:12345"}, "n3"),
        ({"job": "prometheus-node-exporter", "instance": "n4:9100", "nodename": "four"}, "four"),
        ({"alertname": "HostHighCpuLoad", "instance": "n5:9100"}, "n5"),
        ({"alertname": "NodeJSHeapHigh", "namespace": "shop", "pod": "api-1", "instance": "i"}, "api-1"),
        ({"nodename": "n6", "namespace": "shop", "pod": "api-1", "instance": "i"}, "api-1"),
        ({"k8s.pod.name": "api-1", "k8s.namespace.name": "shop", "service.name": "api", "host.name": "n"}, "api-1"),
        ({"exported_namespace": "shop", "exported_pod": "api-0"}, "api-0"),
        ({"exported_job": "node", "exported_instance": "n8:9100", "job": "federate", "instance": "p:9090"}, "n8"),
        ({"service.name": "api"}, "api"),
        ({"host.name": "n7", "job": "otel"}, "n7"),
    ],
)  # fmt: skip
def test_the_resource_is_what_is_ill(labels: dict[str, str], resource: str) -> None:
    assert body_of(labels)["resourceName"] == resource


@pytest.mark.parametrize(
    ("labels", "name_space"),
    [
        ({"namespace": "monitoring", "exported_namespace": "shop", "pod": "x"}, "shop"),
        ({"namespace": "monitoring", "exported_namespace": "shop", "persistentvolumeclaim": "x"}, "shop"),
        ({"namespace": "monitoring", "exported_namespace": "shop", "alertname": "TargetDown"}, "shop"),
        ({"exported_namespace": "shop", "exported_pod": "x"}, "shop"), ({"exported_namespace": "shop"}, "shop"),
        ({"exported_job": "node", "exported_instance": "n", "job": "federate", "instance": "p"}, "hosts"),
        ({"k8s.namespace.name": "shop"}, "shop"), ({"service.namespace": "shop"}, "shop"), ({"job": "x"}, "x"),
        ({"job": "node", "instance": "n1:9100", "namespace": "monitoring"}, "hosts"),
    ],
)  # fmt: skip
def test_the_namespace_is_not_the_exporters(labels: dict[str, str], name_space: str) -> None:
    assert body_of(labels)["nameSpace"] == name_space


SHORT, LONG = "s" * 120, "s" * 121


@pytest.mark.parametrize("labels", [{"namespace": "shop"}, {"job": "node", "instance": "n"}, {}])
@pytest.mark.parametrize(
    ("annotations", "description"),
    [
        ({"summary": "Slow.", "description": "It takes 5 s."}, "Slow.\nIt takes 5 s."),
        ({"summary": "It takes", "description": "It takes 5 s."}, "It takes 5 s."),
        ({"summary": SHORT, "description": "d"}, f"{SHORT}\nd"),
        ({"summary": LONG, "description": "d"}, "d"),
        ({"summary": LONG}, LONG), ({"message": "m"}, "m"), ({"summary": "s", "message": "m"}, "s\nm"), ({}, "PodDown"),
        ({"summary": "s", "描述": "d"}, "s\nd"), ({"告警主题": "t", "告警详情": "d"}, "t\nd"), ({"告警内容": "d"}, "d"),
        ({"summary": "s", "description": "d" * 300}, "s\n" + "d" * 252 + "…"),
    ],
)  # fmt: skip
def test_summary_and_description_both_reach_coc(
    labels: dict[str, str], annotations: dict[str, str], description: str
) -> None:
    body = body_of(labels, annotations)
    assert body["alarmDesc"] == description
    assert annotations.get("summary", "") != LONG or description == LONG or body["additional"]["summary"] == LONG


@pytest.mark.parametrize(
    ("annotations", "url"),
    [
        ({"runbook_url": "https://a", "runbook": "https://b", "dashboard": "https://c"}, "https://a"),
        ({"runbook": "https://b", "dashboard": "https://c", "dashboard_url": "https://d"}, "https://b"),
        ({"runbook": "call the DBA", "dashboard": "https://c", "dashboard_url": "https://d"}, "https://c"),
        ({"dashboard_url": "https://d"}, "https://d"),
        ({"summary": "x"}, None),
    ],
)
@pytest.mark.parametrize("labels", [{"namespace": "shop"}, {"job": "node", "instance": "n"}, {}])
def test_a_runbook_or_dashboard_becomes_the_url(
    labels: dict[str, str], annotations: dict[str, str], url: str | None
) -> None:
    body = body_of(labels, annotations)
    assert body.get("URL") == url
    assert set(annotations.values()) <= {url, "x", *body["additional"].values()} | {body["alarmDesc"]}


@pytest.mark.parametrize("labels", [{"namespace": "shop"}, {"job": "node", "instance": "n"}, {}])
@pytest.mark.parametrize(
    ("words", "annotations", "expected"),
    [
        ({"severity": "", "level": "critical"}, {}, "Critical"), ({"severity": "", "priority": "P3"}, {}, "Minor"),
        ({"severity": "", "alert_level": "提示"}, {}, "Info"), ({"severity": ""}, {"severity": "紧急"}, "Critical"),
        ({"severity": "info", "level": "critical"}, {}, "Info"), ({"severity": ""}, {}, "Major"),
    ],
)  # fmt: skip
def test_a_severity_is_found_under_its_other_names(
    labels: dict[str, str], words: dict[str, str], annotations: dict[str, str], expected: str
) -> None:
    assert body_of(labels | words, annotations)["alarmLevel"] == expected


@pytest.mark.parametrize(
    "name", ["Watchdog", "DeadMansSwitch", "DeadManSwitch", "PrometheusAlertmanagerE2eDeadManSwitch", "InfoInhibitor"]
)
def test_a_dead_mans_switch_is_no_alarm(name: str) -> None:
    assert outcome(SHIPPED, a_request({"alertname": name, "namespace": "shop"})).dropped


@pytest.mark.parametrize("key", ["shop", "dba"])
def test_an_application_is_found_by_team_and_by_namespace_in_every_file(key: str, tmp_path: Path) -> None:
    for path in shipped().glob("*.yaml"):
        (tmp_path / path.name).write_text(
            path.read_text().replace("application: {}", f"application: {{{key}: 0123456789ab}}")
        )
    mappings = program(tmp_path)
    for labels in ({"pod": "x"}, {"job": "node", "instance": "n"}, {"alertname": "TargetDown"}):
        request = a_request(labels | {"namespace": "shop", "team": "dba"})
        assert fields(mappings, request)["applicationId"] == "0123456789ab"
    for labels in ({"team": "dba"}, {"app": "shop", "team": "dba"}):
        assert fields(mappings, a_request(labels))["applicationId"] == (
            "0123456789ab" if key in labels.values() else "unmapped"
        )


def test_the_realistic_alerts_are_twenty_five() -> None:
    assert len(CASES) == 25


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_body_answers_what_where_how_bad_whose_and_what_to_do(case: dict[str, Any]) -> None:
    labels, annotations = case["alert"]["labels"], case["alert"]["annotations"]
    body = body_of(labels, annotations)
    texts = [str(value) for name, value in body.items() if name != "additional"] + [*body["additional"].values()]
    assert body["alarmName"] == labels["alertname"]
    assert body["alarmLevel"] in LEVELS
    assert "resourceName" in body or set(labels) == {"alertname", "severity"}
    for name, value in {**labels, **annotations}.items():
        if name != "severity" and value:
            assert any(tidy(value, lines=True) in text for text in texts), name
    assert body.get("URL") == annotations.get("runbook_url", annotations.get("dashboard"))
