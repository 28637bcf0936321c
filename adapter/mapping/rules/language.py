"""The mapping language: its Jinja2 environment, the names that templates see, and the parsers.

Nothing here runs a template. The service parses templates to check them (see `syntax`); the worker process compiles and
runs them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import StrictUndefined, Undefined, nodes, pass_context
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from adapter.mapping.rules.filters import FILTERS, printed

ALERT_NAMES: Final = ("status", "startsAt", "endsAt", "generatorURL", "fingerprint")
GROUP_NAMES: Final = ("receiver", "groupKey", "groupLabels", "commonLabels", "commonAnnotations", "externalURL")
WHEN: Final = "when"  # the name of a rule's condition among its fields
NAMES: Final = ("labels", "annotations", "alert", "group", "integration", "lookup")
_OF_ALERT: Final = ("labels", "annotations")
HELPERS: Final = ("range", "dict", "namespace")  # the global functions of Jinja2 that templates may call


class Texts(dict[str, Any]):
    """A label set or a lookup table: an absent key is the empty string."""

    def __missing__(self, key: object) -> str:
        return ""


class Record(dict[str, Any]):
    """`alert`, `group` or `lookup`: an absent key is an error."""


class MappingEnvironment(ImmutableSandboxedEnvironment):
    """In which a dot reaches a key of the data and never a method of a dictionary or a text."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is Texts:  # most of all accesses
            return obj.get(attribute, "")  # quicker than __missing__
        if isinstance(obj, str):
            return self.undefined(hint=f"text has no {attribute!r}")
        return self.getitem(obj, attribute) if type(obj) is Record else super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if type(obj) is Texts:
            return obj[argument]
        if type(obj) is Record:
            return obj[argument] if argument in obj else self.undefined(hint=f"there is no {argument!r}")
        if isinstance(obj, str) and isinstance(argument, str):
            return self.undefined(hint=f"text has no {argument!r}")
        return super().getitem(obj, argument)


_SENT: Final = (str, int, float, Undefined)  # an undefined value fails by itself, and says why


@pass_context  # with a context Jinja2 cannot evaluate a constant such as `{{ 'a' * 10**9 }}` while it compiles
def _finalize(context: Context, value: Any) -> Any:
    if type(value) is str:  # most of all values
        return value
    if isinstance(value, _SENT):
        return printed(value)
    if value is None:
        return ""
    what = "a table" if isinstance(value, dict) else f"a {type(value).__name__}"
    raise TypeError(f"{what} is not text, a number or a boolean")


def environment(cls: type[MappingEnvironment] = MappingEnvironment) -> MappingEnvironment:
    """A new environment with the names and filters of the mapping language."""
    env = cls(autoescape=False, undefined=StrictUndefined, optimized=False, cache_size=0, finalize=_finalize)
    env.globals = {name: env.globals[name] for name in HELPERS}
    env.filters.update(FILTERS)
    return env


def names_of(alert: Mapping[str, Any], group: Mapping[str, Any], integration: str) -> dict[str, Any]:
    """The names that templates see, from the result of alertmanager.unpack, all but `lookup`."""
    return {
        "labels": Texts(alert["labels"]),
        "annotations": Texts(alert["annotations"]),
        "alert": Record({name: alert[name] for name in ALERT_NAMES}),
        "group": Record(
            {name: Texts(group[name]) if isinstance(group[name], dict) else group[name] for name in GROUP_NAMES}
        ),
        "integration": integration,
    }


def lookup_names(tables: Mapping[str, Any]) -> Record:
    """The value of `lookup`: an unknown table is an error, an unknown key of a table the empty string."""
    return Record({name: _table(table) for name, table in tables.items()})


def _table(value: Any) -> Any:
    return Texts({name: _table(item) for name, item in value.items()}) if isinstance(value, dict) else value


def parse(env: MappingEnvironment, source: str, *, expression: bool) -> nodes.Template:
    """A field's template, or a condition as a template of one output. Raises TemplateSyntaxError."""
    if not expression:
        return Parser(env, source).parse()
    parser = Parser(env, source, state="variable")
    condition = parser.parse_expression()
    if not parser.stream.eos:
        parser.fail(f"unexpected {parser.stream.current.value!r} after the expression", parser.stream.current.lineno)
    return nodes.Template([nodes.Output([condition], lineno=1)], lineno=1)


def constant(tree: nodes.Template) -> str | None:
    """The text of a template without anything to evaluate."""
    pieces = [piece for node in tree.body for piece in (node.nodes if isinstance(node, nodes.Output) else [node])]
    texts = [piece.data for piece in pieces if isinstance(piece, nodes.TemplateData)]
    return "".join(texts) if len(texts) == len(pieces) else None


def texts_read(tree: nodes.Template) -> frozenset[tuple[str, str | None]]:
    """`labels` or `annotations` with each name that a template reads of it; None stands for all names."""
    read: list[tuple[str, str | None]] = []
    for node in tree.find_all(nodes.Expr):
        owner = node.node if isinstance(node, nodes.Getattr | nodes.Getitem) else None
        if isinstance(owner, nodes.Name) and owner.name in _OF_ALERT:
            read.append((owner.name, _constant_name(node)))
    whole = Counter(name.name for name in tree.find_all(nodes.Name)) - Counter(texts for texts, _ in read)
    return frozenset((*read, *((texts, None) for texts in _OF_ALERT if whole[texts])))


def _constant_name(member: nodes.Expr) -> str | None:
    if isinstance(member, nodes.Getattr):
        return member.attr
    return str(member.arg.value) if isinstance(member, nodes.Getitem) and isinstance(member.arg, nodes.Const) else None
