"""What people write who come from Go templates, Python, JavaScript, Liquid or PromQL, and what to write here (pure).

Nothing here decides that a template is wrong: these are the words for what the parser and the checks have found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from adapter.yamltraps import INVISIBLE, PUNCTUATION


class Habit(NamedTuple):
    """A correction, for the text that begins `at`."""

    at: int
    message: str
    hint: str


_GO_FIELDS: Final[Mapping[str, str]] = {
    "Labels": "labels", "Annotations": "annotations", "labels": "labels", "annotations": "annotations",
    "CommonLabels": "group.commonLabels", "CommonAnnotations": "group.commonAnnotations",
    "GroupLabels": "group.groupLabels", "GroupKey": "group.groupKey", "Receiver": "group.receiver",
    "ExternalURL": "group.externalURL", "externalURL": "group.externalURL", "Status": "alert.status",
    "StartsAt": "alert.startsAt", "EndsAt": "alert.endsAt", "GeneratorURL": "alert.generatorURL",
    "Fingerprint": "alert.fingerprint",
}  # fmt: skip
_EACH_ALERT: Final = "each alert is an alarm of its own here: write labels and annotations"
_NO_VALUE: Final = (
    "Alertmanager sends no value; put it into an annotation of the alerting rule and write annotations.NAME"
)
_NO_FIELD: Final = "Alertmanager sends no such field; put it into an annotation and write annotations.NAME"
_NO_PARTS: Final = "there are no named templates: write the text in the field"

_EXPECTED: Final[Mapping[str, str]] = {
    **{field[0].lower() + field[1:]: f"write {ours}" for field, ours in _GO_FIELDS.items() if "." in ours},
    **dict.fromkeys(("value", "values", "val", "valueString"), _NO_VALUE),
    **dict.fromkeys(("alerts", "Alerts"), _EACH_ALERT),
    **{field: f"write {ours}" for field, ours in _GO_FIELDS.items() if field[0].isupper()},
    "Value": _NO_VALUE, "end": "write {% endif %} or {% endfor %}", "else": "write {% else %}",
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

_FILTERS: Final[Mapping[str, str]] = {
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
_NO_FILTER: Final[Mapping[str, str]] = {
    **dict.fromkeys(("safeHtml", "safeUrl", "safeHTML", "safeURL", "safe_html"), "leave it out: text arrives as it is"),
    **dict.fromkeys(
        ("humanize", "humanize1024", "humanizeDuration", "humanizePercentage", "humanizeTimestamp"),
        "write it in the alerting rule, where Prometheus knows the number, or here `| round(1)` or `| filesizeformat`",
    ),
    **dict.fromkeys(("now", "since"), "a template knows the times of the alert only: alert.startsAt, alert.endsAt"),
    **dict.fromkeys(("ternary", "iif"), "write X if CONDITION else Y"),
    **dict.fromkeys(("template", "define", "block", "tmpl"), _NO_PARTS),
    **dict.fromkeys(("range", "with"), _EACH_ALERT),
}

_GO_CALLS: Final[Mapping[str, str]] = {
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
_ARGUMENT: Final = re.compile(r'"(?:\\.|[^"\\])*"|`[^`]*`|\'[^\']*\'|\([^()]*\)|[^\s|()]+')
_LAYOUT: Final = {
    "2006": "%Y", "01": "%m", "02": "%d", "15": "%H", "04": "%M", "05": "%S", "Jan": "%b", "MST": "%Z", "Mon": "%a",
}  # fmt: skip

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
    "join": "LIST | join({x})",
    "format": '`"%s" | format(VALUE)`, or put texts together by `~`',
    "encode": "{x} | urlencode", "splitlines": "{x} | regex_search(\"^.*\")",
    "Format": '{x} | localtime("Asia/Shanghai", "%Y-%m-%d %H:%M:%S")',
    "strftime": '{x} | localtime("Asia/Shanghai", "%Y-%m-%d %H:%M:%S")',
}  # fmt: skip
"""Methods of a text in Python, JavaScript and Go -> the filter that does it; {x} is the text, {a} {b} arguments."""


_LEAD: Final = re.compile(r"[\s(-]*(?:\|(?!\|)[\s(-]*)?")  # what stands before the word that is corrected
_LONGEST: Final = 500  # characters of the piece of a template in which a habit is looked for


def method(text: str, name: str, arguments: Sequence[str]) -> str:
    """What to write instead of a method of a text; empty where the name is none."""
    known = _METHODS.get(name) or ("{x} | FILTER" if hasattr(str, name) and name[0] != "_" else "")
    a, b = [*arguments, "", ""][:2] if arguments else ("…", "…")
    written = known.format(x=text, a=a, b=b)
    return f"write {written if '`' in written else f'`{written}`'}" if known else ""


def name(word: str) -> str:
    """What to write instead of a name that is not one of ours, empty where nothing is known of it."""
    if word in _EXPECTED:
        return _EXPECTED[word]
    if word in _ANNOTATIONS:
        return f"write annotations.{word}"
    if word in _NO_FILTER:
        return _NO_FILTER[word]
    return f"write labels.{word}" if word in _LABELS else ""


def function(word: str) -> str:
    """What to write instead of a call of a name that is not one of ours."""
    if word in _NO_FILTER:
        return _NO_FILTER[word]
    known = _FILTERS.get(word, "")
    return f"write `VALUE | {known}`" if known else ""


def filter_(word: str) -> str:
    """What to write instead of a filter that is not one of ours, empty where nothing is known of it."""
    if word.partition(".")[0] in ("labels", "annotations"):
        return "write `or`"
    return _NO_FILTER.get(word) or (f"write `| {_FILTERS[word]}`" if word in _FILTERS else "")


_DASHED: Final = re.compile(
    r"(labels|annotations|lookup|(?:group\.)?(?:groupLabels|commonLabels|commonAnnotations))\.(\w+(?:[-/.:]\w+)+)"
)


def dashed(source: str, at: int) -> tuple[str, str] | None:
    """A label as it is written, whose name has a dash or a slash, and how it is written here."""
    found = _DASHED.match(source, at)
    if not found or set(found[2]).isdisjoint("-/") or not set(found[2].split("-")[1:]).isdisjoint(_EXPECTED):
        return None
    return found[0], f'{found[1]}["{found[2]}"]'


_IF: Final = re.compile(r"\s*if\s+(.*)", re.S)
_BRACES: Final = re.compile(r"\{[{%]|[}%]\}")
_SPACED_DOT: Final = re.compile(
    r"(?:^-?|[(|])\s*(?!(?:labels|annotations|alert|group|lookup)\b)[A-Za-z]\w*\s+(\.[A-Z])"
)


def go_call(source: str, *, expression: bool) -> Habit | None:
    """A word of Go before a field of Go's, as in `{{ range .Alerts }}`: Jinja2 would read one name with a dot."""
    for start, inside in [(0, source)] if expression else _insides(source):
        spaced = _SPACED_DOT.search(inside[:_LONGEST])
        if spaced and (habit := in_syntax(source, start + spaced.start(1), expression=expression)):
            return habit
    return None


