"""The token that the chart generates for Alertmanager is kept over upgrades."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
import yaml

from tests.chart.cluster import Cluster, serving
from tests.chart.rendering import Resource, ask, ci_values, merged

_SECRET = "coc-coc-adapter-webhook"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with serving() as cluster:
        yield cluster


def _token(cluster: Cluster, values: Resource, key: str = "token") -> str:
    """The resources of an installation into that cluster, by Helm's server-side dry run."""
    request = {"values": merged(ci_values("minimal"), values), "name": "coc", "namespace": "monitoring"}
    (answer,) = ask([request | {"kubeconfig": cluster.kubeconfig}])
    assert "error" not in answer, answer
    resources = yaml.safe_load_all(answer["files"]["coc-adapter/manifest"])
    (secret,) = [part for part in resources if part and part["kind"] == "Secret"]
    assert secret["metadata"]["name"] == _SECRET
    return base64.b64decode(secret["data"][key]).decode()


def test_an_upgrade_keeps_the_token(cluster: Cluster) -> None:
    first = _token(cluster, {})
    assert len(first) == 43
    cluster.add_secret("monitoring", _SECRET, {"token": base64.b64encode(first.encode()).decode()})
    assert _token(cluster, {}) == first
    assert _token(cluster, {"log": {"level": "debug"}}) == first


def test_a_token_in_the_values_replaces_the_generated_one(cluster: Cluster) -> None:
    cluster.add_secret("monitoring", _SECRET, {"token": base64.b64encode(b"made-before").decode()})
    assert _token(cluster, {"webhook": {"auth": {"token": "chosen"}}}) == "chosen"


def test_a_secret_without_that_key_gets_a_new_token(cluster: Cluster) -> None:
    cluster.add_secret("monitoring", _SECRET, {"other": "eA=="})
    assert len(_token(cluster, {"webhook": {"auth": {"secretKey": "bearer"}}}, key="bearer")) == 43


def test_another_releases_secret_is_left_alone(cluster: Cluster) -> None:
    cluster.add_secret("elsewhere", _SECRET, {"token": base64.b64encode(b"theirs").decode()})
    assert _token(cluster, {}) != "theirs"
