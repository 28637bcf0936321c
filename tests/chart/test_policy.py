"""Security policies, checked for every values set."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import yaml

from tests.chart.rendering import CI, Rendered, Resource, ci_values, merged, render, render_all


def _pods(rendered: Rendered) -> list[Resource]:
    return [rendered.pod, *(pod["spec"] for pod in rendered.of("Pod"))]


def _containers(pod: Resource) -> list[Resource]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def test_every_pod_meets_the_restricted_profile(rendered: Rendered) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    for pod in _pods(rendered):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] >= 10000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        for volume in pod.get("volumes", []):
            assert set(volume) - {"name"} <= {"projected", "configMap", "secret", "emptyDir", "persistentVolumeClaim"}
        for container in _containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"] is True
            assert context["runAsNonRoot"] is True
            assert "hostPort" not in json.dumps(container)


def test_no_pod_gets_a_token_of_kubernetes(rendered: Rendered) -> None:
    for pod in _pods(rendered):
        assert pod["automountServiceAccountToken"] is False
    for account in rendered.of("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    assert not {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"} & {
        part["kind"] for part in rendered.resources
    }


def test_every_container_is_bounded_in_memory(rendered: Rendered) -> None:
    for pod in _pods(rendered):
        for container in _containers(pod):
            assert container["resources"]["limits"]["memory"]
        for volume in pod.get("volumes", []):
            assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"]
    assert rendered.container["resources"]["requests"]["cpu"]
    assert rendered.container["resources"]["requests"]["memory"]


def test_no_value_changes_the_selector(renders: dict[str, Rendered]) -> None:
    """A selector cannot be changed: a value that changes it would break the next upgrade."""
    for name, rendered in renders.items():
        app = "coc" if name == "existing" else "coc-adapter"
        selector = {"app.kubernetes.io/name": app, "app.kubernetes.io/instance": "coc"}
        assert rendered.workload["spec"]["selector"] == {"matchLabels": selector}
        labels = rendered.workload["spec"]["template"]["metadata"]["labels"]
        assert selector.items() <= labels.items()
        for claim in rendered.workload["spec"].get("volumeClaimTemplates", []):
            assert selector.items() <= claim["metadata"]["labels"].items()
            assert "helm.sh/chart" not in claim["metadata"]["labels"]
        (service,) = rendered.of("Service")
        assert service["spec"]["selector"] == selector


def test_a_label_from_the_values_cannot_replace_one_of_the_selector() -> None:
    labels = {"app.kubernetes.io/name": "mine", "team": "sre"}
    rendered = render({"podLabels": labels, "commonLabels": labels})
    for metadata in (rendered.workload["metadata"], rendered.workload["spec"]["template"]["metadata"]):
        assert metadata["labels"]["app.kubernetes.io/name"] == "coc-adapter"
        assert metadata["labels"]["team"] == "sre"


def test_the_service_never_sends_webhooks_to_the_test_pod(rendered: Rendered) -> None:
    selector = rendered.one("Service")["spec"]["selector"]
    for pod in rendered.of("Pod"):
        assert not selector.items() <= pod["metadata"]["labels"].items()


@pytest.mark.parametrize("over", [{}, {"fullnameOverride": "f" * 63}, {"nameOverride": "n" * 63}], ids=str)
def test_names_and_labels_fit_in_63_characters(over: Resource) -> None:
    long = [merged(ci_values(name), {"fullnameOverride": "", "nameOverride": ""} | over) for name in CI]
    for rendered in render_all(long, name="r" * 53):
        assert not rendered.error
        for resource in rendered.resources:
            names = [resource["metadata"]["name"], *resource["metadata"].get("labels", {}).values()]
            assert max(map(len, names)) <= 63
        # Kubernetes puts a revision's hash of 10 characters and a dash behind it, as a label.
        assert len(rendered.workload["metadata"]["name"]) <= 52


def _secrets(values: Any) -> Iterator[str]:
    for secret in (
        "trial-integration-key",
        "trial-access-key",
        "trial-secret-key",
        "trial-webhook-token",
        "trial-password",
    ):
        if secret in json.dumps(values):
            yield secret


@pytest.mark.parametrize("name", ["trial", "autoscaled"])
def test_an_inline_secret_is_in_a_secret_and_nowhere_else(name: str, renders: dict[str, Rendered]) -> None:
    secrets = list(_secrets(ci_values(name)))
    kept = [base64.b64decode(text).decode() for part in renders[name].of("Secret") for text in part["data"].values()]
    elsewhere = json.dumps([part for part in renders[name].resources if part["kind"] != "Secret"]) + renders[name].notes
    assert secrets
    for secret in secrets:
        assert secret in " ".join(kept)
        assert secret not in elsewhere


def test_a_generated_token_is_long_random_and_in_one_secret_only(renders: dict[str, Rendered]) -> None:
    again = render({})
    tokens = []
    for rendered in (renders["minimal"], again):
        token = base64.b64decode(rendered.one("Secret")["data"]["token"]).decode()
        assert len(token) == 43
        assert token.isalnum()
        assert (
            token not in json.dumps([part for part in rendered.resources if part["kind"] != "Secret"]) + rendered.notes
        )
        tokens.append(token)
    assert tokens[0] != tokens[1]


def test_a_changed_configuration_restarts_the_pods_and_a_changed_mapping_does_not() -> None:
    def annotation(values: Resource) -> str:
        digest: str = render(values).workload["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        return digest

    first = annotation({"mappings": {"a.yaml": "rules: []"}})
    assert annotation({"mappings": {"a.yaml": "rules: [] # changed"}}) == first
    assert annotation({"mappings": {"a.yaml": "rules: []"}, "config": {"relay": {"refresh_interval": "2h"}}}) != first


def test_no_file_that_may_change_is_mounted_by_sub_path(rendered: Rendered) -> None:
    """Kubernetes never updates a mount with subPath."""
    assert "subPath" not in json.dumps(rendered.workload)


def test_no_mount_lies_below_another(rendered: Rendered) -> None:
    """The outer volume is read-only, and nothing can be mounted in it."""
    for pod in _pods(rendered):
        for container in _containers(pod):
            paths = sorted(mount["mountPath"].rstrip("/") + "/" for mount in container.get("volumeMounts", []))
            assert not [1 for above, below in pairwise(paths) if below.startswith(above)]


def test_a_sqlite_store_never_has_two_writers(rendered: Rendered) -> None:
    """A StatefulSet stops the old pod before it starts the new one; a Deployment would run both during a rollout."""
    if rendered.workload["kind"] == "Deployment":
        assert "/var/lib/coc-adapter" not in json.dumps(rendered.container["volumeMounts"])
        return
    assert rendered.workload["spec"]["replicas"] == 1
    for claim in rendered.workload["spec"].get("volumeClaimTemplates", []):
        assert claim["spec"]["accessModes"] in (["ReadWriteOnce"], ["ReadWriteOncePod"])


def test_several_pods_are_spread_and_keep_a_quorum_of_one(renders: dict[str, Rendered]) -> None:
    for name in ("postgresql", "autoscaled"):
        assert renders[name].of("PodDisruptionBudget")
        assert renders[name].pod["topologySpreadConstraints"]
    assert not renders["minimal"].of("PodDisruptionBudget")
    assert "replicas" not in renders["autoscaled"].workload["spec"], "an upgrade would undo what the autoscaler chose"


def test_probes_use_the_management_paths(renders: dict[str, Rendered]) -> None:
    for name, scheme in {"minimal": "HTTP", "tls": "HTTPS"}.items():
        container = renders[name].container
        for probe, path in {"startup": "healthy", "liveness": "healthy", "readiness": "ready"}.items():
            expected = {"path": f"/-/{path}", "port": "http", "scheme": scheme}
            assert container[f"{probe}Probe"]["httpGet"] == expected
    assert "httpGet" not in renders["hooks"].container["livenessProbe"]


def test_a_network_policy_allows_the_port_in_and_only_the_named_peers_out(renders: dict[str, Rendered]) -> None:
    policy = renders["network"].one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["podSelector"] == {"matchLabels": renders["network"].one("Service")["spec"]["selector"]}
    assert all(rule.get("from") and rule.get("ports") for rule in policy["ingress"])
    ports = [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 3128, 53]
    shared = renders["postgresql"].one("NetworkPolicy")["spec"]
    assert [port["port"] for rule in shared["egress"] for port in rule["ports"]] == [53, 53, 443, 5432]
    test_pod = renders["network"].one("Pod")["metadata"]["labels"]
    assert {"podSelector": {"matchLabels": test_pod}} in policy["ingress"][0]["from"]


def test_only_the_webhook_is_reachable_from_outside(renders: dict[str, Rendered]) -> None:
    ingress = renders["network"].of("Ingress")[0]["spec"]["rules"][0]["http"]["paths"]
    route = renders["network"].one("HTTPRoute")["spec"]["rules"][0]["matches"]
    assert [(path["path"], path["backend"]["service"]["port"]["name"]) for path in ingress] == [("/webhook", "http")]
    assert [match["path"]["value"] for match in route] == ["/webhook"]


def test_the_admin_port_is_open_only_to_whom_its_ingress_names(renders: dict[str, Rendered]) -> None:
    for name, rendered in renders.items():
        services = [port["name"] for service in rendered.of("Service") for port in service["spec"]["ports"]]
        assert ("admin" in services) is (name == "network")
        assert ("--web.admin-address=127.0.0.1:9877" in rendered.container["args"]) is (name != "network")
    rules = renders["network"].one("NetworkPolicy")["spec"]["ingress"]
    (rule,) = [rule for rule in rules if {"port": "admin", "protocol": "TCP"} in rule["ports"]]
    (peer,) = rule["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "ingress-nginx"}
    (backend,) = renders["network"].of("Ingress")[1]["spec"]["rules"][0]["http"]["paths"]
    assert backend["backend"]["service"]["port"] == {"name": "admin"}


def test_alertmanager_may_be_asked_where_reconciling_is_on_and_adapter_yml_says_so(
    renders: dict[str, Rendered],
) -> None:
    policy = renders["reconcile"].one("NetworkPolicy")["spec"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 443, 9093]
    assert policy["egress"][-1]["to"][0]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "alertmanager"}
    config = yaml.safe_load(renders["reconcile"].one("ConfigMap")["data"]["adapter.yml"])
    (alertmanager,) = config["reconcile"].pop("alertmanagers")
    assert config["reconcile"] == {"mode": "close", "interval": "2m"}
    assert alertmanager["dns"] == "http://alertmanager-operated.monitoring.svc:9093"
    assert alertmanager["watchdog"] == {"alertname": "Watchdog"}
    assert "reconcile" not in renders["minimal"].one("ConfigMap")["data"]["adapter.yml"]
    off = render({"reconcile": {"mode": False}, "networkPolicy": {"enabled": True}})  # what YAML makes of off
    assert "reconcile" not in off.one("ConfigMap")["data"]["adapter.yml"]
    assert 9093 not in [port["port"] for rule in off.one("NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]