def _insides(source: str) -> Iterator[tuple[int, str]]:
    """What stands in braces, with its place."""
    opened = None
    for brace in _BRACES.finditer(source):
        if brace[0][0] == "{":
            opened = brace.end() if opened is None else opened
        elif opened is not None:
            yield opened, source[opened : brace.start()]
            opened = None


def go_if(inside: str) -> str:
    """The condition of an `if` that stands in braces, as it is written here; empty for anything else."""
    found = _IF.match(inside[:_LONGEST].partition("}}")[0].partition("%}")[0])
    return jinja(found[1].strip(" -")) if found else ""


def in_syntax(source: str, offset: int, *, expression: bool) -> Habit | None:
    """The habit behind a syntax error at an offset of a template, or of a condition."""
    char = source[offset : offset + 1]
    if char in PUNCTUATION and not char.isascii():
        return Habit(offset, f"{char!r} is not punctuation of a template", f"type {PUNCTUATION[char]}")
    if char in INVISIBLE:
        return Habit(offset, f"{INVISIBLE[char]} (U+{ord(char):04X})", "it cannot be seen: delete it, or type a space")
    start, end = (0, len(source)) if expression else _piece(source, offset)
    piece = source[start : min(end, start + _LONGEST)]
    for label in _DASHED.finditer(piece):
        meant = dashed(piece, label.start())
        if meant and start + label.start() <= offset <= start + label.end():
            return Habit(start + label.start(), f"{meant[0]} is not one name", f"write {meant[1]}")
    if expression and (go_if := _IF.match(piece)):
        return Habit(go_if.start(1), "a condition has no `if`", f"write {jinja(go_if[1])}")
    block = not expression and source[start - 2 : start] == "{%"
    for pattern, correct in _BLOCK if block else [*_PRINT, *_ANYWHERE]:
        found = pattern.search(piece)
        if found and (correction := correct(found)):
            lead = _LEAD.match(found[0])
            return Habit(start + found.start() + (lead.end() if lead else 0), *correction)
    return None


