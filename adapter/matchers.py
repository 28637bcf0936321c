"""Reads Alertmanager's matchers, such as `{severity=~"critical|warning", "k8s.pod"!=""}`, and applies them to labels.

All of them must hold; an absent label is "", and a pattern must match a whole value, as in Alertmanager. Quotes may be
left out where a value holds neither quotes, braces nor commas, and a name neither these, blanks nor operators. A lone
word is an error. Patterns are those of Rust's regex crate, in linear time and, but for rarities, in RE2's syntax.
Source: Alertmanager `matcher/parse` (UTF-8 names) and `pkg/labels/parse.go` (escapes, empty values).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic_core import SchemaError, SchemaValidator, core_schema

from adapter.errors import AdapterError

LONGEST: Final = 4096  # characters
MOST_PATTERNS: Final = 10  # compiling one takes up to 20 ms

_QUOTED: Final = r'"(?P<quoted>(?:[^"\\]|\\.)*)"'
_NAME: Final = re.compile(rf"""(?!""){_QUOTED}|(?P<bare>[^\s{{}}!=~,"'`]+)""", re.DOTALL)
_OPERATOR: Final = re.compile("=~|!~|!=|=")
_VALUE: Final = re.compile(rf"""{_QUOTED}|(?P<bare>[^\s{{}}!=~,"'`][^{{}},"'`]*)|(?=[}},])|$""", re.DOTALL)
_ESCAPE: Final = re.compile(r'\\([\\"n])')
_HINT: Final = """write them like severity="critical", namespace=~"shop|pay", team!="" """.strip()


class MatcherError(AdapterError):
    """The text is no list of matchers."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label."""

    name: str
    holds: Callable[[str], bool]  # whether it does for a value

    def matches(self, labels: Mapping[str, str]) -> bool:
        return self.holds(labels.get(self.name, ""))


def parse_matchers(texts: Sequence[str]) -> tuple[Matcher, ...]:
    """The matchers of all texts, none for `{}`. MatcherError says what cannot be read."""
    if sum(map(len, texts)) > LONGEST:
        raise MatcherError(f"matchers have at most {LONGEST} characters")
    conditions = [condition for text in texts for condition in _conditions(_Reader(text))]
    if sum("~" in operator for _, operator, _ in conditions) > MOST_PATTERNS:
        raise MatcherError(f"at most {MOST_PATTERNS} matchers may hold a pattern")
    return tuple(Matcher(name, _test(operator, value)) for name, operator, value in conditions)


def _conditions(reader: _Reader) -> list[tuple[str, str, str]]:
    """Name, operator and value of each matcher."""
    braces = reader.take_mark("{")
    conditions: list[tuple[str, str, str]] = []
    while found := reader.take(_NAME):
        conditions.append(_condition(_unescaped(found), reader))
        if not reader.take_mark(","):
            break
    if braces and not reader.take_mark("}"):
        raise reader.wants("a comma or the closing brace")
    if not reader.at_end:
        raise reader.wants("a comma" if conditions else "the name of a label")
    if not (conditions or braces):
        raise MatcherError(f"there is no matcher; {_HINT}")
    return conditions


def _condition(name: str, reader: _Reader) -> tuple[str, str, str]:
    operator = reader.take(_OPERATOR)
    if operator is None:
        raise reader.wants(f"=, !=, =~ or !~ behind {name[:100]!r}")
    value = reader.take(_VALUE)
    if value is None:
        raise reader.wants("a value")
    first, *rest = (value["bare"] or "").split(maxsplit=1) or [""]
    if any(_OPERATOR.search(more) for more in rest):
        raise MatcherError(f"a matcher needs a comma behind {first[:100]!r}; {_HINT}")
    return name, operator[0], _unescaped(value)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text.strip(), 0

    @property
    def at_end(self) -> bool:
        return self._at == len(self._text)

    def take(self, wanted: re.Pattern[str]) -> re.Match[str] | None:
        found = wanted.match(self._text, self._at)
        if found:
            self._go_to(found.end())
        return found

    def take_mark(self, mark: str) -> bool:
        found = self._text.startswith(mark, self._at)
        if found:
            self._go_to(self._at + 1)
        return found

    def _go_to(self, end: int) -> None:
        """And behind the blanks that follow."""
        self._at = len(self._text) - len(self._text[end:].lstrip())

    def wants(self, wanted: str) -> MatcherError:
        found = f"{self._text[self._at :][:100]!r}" if not self.at_end else "the end"
        return MatcherError(f"a matcher needs {wanted}, not {found}; {_HINT}")


def _unescaped(found: re.Match[str]) -> str:
    """Other escapes than those of quotes, backslashes and line ends stay, as a pattern wants them."""
    text = found["quoted"] or (found["bare"] or "").rstrip()
    return _ESCAPE.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], text)


def _test(operator: str, value: str) -> Callable[[str], bool]:
    holds = _pattern(value) if "~" in operator else value.__eq__
    return (lambda label: not holds(label)) if operator.startswith("!") else holds


def _pattern(text: str) -> Callable[[str], bool]:
    schema = core_schema.str_schema(pattern=f"^(?:{text})$", regex_engine="rust-regex")
    try:
        return SchemaValidator(schema).isinstance_python
    except SchemaError as exc:
        reason = str(exc).strip().splitlines()[-1].strip().removeprefix("error: ").removeprefix("SchemaError: ")
        raise MatcherError(f"the pattern {text[:100]!r} cannot be used: {reason}") from None
