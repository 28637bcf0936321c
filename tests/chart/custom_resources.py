"""Schemas of the custom resources that the chart creates, with the keys it uses; an unknown key is an error.

Written from the reference documentation of the Prometheus Operator (monitoring.coreos.com) and of the Gateway API.
"""

from __future__ import annotations

from typing import Any

import jsonschema

Schema = dict[str, Any]


def _object(*required: str, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": list(required),
    }


def _list(of: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": of, **more}


_STRING: Schema = {"type": "string"}
_STRINGS: Schema = {"type": "object", "additionalProperties": _STRING}
_DURATION: Schema = {
    "type": "string",
    "pattern": r"^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
    "minLength": 1,
}
_SECRET_KEY = _object("name", "key", name=_STRING, key=_STRING)
_SELECTOR = _object(matchLabels=_STRINGS)
_TLS = _object(ca=_object(secret=_SECRET_KEY, configMap=_SECRET_KEY), serverName=_STRING)
_RELABELING = _object(
    sourceLabels=_list({"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"}),
    regex=_STRING,
    targetLabel=_STRING,
    replacement=_STRING,
    action={"enum": ["replace", "keep", "drop", "labelmap", "labeldrop", "labelkeep"]},
)
_ENDPOINT = _object(
    "port",
    port=_STRING,
    path={"type": "string", "pattern": "^/"},
    scheme={"enum": ["http", "https"]},
    honorLabels={"type": "boolean"},
    interval=_DURATION,
    scrapeTimeout=_DURATION,
    tlsConfig=_TLS,
    basicAuth=_object("username", "password", username=_SECRET_KEY, password=_SECRET_KEY),
    relabelings=_list(_RELABELING),
    metricRelabelings=_list(_RELABELING),
)
_MATCHER = _object("name", "matchType", name=_STRING, matchType={"enum": ["=", "!=", "=~", "!~"]}, value=_STRING)
_ROUTE: Schema = _object(
    receiver=_STRING,
    groupBy=_list(_STRING, uniqueItems=True),
    groupWait=_DURATION,
    groupInterval=_DURATION,
    repeatInterval=_DURATION,
    matchers=_list(_MATCHER),
    routes=_list({"$ref": "#/$defs/route"}),
)
_RULE = _object(
    "expr",
    alert=_STRING,
    record=_STRING,
    expr=_STRING,
    **{"for": _DURATION},
    keep_firing_for=_DURATION,
    labels=_STRINGS,
    annotations=_STRINGS,
)


def _monitor(endpoints: str) -> Schema:
    return _object(
        "selector",
        endpoints,
        namespaceSelector=_object(matchNames=_list(_STRING)),
        selector=_SELECTOR,
        **{endpoints: _list(_ENDPOINT, minItems=1)},
    )


SCHEMAS: dict[str, tuple[str, Schema]] = {
    "ServiceMonitor": ("monitoring.coreos.com/v1", _monitor("endpoints")),
    "PodMonitor": ("monitoring.coreos.com/v1", _monitor("podMetricsEndpoints")),
    "PrometheusRule": (
        "monitoring.coreos.com/v1",
        _object(
            "groups",
            groups=_list(_object("name", "rules", name=_STRING, interval=_DURATION, rules=_list(_RULE)), minItems=1),
        ),
    ),
    "AlertmanagerConfig": (
        "monitoring.coreos.com/v1alpha1",
        _object(
            "route",
            "receivers",
            route=_ROUTE | {"required": ["receiver"]},
            receivers=_list(
                _object(
                    "name",
                    "webhookConfigs",
                    name=_STRING,
                    webhookConfigs=_list(
                        _object(
                            "url",
                            url={"type": "string", "pattern": "^https?://"},
                            sendResolved={"type": "boolean"},
                            httpConfig=_object(
                                authorization=_object("credentials", type=_STRING, credentials=_SECRET_KEY),
                                tlsConfig=_TLS,
                            ),
                        )
                    ),
                ),
                minItems=1,
            ),
        ),
    ),
    "HTTPRoute": (
        "gateway.networking.k8s.io/v1",
        _object(
            "parentRefs",
            "rules",
            parentRefs=_list(_object("name", name=_STRING, namespace=_STRING, sectionName=_STRING), minItems=1),
            hostnames=_list(_STRING),
            rules=_list(
                _object(
                    "backendRefs",
                    matches=_list(
                        _object(path=_object("type", "value", type={"enum": ["Exact", "PathPrefix"]}, value=_STRING))
                    ),
                    filters=_list({"type": "object"}),
                    backendRefs=_list(_object("name", "port", name=_STRING, port={"type": "integer"}), minItems=1),
                )
            ),
        ),
    ),
}


def validate(resource: dict[str, Any]) -> None:
    """jsonschema.ValidationError when a custom resource is not what its controller understands."""
    api_version, spec = SCHEMAS[resource["kind"]]
    whole = _object(
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        apiVersion={"const": api_version},
        kind=_STRING,
        metadata=_object("name", "namespace", name=_STRING, namespace=_STRING, labels=_STRINGS, annotations=_STRINGS),
        spec=spec,
    )
    jsonschema.validate(resource, whole | {"$defs": {"route": _ROUTE}})
