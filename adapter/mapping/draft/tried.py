"""PURE: says of each rule that was tried on an alert whether it took it, and why not.

Of a condition whose parts are joined by `and`, the first that is false is named, with the values of what it reads; of
any other condition everything that it reads. No part is run that the condition did not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Final, NamedTuple

from jinja2 import nodes
from jinja2.runtime import Context

from adapter.errors import one_line
from adapter.mapping.render.request import FailureReason
from adapter.mapping.rules.language import NAMES, MappingEnvironment, environment, parse
from adapter.mapping.template.kinds import written

LONGEST: Final = 100  # characters of a value
MOST: Final = 8  # values of one condition
KEPT: Final = 2000  # conditions, from one keystroke to the next

_ENV: Final[MappingEnvironment] = environment()


class Because(NamedTuple):
    """Why a rule took an alert or did not: `args` are what the sentence `text` says beside its `code`."""

    code: str
    args: Mapping[str, Any]
    text: str


ALWAYS: Final = Because("always", {}, "it has no condition")
BUILT_IN: Final = Because("built_in", {}, "no rule takes it: the built-in mapping reports it")
_BARRED: Final = Because("barred", {}, "it would drop the alert, which no rule may after a condition has failed")


Value = Callable[[Context], Any]


class _Part(NamedTuple):
    """A part of a condition, and what it reads."""

    run: Callable[[Context], Iterable[str]] | None  # gives some text when the part is true; None when it is the whole
    reads: Mapping[str, Value]  # as a person writes them


def because_true(condition: str | None, context: Context) -> Because:
    """Why a rule with that condition took the alert."""
    if condition is None:
        return ALWAYS
    return _read("true", _parts(condition), context, "the condition is true")


def because_not(condition: str | None, context: Context, result: str | FailureReason | None) -> Because:
    """Why it did not. `result`: what the condition gave, None where it was not asked."""
    if result is None or condition is None:
        return _BARRED
    if isinstance(result, FailureReason):
        return Because("failed", {"reason": result.reason, "detail": result.detail}, f"the condition failed: {result}")
    parts = _parts(condition)
    first = next((part for part in parts if part.run is None or _is_false(part.run, context)), None)
    return _read("false", [first] if first else parts, context, "the condition is false")


def _read(code: str, parts: Iterable[_Part], context: Context, otherwise: str) -> Because:
    reads = (read for part in parts for read in part.reads.items())
    names = {name: _shown(value, context) for name, value in islice(reads, MOST)}
    said = ", ".join(f'{name} is "{value}"' if value else f"{name} is empty" for name, value in names.items())
    return Because(code, {"names": [{"name": name, "value": names[name]} for name in names]}, said or otherwise)


def _is_false(run: Callable[[Context], Iterable[str]], context: Context) -> bool:
    try:
        return not "".join(run(context))
    except Exception:  # the filter `application` knows no directory here
        return False


@lru_cache(KEPT)
def _parts(condition: str) -> tuple[_Part, ...]:
    """Those that `and` joins; the whole condition where that joins none."""
    output = parse(_ENV, condition, expression=True).body[0]
    assert isinstance(output, nodes.Output)
    parts = list(_joined(output.nodes[0]))
    if len(parts) == 1:
        return (_Part(None, _values(parts[0])),)
    return tuple(_Part(_compiled(part), _values(part)) for part in parts)


def _joined(node: nodes.Node) -> Iterator[nodes.Expr]:
    if isinstance(node, nodes.And):
        yield from _joined(node.left)
        yield from _joined(node.right)
    elif isinstance(node, nodes.Expr):
        yield node


def _compiled(part: nodes.Expr) -> Callable[[Context], Iterable[str]]:
    true = nodes.Output([nodes.TemplateData("true")], lineno=1)
    whole = nodes.Template([nodes.If(part, [true], [], [], lineno=1)], lineno=1)
    whole.set_environment(_ENV)
    run: Callable[[Context], Iterable[str]]
    run = _ENV.template_class.from_code(_ENV, _ENV.compile(whole), {}, None).root_render_func
    return run


def _values(node: nodes.Node) -> dict[str, Value]:
    return {written(read): _value(read) for read in _reads(node)}


def _reads(node: nodes.Node) -> Iterator[nodes.Expr]:
    """The members that an expression reads of the names of the language, those within others too."""
    if isinstance(node, nodes.Getattr | nodes.Getitem) and _owner(node) in NAMES:
        yield node
        if isinstance(node, nodes.Getitem):
            yield from _reads(node.arg)
    elif isinstance(node, nodes.Name) and node.name == "integration":
        yield node
    else:
        for child in node.iter_child_nodes():
            yield from _reads(child)


def _owner(node: nodes.Node) -> str:
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        node = node.node
    return node.name if isinstance(node, nodes.Name) else ""


def _value(node: nodes.Node) -> Value:
    """What an expression of names, members and constants comes to; empty for any other."""
    match node:
        case nodes.Name(name=name):
            return lambda context: context.resolve(name)
        case nodes.Const(value=constant):
            return lambda context: constant
        case nodes.Getattr(node=owner, attr=attribute):
            of = _value(owner)
            return lambda context: _ENV.getattr(of(context), attribute)
        case nodes.Getitem(node=owner, arg=arg):
            of, key = _value(owner), _value(arg)
            return lambda context: _ENV.getitem(of(context), key(context))
    return lambda context: ""


def _shown(value: Value, context: Context) -> str:
    try:
        return one_line(str(value(context)), LONGEST)
    except Exception:  # what has no value is as good as empty
        return ""
