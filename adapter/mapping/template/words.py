"""Names, functions, filters and methods of other languages, and what to write here instead (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

GO_FIELDS: Final[Mapping[str, str]] = {
    "Labels": "labels", "Annotations": "annotations", "labels": "labels", "annotations": "annotations",
    "CommonLabels": "group.commonLabels", "CommonAnnotations": "group.commonAnnotations",
    "GroupLabels": "group.groupLabels", "GroupKey": "group.groupKey", "Receiver": "group.receiver",
    "ExternalURL": "group.externalURL", "externalURL": "group.externalURL", "Status": "alert.status",
    "StartsAt": "alert.startsAt", "EndsAt": "alert.endsAt", "GeneratorURL": "alert.generatorURL",
    "Fingerprint": "alert.fingerprint",
}  # fmt: skip
EACH_ALERT: Final = "each alert is an alarm of its own here: write labels and annotations"
NO_VALUE: Final = (
    "Alertmanager sends no value; put it into an annotation of the alerting rule and write annotations.NAME"
)
NO_FIELD: Final = "Alertmanager sends no such field; put it into an annotation and write annotations.NAME"
NO_PARTS: Final = "there are no named templates: write the text in the field"

EXPECTED: Final[Mapping[str, str]] = {
    **{field[0].lower() + field[1:]: f"write {ours}" for field, ours in GO_FIELDS.items() if "." in ours},
    **dict.fromkeys(("value", "values", "val", "valueString"), NO_VALUE),
    **dict.fromkeys(("alerts", "Alerts"), EACH_ALERT),
    **{field: f"write {ours}" for field, ours in GO_FIELDS.items() if field[0].isupper()},
    "Value": NO_VALUE, "end": "write {% endif %} or {% endfor %}", "else": "write {% else %}",
}  # fmt: skip
"""Names that people expect at the top -> what to write."""

_ANNOTATIONS: Final = (
    "summary", "description", "message", "runbook", "runbook_url", "dashboard", "dashboard_url", "summary_zh",
)  # fmt: skip
_LABELS: Final = (
    "alertname", "severity", "instance", "job", "namespace", "pod", "container", "node", "nodename", "host",
    "hostname", "service", "deployment", "statefulset", "daemonset", "cluster", "region", "zone", "env",
    "environment", "team", "owner", "app", "application", "component", "device", "mountpoint", "topic", "queue",
    "database", "name", "endpoint", "prometheus", "level", "priority", "tier", "stage", "image", "ip", "tenant",
)  # fmt: skip

FILTERS: Final[Mapping[str, str]] = {
    "toUpper": "upper", "toUpperCase": "upper", "upcase": "upper", "toLower": "lower", "toLowerCase": "lower",
    "downcase": "lower", "casefold": "lower", "trimSpace": "trim", "strip": "trim", "toJson": "tojson",
    "to_json": "tojson", "json": "tojson", "printf": "format", "sprintf": "format", "match": "regex_search",
    "regexMatch": "regex_search", "regex_match": "regex_search", "regexFind": "regex_search",
    "regex_findall": "regex_search", "reReplaceAll": "regex_replace", "regexReplaceAll": "regex_replace",
    "gsub": "regex_replace", "re_replace": "regex_replace", "stripPort": "host", "date": "localtime", "tz": "localtime",
    "strftime": "localtime", "dateInZone": "localtime", "toTime": "localtime", "to_datetime": "localtime",
    "len": "length", "size": "length", "count": "length", "trunc": "clip", "truncatechars": "clip",
    "urlquery": "urlencode", "url_encode": "urlencode", "hash": "short_hash", "sha256sum": "short_hash",
    "md5": "short_hash", "sha1": "short_hash", "str": "string", "toString": "string", "contains": "regex_search",
    "hasPrefix": "regex_search", "hasSuffix": "regex_search", "coalesce": "default", "quote": "tojson",
}  # fmt: skip
"""Filters and functions of other languages -> ours."""
NO_FILTER: Final[Mapping[str, str]] = {
    **dict.fromkeys(("safeHtml", "safeUrl", "safeHTML", "safeURL", "safe_html"), "leave it out: text arrives as it is"),
    **dict.fromkeys(
        ("humanize", "humanize1024", "humanizeDuration", "humanizePercentage", "humanizeTimestamp"),
        "write it in the alerting rule, where Prometheus knows the number, or here `| round(1)` or `| filesizeformat`",
    ),
    **dict.fromkeys(
        ("exists", "has", "isset", "defined", "present", "absent", "empty", "isEmpty"),
        "what is absent is empty text: write labels.NAME alone, or `not labels.NAME`",
    ),
    **dict.fromkeys(("now", "since"), "a template knows the times of the alert only: alert.startsAt, alert.endsAt"),
    **dict.fromkeys(("ternary", "iif"), "write X if CONDITION else Y"),
    **dict.fromkeys(("template", "define", "block", "tmpl"), NO_PARTS),
    **dict.fromkeys(("range", "with"), EACH_ALERT),
}

_METHODS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("upper", "toUpperCase", "ToUpper"), "{x} | upper"),
    **dict.fromkeys(("lower", "casefold", "toLowerCase", "ToLower"), "{x} | lower"),
    **dict.fromkeys(("strip", "lstrip", "rstrip", "trim", "Trim"), "{x} | trim"),
    **{name: f"{{x}} | {name}" for name in ("title", "capitalize", "center")},
    **dict.fromkeys(("startswith", "startsWith", "HasPrefix"), '{x} | regex_search("^{a}")'),
    **dict.fromkeys(("endswith", "endsWith", "HasSuffix"), '{x} | regex_search("{a}$")'),
    **dict.fromkeys(("contains", "includes", "find", "index", "indexOf", "count", "rfind"), '"{a}" in {x}'),
    **dict.fromkeys(("match", "matches", "search"), '{x} | regex_search("{a}")'),
    **dict.fromkeys(("split", "partition"), '`{x} | regex_search("^([^{a}]*)")` for the first part'),
    **dict.fromkeys(("rsplit", "rpartition"), '{x} | regex_search("([^{a}]*)$")'),
    **dict.fromkeys(("replace", "replaceAll"), '{x} | replace("{a}", "{b}")'),
    **dict.fromkeys(("substring", "substr", "slice"), "{x}[0:8]"),
    **dict.fromkeys(("length", "size", "len"), "{x} | length"),
    **dict.fromkeys(("isdigit", "isnumeric", "isdecimal"), '{x} | regex_search("^[0-9]+$")'),
    "removeprefix": '{x} | regex_replace("^{a}", "")', "removesuffix": '{x} | regex_replace("{a}$", "")',
    **dict.fromkeys(("equals", "equalsIgnoreCase"), '{x} == "{a}"'),
    "join": "LIST | join({x})",
    "format": '`"%s" | format(VALUE)`, or put texts together by `~`',
    "encode": "{x} | urlencode", "splitlines": "{x} | regex_search(\"^.*\")",
    "Format": '{x} | localtime("Asia/Shanghai", "%Y-%m-%d %H:%M:%S")',
    "strftime": '{x} | localtime("Asia/Shanghai", "%Y-%m-%d %H:%M:%S")',
}  # fmt: skip
"""Methods of a text in Python, JavaScript and Go -> the filter that does it; {x} is the text, {a} {b} arguments."""


def method(text: str, name: str, arguments: Sequence[str]) -> str:
    """What to write instead of a method of a text; empty where the name is none."""
    known = _METHODS.get(name) or ("{x} | FILTER" if hasattr(str, name) and name[0] != "_" else "")
    a, b = [*arguments, "", ""][:2] if arguments else ("…", "…")
    written = known.format(x=text, a=a, b=b)
    return f"write {written if '`' in written else f'`{written}`'}" if known else ""


def name(word: str) -> str:
    """What to write instead of a name that is not one of ours, empty where nothing is known of it."""
    if word in EXPECTED:
        return EXPECTED[word]
    if word in _ANNOTATIONS:
        return f"write annotations.{word}"
    if word in NO_FILTER:
        return NO_FILTER[word]
    return f"write labels.{word}" if word in _LABELS else ""


def function(word: str) -> str:
    """What to write instead of a call of a name that is not one of ours."""
    if word in NO_FILTER:
        return NO_FILTER[word]
    known = FILTERS.get(word, "")
    return f"write `VALUE | {known}`" if known else ""


def filter_(word: str) -> str:
    """What to write instead of a filter that is not one of ours, empty where nothing is known of it."""
    if word.partition(".")[0] in ("labels", "annotations"):
        return "write `or`"
    return NO_FILTER.get(word) or (f"write `| {FILTERS[word]}`" if word in FILTERS else "")
