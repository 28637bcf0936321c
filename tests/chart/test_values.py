"""values.schema.json has every key, refuses unknown ones, and names wrong values by their path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from adapter.config import (
    ApplicationSettings,
    Config,
    IntegrationSettings,
    LimitSettings,
    RelaySettings,
    RetentionSettings,
    WebhookSettings,
)
from adapter.config.reconcile import AlertmanagerSettings, ReconcileSettings
from tests.chart.rendering import CHART, Resource, ci_values, merged, render_all

_SCHEMA: Resource = json.loads((CHART / "values.schema.json").read_text())
_VALUES: Resource = yaml.safe_load((CHART / "values.yaml").read_text())


def _resolved(schema: Resource) -> Resource:
    name = schema.get("$ref", "").removeprefix("#/definitions/")
    definition: Resource = _SCHEMA["definitions"][name] if name else schema
    return definition


def _mappings(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every mapping in values.yaml that has keys of its own, the whole file first."""
    if isinstance(values, dict):
        yield path
        for key, value in values.items():
            yield from _mappings(value, (*path, key))


def _schema_of(path: tuple[str, ...]) -> Resource:
    schema = _SCHEMA
    for key in path:
        schema = _resolved(schema)
        known = schema.get("properties", {})
        schema = known[key] if key in known else next(iter(schema["patternProperties"].values()))
    return _resolved(schema)


# What Kubernetes defines is checked against Kubernetes' schemas, and names chosen by people are free.
_FREE = {
    ("dashboard", "labels"), ("deploymentStrategy", "rollingUpdate"), ("livenessProbe",), ("podSecurityContext",),
    ("podSecurityContext", "seccompProfile"), ("readinessProbe",), ("resources", "limits"), ("resources", "requests"),
    ("securityContext",), ("securityContext", "capabilities"), ("startupProbe",),
}  # fmt: skip
_CLOSED = [path for path in _mappings(_VALUES) if path not in _FREE]


def test_the_schema_is_a_valid_schema() -> None:
    jsonschema.Draft7Validator.check_schema(_SCHEMA)


def test_the_default_values_are_valid() -> None:
    jsonschema.validate(_VALUES, _SCHEMA)


@pytest.mark.parametrize("path", [path for path in _CLOSED if path != ("integrations",)], ids=".".join)
def test_the_schema_knows_every_key_of_the_values_and_no_other(path: tuple[str, ...]) -> None:
    values: Any = _VALUES
    for key in path:
        values = values[key]
    schema = _schema_of(path)
    if not values:  # an empty mapping is a place for names or Kubernetes' own objects
        assert schema["type"] == "object"
        return
    assert schema["additionalProperties"] is False
    assert set(values) <= set(schema["properties"])


def test_an_unknown_key_is_refused_at_every_level_with_its_path() -> None:
    paths = [path for path in _CLOSED if path and path != ("integrations",) and _schema_of(path).get("properties")]
    wrong: list[Resource] = [merged(ci_values("minimal"), {"unknwon": 1})]
    for path in paths:
        values: Resource = {"unknwon": 1}
        for key in reversed(path):
            values = {key: values}
        wrong.append(merged(ci_values("minimal"), values))
    errors = [rendered.error for rendered in render_all(wrong)]
    for path, error in zip([(), *paths], errors, strict=True):
        assert "unknwon" in error, (path, error)
        assert not path or f"/{'/'.join(path)}'" in error, (path, error)


def test_the_values_use_the_names_of_adapter_yml() -> None:
    """The schema has every setting of adapter.yml, except secrets and what the chart itself writes."""
    written = {"store", "store_file", "mappings", "integrations", "log"}
    config = _schema_of(("config",))
    assert set(config["properties"]) == set(Config.model_fields) - written
    sections: dict[str, type[BaseModel]] = {
        "relay": RelaySettings,
        "limits": LimitSettings,
        "retention": RetentionSettings,
        "webhook": WebhookSettings,
        "applications": ApplicationSettings,
    }
    for section, model in sections.items():
        known = {name for name in model.model_fields if not name.startswith("bearer_token")}
        assert set(_schema_of(("config", section))["properties"]) == known, section
    reconcile = _schema_of(("config", "reconcile"))["properties"]
    assert set(reconcile) == set(ReconcileSettings.model_fields)
    entry = set(AlertmanagerSettings.model_fields)
    assert set(reconcile["alertmanagers"]["items"]["properties"]) == entry
    secrets = {"integration_key", "integration_key_file", "proxy_url_file"}
    integration = _schema_of(("integrations", "default", "config"))
    assert set(integration["properties"]) == set(IntegrationSettings.model_fields) - secrets


