"""PURE: a template's text -> its syntax tree, in which every `lineno` is an offset into the text (plus one).

Jinja2 knows lines only. Its lexer copies the number it is given with a token into every node and every error, so
handing it offsets instead of lines makes each of them tell exactly where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from jinja2 import TemplateSyntaxError, nodes
from jinja2.lexer import Lexer, TokenStream

from adapter.mapping.rules.language import MappingEnvironment, environment, parse

_AT: Final = re.compile(r" at \d+$")
_PLAIN: Final = {
    "'end of print statement'": "'}}'",
    "'end of statement block'": "'%}'",
    "'end of template'": "the end",
    "end of template. Jinja was looking for the following tags": "end; missing is one of",
    ". The innermost block that needs to be closed is": " to close",
}
"""Jinja2's words for its tokens, in characters a person has typed."""


class Mistake(NamedTuple):
    """Something wrong with a template, `offset` characters into its text."""

    offset: int
    message: str
    hint: str = ""
    refuses: bool = True  # False: only to be reported


class _Located(MappingEnvironment):
    def _tokenize(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> TokenStream:
        return TokenStream(self.lexer.wrap(_tokens(self.lexer, source, state), name, filename), name, filename)


def _tokens(lexer: Lexer, source: str, state: str | None) -> Iterator[tuple[int, str, str]]:
    at = 0
    try:
        for _, kind, text in lexer.tokeniter(source, None, None, state):
            # Only white space stripped by a `-` can lie between two tokens, so the next one found is the right one.
            at = source.find(text, at)
            yield at + 1, kind, text
            at += len(text)
    except TemplateSyntaxError as exc:
        rest = source[at:]
        raise TemplateSyntaxError(exc.message or "", at + len(rest) - len(rest.lstrip()) + 1) from None


ENVIRONMENT: Final = environment(_Located)


def tree_of(source: str, *, expression: bool) -> nodes.Template | Mistake:
    """The tree, or what keeps it from being one."""
    start = source.lstrip()
    if expression and start.startswith(("{{", "{%")):
        return Mistake(len(source) - len(start), "a condition is an expression", "leave the braces out")
    try:
        return parse(ENVIRONMENT, source, expression=expression)
    except TemplateSyntaxError as exc:
        message = _AT.sub("", exc.message or "not a template").rstrip(".")
        for theirs, plain in _PLAIN.items():
            message = message.replace(theirs, plain)
        offset = min(max(0, exc.lineno - 1), max(0, len(source) - 1))
        return Mistake(offset, message[0].lower() + message[1:], _hint(source, offset, message))
    except RecursionError:
        return Mistake(0, "nested too deeply")


def _hint(source: str, offset: int, message: str) -> str:
    """What the person was probably used to from another language."""
    char, before = source[offset : offset + 1], source[max(0, offset - 1) : offset]
    for found, hint in (
        (char == "$", "Prometheus writes $labels; here it is labels"),
        (char == "." and before in (" ", "{", "-", ""), "this is Jinja2: labels.alertname, without a leading dot"),
        (char == "&" or (char == "|" and before == "|"), "write `and` and `or`"),
        (char == "=" or before == "=", "compare with =="),
        (char == "!", "write `not`"),
        (char in ("'", '"'), "the quote is not closed"),
        (message == "unexpected '}'", "a brace is missing"),
        ("expected token '}}'" in message, "a closing }} or an operator is missing"),
    ):
        if found:
            return hint
    return ""
