"""The Jinja2 environment and the values a template sees.

Nothing here runs a template. The parent process only parses (to check); the child compiles and runs. `finalize` takes
the context on purpose: with it Jinja2 cannot evaluate a constant such as `{{ 'a' * 10**9 }}` while it compiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from jinja2 import StrictUndefined, Undefined, nodes, pass_context
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from adapter.mapping.rules.filters import FILTERS

ALERT_NAMES: Final = ("status", "startsAt", "endsAt", "generatorURL", "fingerprint")
GROUP_NAMES: Final = ("receiver", "groupKey", "groupLabels", "commonLabels", "commonAnnotations", "externalURL")
WHEN: Final = "when"  # how the condition of a rule is named among its fields
NAMES: Final = ("labels", "annotations", "alert", "group", "integration", "lookup")
HELPERS: Final = ("range", "dict", "namespace")  # what is left of Jinja2's own global functions


class Texts(dict[str, Any]):
    """A label set or a lookup table: what is absent is the empty string."""

    def __missing__(self, key: object) -> str:
        return ""


class Record(dict[str, Any]):
    """`alert`, `group`, `lookup`: these names and no others."""


class MappingEnvironment(ImmutableSandboxedEnvironment):
    """Dots reach the data and never a method of the dictionary that holds it."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        kind = type(obj)
        if kind is Texts:
            return obj[attribute]
        if kind is Record:
            return obj[attribute] if attribute in obj else self._absent(attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        kind = type(obj)
        if kind is Texts:
            return obj[argument]
        if kind is Record:
            return obj[argument] if argument in obj else self._absent(argument)
        return super().getitem(obj, argument)

    def _absent(self, name: object) -> Undefined:
        return self.undefined(hint=f"there is no {name!r}")


@pass_context
def _finalize(context: Context, value: Any) -> Any:
    return "" if value is None else value


def environment(kind: type[MappingEnvironment] = MappingEnvironment) -> MappingEnvironment:
    """A fresh environment with the mapping language's names and filters."""
    made = kind(autoescape=False, undefined=StrictUndefined, optimized=False, cache_size=0, finalize=_finalize)
    made.globals = {name: made.globals[name] for name in HELPERS}
    made.filters.update(FILTERS)
    return made


def names_of(alert: Mapping[str, Any], group: Mapping[str, Any], integration: str) -> dict[str, Any]:
    """The names of the mapping language, from what alertmanager.unpack gives; `lookup` is the file's to add."""
    return {
        "labels": Texts(alert["labels"]),
        "annotations": Texts(alert["annotations"]),
        "alert": Record({name: alert[name] for name in ALERT_NAMES}),
        "group": Record(
            {
                "receiver": group["receiver"],
                "groupKey": group["groupKey"],
                "groupLabels": Texts(group["groupLabels"]),
                "commonLabels": Texts(group["commonLabels"]),
                "commonAnnotations": Texts(group["commonAnnotations"]),
                "externalURL": group["externalURL"],
            }
        ),
        "integration": integration,
    }


def lookup_names(tables: Mapping[str, Any]) -> Record:
    """A file's lookup tables as a template sees them: an unknown key of a table is the empty string."""
    return Record({name: _table(table) for name, table in tables.items()})


def _table(value: Any) -> Any:
    if isinstance(value, dict):
        return Texts({name: _table(item) for name, item in value.items()})
    return value


def parse(env: MappingEnvironment, source: str, *, expression: bool) -> nodes.Template:
    """A field's template, or a condition as a template of one output; TemplateSyntaxError when it is neither."""
    if not expression:
        return Parser(env, source).parse()
    parser = Parser(env, source, state="variable")
    condition = parser.parse_expression()
    if not parser.stream.eos:
        parser.fail(f"unexpected {parser.stream.current.value!r} after the expression", parser.stream.current.lineno)
    return nodes.Template([nodes.Output([condition], lineno=1)], lineno=1)


def constant(tree: nodes.Template) -> str | None:
    """The text of a template without anything to evaluate."""
    if not all(isinstance(node, nodes.Output) for node in tree.body):
        return None
    pieces = [piece for node in tree.body for piece in node.iter_child_nodes()]
    if not all(isinstance(piece, nodes.TemplateData) for piece in pieces):
        return None
    return "".join(piece.data for piece in pieces if isinstance(piece, nodes.TemplateData))
