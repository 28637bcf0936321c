"""Combinations of valid values that cannot work are refused when they are rendered, with what to change."""

from __future__ import annotations

import pytest

from tests.chart.rendering import Resource, ci_values, merged, render_all

_SHARED = {"store": {"postgresql": {"existingSecret": "database"}}}
_CASES: dict[str, tuple[Resource, str]] = {
    "two pods on one SQLite file": (
        {"replicaCount": 2},
        "replicaCount: 2 pods cannot share a SQLite file; set store.postgresql.existingSecret, or replicaCount: 1",
    ),
    "autoscaling on SQLite": ({"autoscaling": {"enabled": True}}, "autoscaling.enabled: several pods cannot share"),
    "a store that goes with the pod": ({"persistence": {"enabled": False}}, "or set persistence.acceptDataLoss: true"),
    "a claim that is not used": (
        {"persistence": {"enabled": False, "acceptDataLoss": True, "existingClaim": "alarms"}},
        "persistence.existingClaim: it is not used",
    ),
    "no credentials": (
        {"integrations": {"default": {"existingSecret": ""}}},
        "integrations.default.existingSecret: name the Secret that holds COC's credentials",
    ),
    "half of the inline credentials": (
        {"integrations": {"default": {"existingSecret": "", "inline": {"accessKey": "a", "integrationKey": "b"}}}},
        "integrations.default.inline.secretKey",
    ),
    "credentials twice": (
        {"integrations": {"default": {"inline": {"integrationKey": "x"}}}},
        "integrations.default: existingSecret and inline.integrationKey are both set",
    ),
    "a further integration without credentials": (
        {"integrations": {"night": {"config": {"site": "eu"}}}},
        "integrations.night.existingSecret: name the Secret",
    ),
    "two databases": (
        {"store": {"postgresql": {"existingSecret": "database", "dsn": "postgresql://db/coc"}}},
        "store.postgresql: existingSecret and dsn are both set",
    ),
    "two tokens": (
        {"webhook": {"auth": {"existingSecret": "token", "token": "x"}}},
        "webhook.auth: existingSecret and token are both set",
    ),
    "two sets of mappings": (
        {"mappings": {"a.yaml": "rules: []"}, "existingMappingsConfigMap": "mine"},
        "mappings and existingMappingsConfigMap are both set",
    ),
    "scraped twice": (
        {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
        "every series would be scraped twice",
    ),
    "HTTPS without a certificate": ({"web": {"scheme": "HTTPS"}}, "web.scheme: HTTPS needs web.configSecret"),
    "an ingress for every host": ({"ingress": {"enabled": True}}, "ingress.hosts: an Ingress without a host"),
    "a console for everybody": (
        {"admin": {"ingress": {"enabled": True, "hosts": ["coc.example"]}}},
        "admin.ingress.enabled: the admin port asks nobody for credentials; set web.configSecret",
    ),
    "a console under every host": (
        {"admin": {"ingress": {"enabled": True}}, "web": {"configSecret": "users"}},
        "admin.ingress.hosts: an Ingress without a host",
    ),
    "a route without a gateway": ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs: an HTTPRoute without"),
    "alerts with no receiver of their own": (
        {
            "integrations": {"default": None, "day": {"existingSecret": "a"}, "night": {"existingSecret": "b"}},
            "alertmanagerConfig": {"enabled": True},
        },
        "alertmanagerConfig.route.receiver: there are several integrations and none is called default",
    ),
}
_ALLOWED: dict[str, Resource] = {
    "two pods on PostgreSQL": _SHARED | {"replicaCount": 2},
    "no pod at all, for maintenance": {"replicaCount": 0},
    "a store that goes with the pod, said so": {"persistence": {"enabled": False, "acceptDataLoss": True}},
    "no volume with PostgreSQL": _SHARED | {"persistence": {"enabled": False}},
    "one integration of another name": {
        "integrations": {"default": None, "day": {"existingSecret": "a"}},
        "alertmanagerConfig": {"enabled": True},
    },
}


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    cases = {case: values for case, (values, _) in _CASES.items()} | _ALLOWED
    rendered = render_all([merged(ci_values("minimal"), values) for values in cases.values()])
    return {case: one.error for case, one in zip(cases, rendered, strict=True)}


@pytest.mark.parametrize("case", _CASES)
def test_a_combination_that_cannot_work_is_refused(case: str, errors: dict[str, str]) -> None:
    assert _CASES[case][1] in errors[case]


@pytest.mark.parametrize("case", _ALLOWED)
def test_a_similar_combination_that_works_is_accepted(case: str, errors: dict[str, str]) -> None:
    assert not errors[case]