def _piece(source: str, offset: int) -> tuple[int, int]:
    """Where the inside of the braces around an offset begins and ends."""
    start = max(source.rfind("{{", 0, offset + 1), source.rfind("{%", 0, offset + 1))
    if start < 0:
        start = max(0, min((at for at in (source.find("{{"), source.find("{%")) if at >= 0), default=0))
    start += 2
    ends = [at for at in (source.find("}}", start), source.find("%}", start)) if at >= 0]
    return start, min(ends, default=len(source))


# Go's expressions in ours ------------------------------------------------------------------------------------------

_FIELD: Final = re.compile(r"(?<![\w\])\"'.])\$?\.?(" + "|".join(sorted(_GO_FIELDS, key=len, reverse=True)) + r")\b")
_FORMAT: Final = re.compile(r"(\w)\.Format\s+\"([^\"]*)\"")
_BAR: Final = re.compile(r"\|(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)")  # outside of quotes
_INDEX: Final = re.compile(r"\(?\bindex\s+[$.]*(\w+)\s+(\"[^\"]*\"|'[^']*'|`[^`]*`)\)?")


def jinja(go: str) -> str:
    """A Go expression as Jinja2, as far as its words go."""
    text = _INDEX.sub(lambda found: f"{_GO_FIELDS.get(found[1], found[1])}[{_quoted(found[2])}]", go.strip(" -"))
    text = _FIELD.sub(lambda found: _GO_FIELDS[found[1]], text)
    text = _FORMAT.sub(lambda found: f"{found[1]} | localtime(format={_layout(found[2])})", text.replace("$", ""))
    words = text.split(None, 1)
    if len(words) == 2 and words[0] in _GO_CALLS:
        return _called(words[0], words[1]) or text
    return text


def _called(name: str, rest: str, piped: str = "") -> str:
    """A call of Go's as Jinja2; empty where arguments are missing."""
    given = [_argument(word) for word in _ARGUMENT.findall(rest.split("|")[0])]
    given = [*given, piped] if piped else given
    if name in ("dateInZone", "date") and given and given[0].startswith('"'):
        given[0] = _layout(given[0].strip('"'))
    if name == "date" and len(given) > 1:
        return f"{given[1]} | localtime(format={given[0]})"
    if name in ("hasPrefix", "hasSuffix") and len(given) > 1:
        bare = given[0].strip('"')
        return f'{given[1]} | regex_search("{"^" + bare if name == "hasPrefix" else bare + "$"}")'
    try:
        return _GO_CALLS[name].format(*given, rest=", ".join(given[1:]))
    except IndexError:
        return ""


def _argument(word: str) -> str:
    return _quoted(word) if word[0] in "`\"'" else jinja(word.strip("()"))


def _quoted(word: str) -> str:
    return f'"{word[1:-1]}"' if word[0] == "`" else word


def _layout(go: str) -> str:
    for theirs, ours in _LAYOUT.items():
        go = go.replace(theirs, ours)
    return f'"{go}"'


# Corrections -------------------------------------------------------------------------------------------------------

Correction = Callable[[re.Match[str]], tuple[str, str] | None]


def _fixed(message: str, hint: str) -> Correction:
    """Groups of the match stand in both as {0}, {1} ..."""

    def correct(found: re.Match[str]) -> tuple[str, str]:
        groups = [(group or "").strip() for group in found.groups()]
        return message.format(*groups), hint.format(*groups)

    return correct


def _go_if(found: re.Match[str]) -> tuple[str, str]:
    condition = jinja(found[2]) or "CONDITION"
    if found[1] == "with":
        return "`with` is of Go templates", f"write {{% if {condition} %}}...{{% endif %}}"
    return "`{{ if }}` is of Go templates", f"write {{% if {condition} %}}...{{% endif %}}"


_QUOTED: Final = re.compile(r"\s*\"([^\"]*)\"")


def _go_field(found: re.Match[str]) -> tuple[str, str]:
    whole, field, rest = found[0].strip(), found[1], found[2] or ""
    if field in ("Value", "ValueString", "Values", "value"):
        return f"{whole} is written as in Go templates", _NO_VALUE
    if field.startswith("Alerts"):
        return f"{whole} is written as in Go templates", _EACH_ALERT
    if field in ("StartsAt", "EndsAt") and rest:
        layout = _QUOTED.match(found.string, found.end()) if rest == ".Format" else None
        shown = f"(format={_layout(layout[1])})" if layout else ""
        return f"{whole} is written as in Go templates", f"write {_GO_FIELDS[field]} | localtime{shown}"
    if rest in (".SortedPairs", ".Names", ".Values", ".Remove"):
        return f"{whole} is written as in Go templates", f"write {_GO_FIELDS.get(field, field)} | dictsort"
    ours = _GO_FIELDS.get(field)
    if ours is None and field[0].isupper():
        return f"{whole} is written as in Go templates", _NO_FIELD
    if whole[0] == "$" and ours is None:
        return f"{whole}: a name has no $ here", f"write {field}{rest}"
    language = "Prometheus" if whole[0] == "$" and whole[1] != "." else "Go templates"
    return f"{whole} is written as in {language}", f"write {(ours or field) + rest}, without the leading {whole[0]}"


