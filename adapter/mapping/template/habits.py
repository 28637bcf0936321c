"""What people write who come from Go templates, Python, JavaScript, Liquid or PromQL, and what to write here (pure).

Nothing here decides that a template is wrong: these are the words for what the parser and the checks have found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from adapter.mapping.template.golang import ARGUMENT, BAR, CALLS, INDEX, argument, called, jinja, layout
from adapter.mapping.template.words import (
    EACH_ALERT,
    EXPECTED,
    FILTERS,
    GO_FIELDS,
    NO_FIELD,
    NO_FILTER,
    NO_PARTS,
    NO_VALUE,
    filter_,
)
from adapter.yamltraps import INVISIBLE, PUNCTUATION


class Habit(NamedTuple):
    """A correction, for the text that begins `at`."""

    at: int
    message: str
    hint: str


_LEAD: Final = re.compile(r"[\s(-]*(?:\|(?!\|)[\s(-]*)?")  # what stands before the word that is corrected
_LONGEST: Final = 500  # characters of the piece of a template in which a habit is looked for


_DASHED: Final = re.compile(
    r"(labels|annotations|lookup|(?:group\.)?(?:groupLabels|commonLabels|commonAnnotations))\.(\w+(?:[-/.:]\w+)+)"
)


def dashed(source: str, at: int) -> tuple[str, str] | None:
    """A label as it is written, whose name has a dash or a slash, and how it is written here."""
    found = _DASHED.match(source, at)
    if not found or set(found[2]).isdisjoint("-/") or not set(found[2].split("-")[1:]).isdisjoint(EXPECTED):
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
        return f"{whole} is written as in Go templates", NO_VALUE
    if field.startswith("Alerts"):
        return f"{whole} is written as in Go templates", EACH_ALERT
    if field in ("StartsAt", "EndsAt") and rest:
        given = _QUOTED.match(found.string, found.end()) if rest == ".Format" else None
        shown = f"(format={layout(given[1])})" if given else ""
        return f"{whole} is written as in Go templates", f"write {GO_FIELDS[field]} | localtime{shown}"
    if rest in (".SortedPairs", ".Names", ".Values", ".Remove"):
        return f"{whole} is written as in Go templates", f"write {GO_FIELDS.get(field, field)} | dictsort"
    ours = GO_FIELDS.get(field)
    if ours is None and field[0].isupper():
        return f"{whole} is written as in Go templates", NO_FIELD
    if whole[0] == "$" and ours is None:
        return f"{whole}: a name has no $ here", f"write {field}{rest}"
    language = "Prometheus" if whole[0] == "$" and whole[1] != "." else "Go templates"
    return f"{whole} is written as in {language}", f"write {(ours or field) + rest}, without the leading {whole[0]}"


def _go_index(found: re.Match[str]) -> tuple[str, str]:
    message = "'index' is a function of Go templates"
    if "Alerts" in found[1]:
        return message, EACH_ALERT
    return message, f"write {jinja(found[1])}[{jinja(found[2])}]"


_ABSENT: Final = re.compile(r"\$value\b|\.Value\b|\.(Alerts)\b")


def _go_call(found: re.Match[str]) -> tuple[str, str] | None:
    name = found[1]
    message = f"{name!r} stands before its arguments as in Go templates"
    if name in NO_FILTER:
        return f"{name!r} is a function of Go templates", NO_FILTER[name]
    if name not in CALLS:
        return None
    if absent := _ABSENT.search(found[2]):
        return f"{name!r} is a function of Go templates", EACH_ALERT if absent[1] else NO_VALUE
    ours = called(name, found[2])
    return message, f"write `{ours}`" if ours else filter_(name) or f"write `VALUE | {name}`"


def _go_pipeline(found: re.Match[str]) -> tuple[str, str] | None:
    """A field of Go's with filters behind it, where all of them have a counterpart."""
    first, *filters = (part.strip(" -") for part in BAR.split(found[0]))
    ours = jinja(first)
    if _ABSENT.search(first) or ours == first or ".SortedPairs" in first or "(" in first:
        return None
    for call in filters:
        name, arguments = (
            call.split(None, 1)[0] if call else "",
            [argument(word) for word in ARGUMENT.findall(call)[1:]],
        )
        if name in ("safeHtml", "safeUrl"):
            continue
        if name not in FILTERS and name not in CALLS:
            return None
        ours += f" | {FILTERS.get(name, name)}" + (f"({', '.join(arguments)})" if arguments else "")
    return f"{first} is written as in Go templates", f"write `{ours}`"


