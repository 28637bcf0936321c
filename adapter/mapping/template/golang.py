"""Expressions of Go templates as Jinja2, as far as their words go (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from adapter.mapping.template.words import GO_FIELDS

CALLS: Final[Mapping[str, str]] = {
    "toUpper": "{0} | upper", "toLower": "{0} | lower", "upper": "{0} | upper", "lower": "{0} | lower",
    "title": "{0} | title", "trimSpace": "{0} | trim", "trim": "{0} | trim", "len": "{0} | length",
    "first": "{0} | first", "urlquery": "{0} | urlencode", "stripPort": "{0} | host", "toJson": "{0} | tojson",
    "quote": "{0} | tojson", "date": "{1} | localtime({0})", "join": "{1} | join({0})",
    "match": "{1} | regex_search({0})", "regexMatch": "{1} | regex_search({0})", "contains": "{0} in {1}",
    "reReplaceAll": "{2} | regex_replace({0}, {1})", "regexReplaceAll": "{1} | regex_replace({0}, {2})",
    "replace": "{2} | replace({0}, {1})", "trunc": "{1} | clip({0})", "default": "{1} | default({0})",
    "printf": "{0} | format({rest})", "print": "{0}", "println": "{0}", "coalesce": "{0} or {1}",
    "ternary": "{0} if {2} else {1}", "dateInZone": "{1} | localtime({2}, {0})", "tz": "{1} | localtime({0})",
    "eq": "{0} == {1}", "ne": "{0} != {1}", "gt": "{0} > {1}", "lt": "{0} < {1}", "ge": "{0} >= {1}",
    "le": "{0} <= {1}", "and": "{0} and {1}", "or": "{0} or {1}", "not": "not {0}", "hasPrefix":
    "{1} | regex_search({0})", "hasSuffix": "{1} | regex_search({0})",
}  # fmt: skip
"""Functions of Go templates, Prometheus and Sprig -> the same here; the numbers are arguments."""
ARGUMENT: Final = re.compile(r'"(?:\\.|[^"\\])*"|`[^`]*`|\'[^\']*\'|\([^()]*\)|[^\s|()]+')
_LAYOUT: Final = {
    "2006": "%Y", "01": "%m", "02": "%d", "15": "%H", "04": "%M", "05": "%S", "Jan": "%b", "MST": "%Z", "Mon": "%a",
}  # fmt: skip

_FIELD: Final = re.compile(r"(?<![\w\])\"'.])\$?\.?(" + "|".join(sorted(GO_FIELDS, key=len, reverse=True)) + r")\b")
_FORMAT: Final = re.compile(r"(\w)\.Format\s+\"([^\"]*)\"")
BAR: Final = re.compile(r"\|(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)")  # outside of quotes
INDEX: Final = re.compile(r"\(?\bindex\s+[$.]*(\w+)\s+(\"[^\"]*\"|'[^']*'|`[^`]*`)\)?")


def jinja(go: str) -> str:
    """A Go expression as Jinja2, as far as its words go."""
    text = INDEX.sub(lambda found: f"{GO_FIELDS.get(found[1], found[1])}[{quoted(found[2])}]", go.strip(" -"))
    text = _FIELD.sub(lambda found: GO_FIELDS[found[1]], text)
    text = _FORMAT.sub(lambda found: f"{found[1]} | localtime(format={layout(found[2])})", text.replace("$", ""))
    words = text.split(None, 1)
    if len(words) == 2 and words[0] in CALLS:
        return called(words[0], words[1]) or text
    return text


def called(name: str, rest: str, piped: str = "") -> str:
    """A call of Go's as Jinja2; empty where arguments are missing."""
    given = [argument(word) for word in ARGUMENT.findall(rest.split("|")[0])]
    given = [*given, piped] if piped else given
    if name in ("dateInZone", "date") and given and given[0].startswith('"'):
        given[0] = layout(given[0].strip('"'))
    if name == "date" and len(given) > 1:
        return f"{given[1]} | localtime(format={given[0]})"
    if name in ("hasPrefix", "hasSuffix") and len(given) > 1:
        bare = given[0].strip('"')
        return f'{given[1]} | regex_search("{"^" + bare if name == "hasPrefix" else bare + "$"}")'
    try:
        return CALLS[name].format(*given, rest=", ".join(given[1:]))
    except IndexError:
        return ""


def argument(word: str) -> str:
    return quoted(word) if word[0] in "`\"'" else jinja(word.strip("()"))


def quoted(word: str) -> str:
    return f'"{word[1:-1]}"' if word[0] == "`" else word


def layout(go: str) -> str:
    for theirs, ours in _LAYOUT.items():
        go = go.replace(theirs, ours)
    return f'"{go}"'