def _go_index(found: re.Match[str]) -> tuple[str, str]:
    message = "'index' is a function of Go templates"
    if "Alerts" in found[1]:
        return message, _EACH_ALERT
    return message, f"write {jinja(found[1])}[{jinja(found[2])}]"


_ABSENT: Final = re.compile(r"\$value\b|\.Value\b|\.(Alerts)\b")


def _go_call(found: re.Match[str]) -> tuple[str, str] | None:
    name = found[1]
    message = f"{name!r} stands before its arguments as in Go templates"
    if name in _NO_FILTER:
        return f"{name!r} is a function of Go templates", _NO_FILTER[name]
    if name not in _GO_CALLS:
        return None
    if absent := _ABSENT.search(found[2]):
        return f"{name!r} is a function of Go templates", _EACH_ALERT if absent[1] else _NO_VALUE
    ours = _called(name, found[2])
    return message, f"write `{ours}`" if ours else filter_(name) or f"write `VALUE | {name}`"


def _go_pipeline(found: re.Match[str]) -> tuple[str, str] | None:
    """A field of Go's with filters behind it, where all of them have a counterpart."""
    first, *filters = (part.strip(" -") for part in _BAR.split(found[0]))
    ours = jinja(first)
    if _ABSENT.search(first) or ours == first or ".SortedPairs" in first or "(" in first:
        return None
    for call in filters:
        name, arguments = (
            call.split(None, 1)[0] if call else "",
            [_argument(word) for word in _ARGUMENT.findall(call)[1:]],
        )
        if name in ("safeHtml", "safeUrl"):
            continue
        if name not in _FILTERS and name not in _GO_CALLS:
            return None
        ours += f" | {_FILTERS.get(name, name)}" + (f"({', '.join(arguments)})" if arguments else "")
    return f"{first} is written as in Go templates", f"write `{ours}`"


def _piped_argument(found: re.Match[str]) -> tuple[str, str]:
    name, arguments = found[1], [_argument(word) for word in _ARGUMENT.findall(found[2])]
    if name in _NO_FILTER:
        return f"{name!r} is a function of Go templates", _NO_FILTER[name]
    message = f"an argument of {name!r} without parentheses, as in Go templates"
    if name in ("printf", "print"):
        return message, f"write `{arguments[0]} | format(VALUE)`"
    return message, f"write `| {_FILTERS.get(name, name)}({', '.join(arguments)})`"


def _regex_match(found: re.Match[str]) -> tuple[str, str]:
    left, operator, pattern = found.groups()
    quote = pattern[0]
    ours = f"{jinja(left)} | regex_search({quote}^(?:{pattern[1:-1]})${quote})"
    return f"{operator!r} is an operator of PromQL", f"write `{ours if operator == '=~' else f'not {ours}'}`"


def _infix(found: re.Match[str]) -> tuple[str, str] | None:
    left, word, right = found.groups()
    bare = right[1:-1]
    ours = {
        "contains": f"{right} in {left}", "includes": f"{right} in {left}", "like": f"{right} in {left}",
        "matches": f"{left} | regex_search({right})", "match": f"{left} | regex_search({right})",
        "startswith": f'{left} | regex_search("^{bare}")', "endswith": f'{left} | regex_search("{bare}$")',
        "eq": f"{left} == {right}", "ne": f"{left} != {right}",
    }.get(word.lower())  # fmt: skip
    return (f"there is no operator {word!r}", f"write `{ours}`") if ours else None


_BLOCK: Final[Sequence[tuple[re.Pattern[str], Correction]]] = [
    (re.compile(r"^-?\s*(else\s*if|elsif|elseif)\b\s*(.*?)\s*-?$", re.S),
     _fixed("{0!r} is written elif here", "write {{% elif {1} %}}")),
    (re.compile(r"^-?\s*(end|fi|done)\s*-?$"),
     _fixed("{0!r} does not say what ends", "write {{% endif %}} or {{% endfor %}}")),
    (re.compile(r"^-?\s*(?:assign|var|let)\s+(.*?)\s*-?$", re.S),
     _fixed("a name is given by `set` here", "write {{% set {0} %}}")),
    (re.compile(r"^-?\s*unless\s+(.*?)\s*-?$", re.S), _fixed("there is no `unless` here", "write {{% if not {0} %}}")),
    (re.compile(r"^-?\s*((?:labels|annotations|alert|group|lookup|integration)\b.*?)\s*-?$", re.S),
     _fixed("a value in the braces of a statement", "write {{{{ {0} }}}}")),
]  # fmt: skip
"""Inside {% %}."""

