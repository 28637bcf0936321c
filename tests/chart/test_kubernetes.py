"""Every resource satisfies Kubernetes' schemas; custom resources satisfy those of custom_resources.py."""

from __future__ import annotations

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.chart import custom_resources
from tests.chart.rendering import CHART, Rendered

_OLDEST, _NEWEST = "1.25", "1.37"


@pytest.mark.parametrize("version", [_OLDEST, _NEWEST])
def test_every_resource_is_valid_for_kubernetes(rendered: Rendered, version: str) -> None:
    core = [part for part in rendered.resources if part["kind"] not in custom_resources.SCHEMAS]
    assert core
    for resource in core:
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_oldest_tested_version_is_the_oldest_that_the_chart_accepts() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={_OLDEST}.0-0"
    assert kubernetes_validate.latest_version().startswith(_NEWEST)


def test_every_custom_resource_is_valid(rendered: Rendered) -> None:
    for resource in rendered.resources:
        if resource["kind"] in custom_resources.SCHEMAS:
            custom_resources.validate(resource)


def test_every_kind_of_resource_is_rendered_by_some_values_set(renders: dict[str, Rendered]) -> None:
    kinds = {resource["kind"] for rendered in renders.values() for resource in rendered.resources}
    assert kinds >= set(custom_resources.SCHEMAS) | {
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Ingress", "NetworkPolicy", "Pod", "PodDisruptionBudget",
        "Secret", "Service", "ServiceAccount", "StatefulSet",
    }  # fmt: skip


def test_the_validators_refuse_what_is_wrong(renders: dict[str, Rendered]) -> None:
    service = renders["minimal"].one("Service")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service | {"spec": service["spec"] | {"prots": []}}, _NEWEST, strict=True)
    monitor = renders["operator"].one("ServiceMonitor")
    with pytest.raises(jsonschema.ValidationError):
        custom_resources.validate(monitor | {"spec": monitor["spec"] | {"endpoint": []}})


def test_no_resource_stands_twice(rendered: Rendered) -> None:
    names = [(part["kind"], part["metadata"].get("namespace"), part["metadata"]["name"]) for part in rendered.resources]
    assert len(names) == len(set(names))