def _piped_argument(found: re.Match[str]) -> tuple[str, str]:
    name, arguments = found[1], [argument(word) for word in ARGUMENT.findall(found[2])]
    if name in NO_FILTER:
        return f"{name!r} is a function of Go templates", NO_FILTER[name]
    message = f"an argument of {name!r} without parentheses, as in Go templates"
    if name in ("printf", "print"):
        return message, f"write `{arguments[0]} | format(VALUE)`"
    return message, f"write `| {FILTERS.get(name, name)}({', '.join(arguments)})`"


def _regex_match(found: re.Match[str]) -> tuple[str, str]:
    left, operator, pattern = found.groups()
    quote = pattern[0].replace("/", '"')
    ours = f"{jinja(left)} | regex_search({quote}^(?:{pattern[1:-1]})${quote})"
    return f"{operator!r} is an operator of PromQL", f"write `{ours if operator != '!~' else f'not {ours}'}`"


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
        "a loop of Go templates", f"{EACH_ALERT}; for all labels {{{{% for name, value in labels | dictsort %}}}}")),
    (re.compile(r"^-?\s*(else\s*if|elsif|elseif|elif)\b\s*(.*?)\s*-?$", re.S), lambda found: (
        f"{found[1]!r} in double braces", f"write {{% elif {jinja(found[2])} %}}")),
    (re.compile(r"^-?\s*(if|with)\b\s*(.*?)\s*-?$", re.S), _go_if),
    (re.compile(r"^-?\s*(template|define|block|tmpl)\b"), _fixed("{0!r} is of Go templates", NO_PARTS)),
]  # fmt: skip
"""Inside {{ }}."""

_GO_NAME: Final = r"(?:(?<![\w\])\"'.])\.|\$\.?)([A-Za-z_]\w*)((?:\.\w+)*)"
_ANYWHERE: Final[Sequence[tuple[re.Pattern[str], Correction]]] = [
    (re.compile(r"^-?\s*(?:\.|\$\.?)[A-Za-z][^|]*\|.*$", re.S), _go_pipeline),
    (re.compile(r"\bindex\s+([.$\w]+)\s+([.$\w]+)"), _go_index),
    (INDEX, lambda found: ("'index' is a function of Go templates", f"write {jinja(found[0])}")),
    (re.compile(r"\|\s*(\w+)\s+(" + r"(?:(?:\"[^\"]*\"|'[^']*'|`[^`]*`|\d+)\s*)+)"), _piped_argument),
    (re.compile(r"(?:^-?|[(|])\s*([A-Za-z]\w*)\s+((?=[\"'`(.$\w]).*)", re.S), _go_call),
    (re.compile(_GO_NAME), _go_field),
    (re.compile(r"\$\{\s*([^{}]+?)\s*\}"), _fixed("a variable of a shell", "write {0}")),
    (re.compile(r"^\s*\{\s*([^{}:]+?)\s*\}"), _fixed("braces around a name", "write {0}")),
    (re.compile(r"%\((\w+)\)[a-z]"), _fixed("a placeholder of Python", "write labels.{0}")),
    (re.compile(r"^(?P<a>[^?]+)\?(?P<b>[^:?]+):(?P<c>.+?)-?$", re.S), lambda found: (
        "there is no `? :` here",
        f"write `{found['b'].strip()} if {found['a'].strip()} else {found['c'].strip()}`")),
    (re.compile(r"(\S+)\s*(=~|!~|~=)\s*(\"[^\"]*\"|'[^']*'|/[^/]*/)"), _regex_match),
    (re.compile(r"(\S+)\s+is\s+(not\s+)?(\"[^\"]*\"|'[^']*')"), lambda found: (
        "`is` compares with no text", f"write `{found[1]} {'!=' if found[2] else '=='} {found[3]}`")),
    (re.compile(r"(\S+)\s+([A-Za-z]+)\s+(\"[^\"]*\"|'[^']*')"), _infix),
    (re.compile(r"\s(AND|OR|NOT)\s"), lambda found: (f"{found[1]!r} in capitals", f"write `{found[1].lower()}`")),
    (re.compile(r"&&"), _fixed("there is no `&&` here", "write `and`")),
    (re.compile(r"\|\|"), _fixed("there is no `||` here", "write `or`")),
    (re.compile(r"===|!=="), lambda found: (f"there is no `{found[0]}` here", f"write `{found[0][:2]}`")),
    (re.compile(r"\?\?"), _fixed("there is no `??` here", "write `or`")),
    (re.compile(r"<>"), _fixed("there is no `<>` here", "write `!=`")),
]  # fmt: skip
"""Inside any braces but {% %}, and in a condition."""