_PRINT: Final[Sequence[tuple[re.Pattern[str], Correction]]] = [
    (re.compile(r"^-?\s*/\*\s*(.*?)\s*\*/", re.S), _fixed("a comment of Go templates", "write {{# {0} #}}")),
    (re.compile(r"^-?\s*\$(\w+)\s*:?=\s*(.*?)\s*-?$", re.S), lambda found: (
        "a variable of Go templates", f"write {{% set {found[1]} = {jinja(found[2])} %}}, and {found[1]} without $")),
    (re.compile(r"^-?\s*(?:range\b.*?|end)\s*-?$", re.S), _fixed(
        "a loop of Go templates", f"{_EACH_ALERT}; for all labels {{{{% for name, value in labels | dictsort %}}}}")),
    (re.compile(r"^-?\s*(else\s*if|elsif|elseif|elif)\b\s*(.*?)\s*-?$", re.S), lambda found: (
        f"{found[1]!r} in double braces", f"write {{% elif {jinja(found[2])} %}}")),
    (re.compile(r"^-?\s*(if|with)\b\s*(.*?)\s*-?$", re.S), _go_if),
    (re.compile(r"^-?\s*(template|define|block|tmpl)\b"), _fixed("{0!r} is of Go templates", _NO_PARTS)),
]  # fmt: skip
"""Inside {{ }}."""

_GO_NAME: Final = r"(?:(?<![\w\])\"'.])\.|\$\.?)([A-Za-z_]\w*)((?:\.\w+)*)"
_ANYWHERE: Final[Sequence[tuple[re.Pattern[str], Correction]]] = [
    (re.compile(r"^-?\s*(?:\.|\$\.?)[A-Za-z][^|]*\|.*$", re.S), _go_pipeline),
    (re.compile(r"\bindex\s+([.$\w]+)\s+([.$\w]+)"), _go_index),
    (_INDEX, lambda found: ("'index' is a function of Go templates", f"write {jinja(found[0])}")),
    (re.compile(r"\|\s*(\w+)\s+(" + r"(?:(?:\"[^\"]*\"|'[^']*'|`[^`]*`|\d+)\s*)+)"), _piped_argument),
    (re.compile(r"(?:^-?|[(|])\s*([A-Za-z]\w*)\s+((?=[\"'`(.$\w]).*)", re.S), _go_call),
    (re.compile(_GO_NAME), _go_field),
    (re.compile(r"\$\{\s*([^{}]+?)\s*\}"), _fixed("a variable of a shell", "write {0}")),
    (re.compile(r"^\s*\{\s*([^{}:]+?)\s*\}"), _fixed("braces around a name", "write {0}")),
    (re.compile(r"%\((\w+)\)[a-z]"), _fixed("a placeholder of Python", "write labels.{0}")),
    (re.compile(r"^(?P<a>[^?]+)\?(?P<b>[^:?]+):(?P<c>.+?)-?$", re.S), lambda found: (
        "there is no `? :` here",
        f"write `{found['b'].strip()} if {found['a'].strip()} else {found['c'].strip()}`")),
    (re.compile(r"(\S+)\s*(=~|!~)\s*(\"[^\"]*\"|'[^']*')"), _regex_match),
    (re.compile(r"(\S+)\s+([A-Za-z]+)\s+(\"[^\"]*\"|'[^']*')"), _infix),
    (re.compile(r"\s(AND|OR|NOT)\s"), lambda found: (f"{found[1]!r} in capitals", f"write `{found[1].lower()}`")),
    (re.compile(r"&&"), _fixed("there is no `&&` here", "write `and`")),
    (re.compile(r"\|\|"), _fixed("there is no `||` here", "write `or`")),
    (re.compile(r"===|!=="), lambda found: (f"there is no `{found[0]}` here", f"write `{found[0][:2]}`")),
    (re.compile(r"\?\?"), _fixed("there is no `??` here", "write `or`")),
    (re.compile(r"<>"), _fixed("there is no `<>` here", "write `!=`")),
]  # fmt: skip
"""Inside any braces but {% %}, and in a condition."""
