"""Parses templates with positions: the syntax tree, or what is wrong in words that lead to the correction.

Jinja2 knows lines only, but its lexer copies the line number of a token into every node and every error. A lexer that
gives offsets instead of lines makes each of them say exactly where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from jinja2 import TemplateSyntaxError, nodes
from jinja2.lexer import Lexer, TokenStream

from adapter.mapping.rules.language import MappingEnvironment, environment, parse
from adapter.mapping.template import habits

TOO_DEEP: Final = "nested too deeply"


class Mistake(NamedTuple):
    """An error in a template, `offset` characters into its text."""

    offset: int
    message: str
    hint: str = ""
    refuses: bool = True  # False for a warning


class _OffsetEnvironment(MappingEnvironment):
    def _tokenize(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> TokenStream:
        return TokenStream(self.lexer.wrap(_tokens(self.lexer, source, state), name, filename), name, filename)


def _tokens(lexer: Lexer, source: str, state: str | None) -> Iterator[tuple[int, str, str]]:
    at = 0
    try:
        for _, token, text in lexer.tokeniter(source, None, None, state):
            # Only white space stripped by a `-` can lie between two tokens, so the next one found is the right one.
            at = source.find(text, at)
            yield at + 1, token, text
            at += len(text)
    except TemplateSyntaxError as exc:
        rest = source[at:]
        raise TemplateSyntaxError(exc.message or "", at + len(rest) - len(rest.lstrip()) + 1) from None


CHECKER: Final = environment(_OffsetEnvironment)

_AT: Final = re.compile(r" at \d+$")
_PLAIN: Final = {
    "'end of print statement'": "'}}'",
    "'end of statement block'": "'%}'",
    "'end of template'": "the end",
    "end of template. Jinja was looking for the following tags": "end; missing is one of",
    ". The innermost block that needs to be closed is": " to close",
    "unexpected the end": "the end comes too early",
}
"""Jinja2's names of its tokens -> the characters a person has typed."""


def parse_with_offsets(source: str, *, expression: bool) -> nodes.Template | Mistake:
    """The syntax tree, in which every `lineno` is an offset into the text plus one, or its first syntax error."""
    start = source.lstrip()
    if expression and start.startswith(("{{", "{%")):
        hint = "leave the braces out"
        if meant := habits.go_if(start[2:]):
            hint += f": write {meant}"
        return Mistake(len(source) - len(start), "a condition is an expression", hint)
    if go := habits.go_call(source, expression=expression):
        return Mistake(*go)
    try:
        return parse(CHECKER, source, expression=expression)
    except TemplateSyntaxError as exc:
        return _mistake(source, exc, expression)
    except RecursionError:
        return Mistake(0, TOO_DEEP)
    except ValueError:  # a number of more than 4300 digits
        return Mistake(0, "a number is too long", "put it in quotes")


def _mistake(source: str, exc: TemplateSyntaxError, expression: bool) -> Mistake:
    message = _AT.sub("", exc.message or "not a template").rstrip(".")
    for theirs, plain in _PLAIN.items():
        message = message.replace(theirs, plain)
    offset = min(max(0, exc.lineno - 1), max(0, len(source) - 1))
    if message.startswith("unexpected char") and source[offset] in "'\"":
        return Mistake(offset, "the quote is not closed")
    if habit := habits.in_syntax(source, offset, expression=expression):
        return Mistake(*habit)
    return Mistake(offset, message[0].lower() + message[1:], _hint(source, offset, message))


def _hint(source: str, offset: int, message: str) -> str:
    char, before = source[offset : offset + 1], source[max(0, offset - 1) : offset]
    for found, hint in (
        (char == "=" or before == "=", "compare with =="),
        (char == "!", "write `not`"),
        (char == ";", "leave it out"),
        (message == "unexpected '}'", "a brace is missing"),
        ("expected token '}}'" in message, "a closing }} or an operator is missing"),
    ):
        if found:
            return hint
    return ""
