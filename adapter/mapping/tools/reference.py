"""PURE: the mapping language as a list to choose from: its names, filters and fields, each with a line of help."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Final

from adapter.coc.fields import ADDITIONAL, FIELDS, LEVELS
from adapter.mapping.rules.filters import FILTERS
from adapter.mapping.rules.language import ALERT_NAMES, GROUP_NAMES, environment

_NAMES: Final = {
    "labels": "labels of the alert by name: labels.pod; an absent one is empty text",
    "annotations": "annotations of the alert by name: annotations.summary; an absent one is empty text",
    "alert.status": "firing or resolved",
    "alert.startsAt": "when the alert began, RFC 3339",
    "alert.endsAt": "when it ended, RFC 3339; year 1 while it fires",
    "alert.generatorURL": "the link to the graph of its expression",
    "alert.fingerprint": "Alertmanager's hash of its labels",
    "group.receiver": "Alertmanager's receiver",
    "group.groupKey": "the group's key in Alertmanager",
    "group.groupLabels": "the labels that Alertmanager groups by",
    "group.commonLabels": "the labels that all alerts of the group share",
    "group.commonAnnotations": "the annotations that all alerts of the group share",
    "group.externalURL": "the address of Alertmanager's pages",
    "integration": "the name of the integration that the alert is reported to",
    "lookup": "the tables of this file: lookup.TABLE[labels.namespace]; an absent key is empty text",
}
_FIELDS: Final = {
    "alarmName": "what happened; letters of any script, digits, - and _",
    "alarmLevel": "how bad it is; {{ labels.severity | level }} for a severity word",
    "nameSpace": "where it happened",
    "regionId": "the region of Huawei Cloud",
    "applicationId": "the COC application; {{ labels.app | application }} for its name",
    "resourceName": "the resource that it is about",
    "resourceId": "the id of that resource",
    "alarmDesc": "what a person on call has to know; may have several lines",
    "URL": "a link, left out when it is too long",
    "alarmSource": "prometheus unless set",
    ADDITIONAL: "a map of more texts by names of your own",
}

_NEXT_SENTENCE: Final = re.compile(r"(?<=\.) (?=[A-Z])")
_MARKUP: Final = re.compile(r"`|:\w+:")  # of reStructuredText


def names() -> list[dict[str, str]]:
    known = ["labels", "annotations", *(f"alert.{name}" for name in ALERT_NAMES)]
    known += [*(f"group.{name}" for name in GROUP_NAMES), "integration", "lookup"]
    return [{"name": name, "help": _NAMES[name]} for name in known]


def filters() -> list[dict[str, str]]:
    """Ours first, then Jinja2's by name."""
    every = environment().filters
    rest = sorted(name for name in every if name not in FILTERS)
    return [
        {"name": name, "signature": _signature(name, every[name]), "help": _help(every[name])}
        for name in (*FILTERS, *rest)
    ]


def fields() -> list[dict[str, Any]]:
    """Those that a mapping may set."""
    own = [
        {
            "name": field.name,
            "required": field.required,
            "max": field.limit,
            "values": list(LEVELS) if field.name == "alarmLevel" else [],
            "help": _FIELDS[field.name],
        }
        for field in FIELDS
        if not field.own
    ]
    return [*own, {"name": ADDITIONAL, "required": False, "max": None, "values": [], "help": _FIELDS[ADDITIONAL]}]


def _signature(name: str, function: Callable[..., Any]) -> str:
    """The name and the arguments in brackets, without the value that is filtered."""
    try:
        taken = list(inspect.signature(inspect.unwrap(function)).parameters.values())
    except (TypeError, ValueError):  # built-in functions may have none
        return name
    arguments = taken[1 + hasattr(inspect.unwrap(function), "jinja_pass_arg") :]
    shown = ", ".join(str(argument.replace(annotation=inspect.Parameter.empty)) for argument in arguments)
    return f"{name}({shown})" if shown else name


def _help(function: Callable[..., Any]) -> str:
    """The first sentence of what the function says of itself."""
    text = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    return _MARKUP.sub("", _NEXT_SENTENCE.split(text)[0])