_WRONG: dict[str, tuple[Resource, str]] = {
    "replicas as text": ({"replicaCount": "two"}, "/replicaCount"),
    "negative replicas": ({"replicaCount": -1}, "/replicaCount"),
    "no integration": ({"integrations": {"default": None}}, "/integrations"),
    "integration name no URL can hold": ({"integrations": {"Night Shift": {}}}, "/integrations"),
    "unknown site": ({"integrations": {"default": {"config": {"site": "us"}}}}, "/integrations/default/config/site"),
    "unknown authentication": (
        {"integrations": {"default": {"config": {"auth": {"type": "basic"}}}}},
        "/integrations/default/config/auth/type",
    ),
    "secret in the configuration": (
        {"integrations": {"default": {"config": {"auth": {"secret_key": "x"}}}}},
        "/integrations/default/config/auth",
    ),
    "integration key in the configuration": (
        {"integrations": {"default": {"config": {"integration_key": "x"}}}},
        "/integrations/default/config",
    ),
    "password in the proxy's address": (
        {"integrations": {"default": {"config": {"proxy_url": "http://user:password@proxy:3128"}}}},
        "/integrations/default/config/proxy_url",
    ),
    "empty name of a secret's key": (
        {"integrations": {"default": {"secretKeys": {"integrationKey": ""}}}},
        "/integrations/default/secretKeys/integrationKey",
    ),
    "duration without a unit": ({"config": {"relay": {"refresh_interval": "60"}}}, "/config/relay/refresh_interval"),
    "duration as a number": ({"config": {"retention": {"dead": 90}}}, "/config/retention/dead"),
    "unknown alarm id": ({"config": {"relay": {"alarm_id": "uuid"}}}, "/config/relay/alarm_id"),
    "backlog of nothing": ({"config": {"limits": {"backlog": 0}}}, "/config/limits/backlog"),
    "size in words": ({"config": {"webhook": {"max_body": "lots"}}}, "/config/webhook/max_body"),
    "mapping file that is not YAML": ({"mappings": {"shop.txt": "rules: []"}}, "/mappings"),
    "mapping in a folder": ({"mappings": {"tests/shop.yaml": "rules: []"}}, "/mappings"),
    "mapping as a structure": ({"mappings": {"shop.yaml": {"rules": []}}}, "/mappings/shop.yaml"),
    "token with a space": ({"webhook": {"auth": {"token": "two words"}}}, "/webhook/auth/token"),
    "unknown mode of reconciling": ({"reconcile": {"mode": "on"}}, "/reconcile/mode"),
    "password in an Alertmanager's address": (
        {"reconcile": {"dns": "http://u:p@am:9093"}},
        "/reconcile/dns",
    ),
    "unknown log level": ({"log": {"level": "trace"}}, "/log/level"),
    "volume many pods write to": ({"persistence": {"accessMode": "ReadWriteMany"}}, "/persistence/accessMode"),
    "size without a number": ({"persistence": {"size": "large"}}, "/persistence/size"),
    "digest that is a tag": ({"image": {"digest": "latest"}}, "/image/digest"),
    "name that is no DNS label": ({"fullnameOverride": "COC_Adapter"}, "/fullnameOverride"),
    "port out of range": ({"service": {"port": 70000}}, "/service/port"),
    "resources as a preset": ({"resources": "small"}, "/resources"),
    "switch as text": ({"serviceMonitor": {"enabled": "yes"}}, "/serviceMonitor/enabled"),
    "label no selector can match": ({"podLabels": {"tier": "a b"}}, "/podLabels/tier"),
    "arguments as one text": ({"extraArgs": "--log.level=debug"}, "/extraArgs"),
    "database of another kind": ({"store": {"postgresql": {"dsn": "mysql://db/coc"}}}, "/store/postgresql/dsn"),
    "runbooks without a slash": (
        {"prometheusRule": {"runbookUrl": "https://runbooks.example.com"}},
        "/prometheusRule/runbookUrl",
    ),
}


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    wrong = [merged(ci_values("minimal"), values) for values, _ in _WRONG.values()]
    return dict(zip(_WRONG, (rendered.error for rendered in render_all(wrong)), strict=True))


@pytest.mark.parametrize("case", _WRONG)
def test_a_wrong_value_is_refused_with_its_path(case: str, errors: dict[str, str]) -> None:
    assert f"'{_WRONG[case][1]}'" in errors[case]
