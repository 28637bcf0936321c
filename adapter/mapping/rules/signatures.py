"""PURE: whether the arguments written after a filter or test suit it, told without calling it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Final

from jinja2 import nodes

from adapter.mapping.rules.filters import time_zone

_PLACEHOLDER: Final = object()


def argument_mistake(node: nodes.Filter | nodes.Test, function: Callable[..., Any]) -> str:
    """What is wrong with the arguments, or nothing."""
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return ""
    function = inspect.unwrap(function)  # Jinja2 wraps some for templates that await, and adds an argument there
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some tests are built-in operators without a signature
        return ""
    given = [_PLACEHOLDER] * (len(node.args) + 1 + hasattr(function, "jinja_pass_arg"))
    try:
        signature.bind(*given, **{str(pair.key): _PLACEHOLDER for pair in node.kwargs})
    except TypeError as exc:
        return str(exc)
    return _LITERALS[node.name](_literal(node)) if node.name in _LITERALS else ""


def _literal(node: nodes.Filter | nodes.Test) -> Any:
    """The first argument when it is written out."""
    first = node.args[0] if node.args else None
    return first.value if isinstance(first, nodes.Const) else None


def _pattern(value: Any) -> str:
    try:
        re.compile(value if isinstance(value, str) else "")
    except re.error as exc:
        return f"not a regular expression: {exc}"
    return ""


def _zone(value: Any) -> str:
    try:
        time_zone(value if isinstance(value, str) else "UTC")
    except ValueError as exc:
        return str(exc)
    return ""


def _length(value: Any) -> str:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return ""
    return f"a length is a number above 0, not {value!r}"


_LITERALS: Final[dict[str, Callable[[Any], str]]] = {
    "regex_search": _pattern,
    "regex_replace": _pattern,
    "localtime": _zone,
    "clip": _length,
}
