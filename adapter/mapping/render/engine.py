"""PURE: a rule set as plain data -> compiled templates. Runs in the child only.

All fields of a rule are one fused template, so that an alert costs one call; so are all conditions. They
are joined as syntax trees: a `set` in one field is not seen by the next, and no text of an alert can pass for the
separator, which is random. Before a field or condition runs its place is marked, for whoever finds the child dead.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Final, NamedTuple

from jinja2 import Template, TemplateError, nodes

from adapter.mapping.render.request import Reason
from adapter.mapping.rules.language import WHEN, MappingEnvironment, constant, environment, lookup_names, parse

_MARK: Final = "\0mark"  # a filter name that no template can spell

Mark = Callable[[int], bool]
FailureReason = tuple[Reason, str]
"""Why a template gave nothing usable, with a line for a person."""


class Place(NamedTuple):
    """One template of a rule set: a field of a rule, or its condition."""

    file: int
    rule: int
    field: str


def places(data: Mapping[str, Any]) -> list[Place]:
    """Every template of a rule set, in an order parent and child agree on: its index here is what is marked."""
    return [
        Place(f, r, name)
        for f, file in enumerate(data["files"])
        for r, rule in enumerate(file["rules"])
        for name in (WHEN, *rule["fields"])
    ]


class CannotCompile(Exception):
    """A template that parses but cannot be compiled."""

    def __init__(self, index: int, message: str) -> None:
        self.index = index
        super().__init__(message)


class Part(NamedTuple):
    """One template, not yet compiled."""

    place: int  # its index among places()
    name: str
    source: str
    file: int  # whose `lookup` it means


class Compiler:
    """Compiles parts alone or fused, with marks."""

    def __init__(self, mark: Mark) -> None:
        self.env: MappingEnvironment = environment()
        self.env.filters[_MARK] = mark
        self.separator = secrets.token_hex(16)

    def constant(self, part: Part) -> str | None:
        """The text of a field that is no template at all."""
        return constant(self._tree(part, expression=False))

    def field(self, part: Part) -> Template:
        return self._template(part.place, self._field(part))

    def condition(self, part: Part) -> Template:
        """Yields something exactly when it is true."""
        return self._template(part.place, [self._branch(part, "1")])

    def fused(self, parts: Sequence[Part]) -> Template:
        """All fields of a rule, the separator after each."""
        body: list[nodes.Node] = []
        for part in parts:
            body += [*self._field(part), nodes.Output([nodes.TemplateData(self.separator)], lineno=1)]
        return self._together(parts, body, self.field)

    def choice(self, whens: Sequence[Part | None]) -> Template:
        """Yields the number of the first true condition; None is a rule without one, which takes all."""
        branches: list[nodes.If] = []
        rest: list[nodes.Node] = []
        for number, part in enumerate(whens):
            if part is None:
                rest = [nodes.Output([nodes.TemplateData(str(number))], lineno=1)]
                break
            branches.append(self._branch(part, str(number)))
        if branches:
            first, *others = branches
            first.elif_, first.else_ = others, rest
            rest = [first]
        return self._together([part for part in whens if part], rest, self.condition)

    def _together(self, parts: Sequence[Part], body: list[nodes.Node], alone: Callable[[Part], Template]) -> Template:
        try:
            return self._template(-1, body)
        except CannotCompile:
            for part in parts:
                alone(part)
            raise

    def _tree(self, part: Part, *, expression: bool) -> nodes.Template:
        tree = parse(self.env, part.source, expression=expression)
        for name in tree.find_all(nodes.Name):
            if name.name == "lookup":
                name.name = lookup_of(part.file)
        return tree

    def _field(self, part: Part) -> list[nodes.Node]:
        tree = self._tree(part, expression=False)
        mark: nodes.Node = nodes.ExprStmt(_marking(part.place), lineno=1)
        return [nodes.Scope([mark, *tree.body], lineno=1)]

    def _branch(self, part: Part, text: str) -> nodes.If:
        tree = self._tree(part, expression=True)
        (output,) = tree.find_all(nodes.Output)
        test = nodes.And(_marking(part.place), output.nodes[0], lineno=1)
        return nodes.If(test, [nodes.Output([nodes.TemplateData(text)], lineno=1)], [], [], lineno=1)

    def _template(self, index: int, body: list[nodes.Node]) -> Template:
        tree = nodes.Template(body, lineno=1)
        tree.set_environment(self.env)
        try:
            code = self.env.compile(tree)
            return self.env.template_class.from_code(self.env, code, {}, None)
        except (TemplateError, SyntaxError, RecursionError, MemoryError, ValueError) as exc:
            raise CannotCompile(index, str(exc) or type(exc).__name__) from exc


def _marking(index: int) -> nodes.Filter:
    return nodes.Filter(nodes.Const(index), _MARK, [], [], None, None, lineno=1)


class Rule:
    """One rule. `suspect`: something in it was slow, so its parts are run one by one and timed."""

    def __init__(
        self, data: Mapping[str, Any], mapping: str, when: Part | None, parts: Sequence[Part], compiler: Compiler
    ) -> None:
        self.name: str = data["name"]
        self.drop: bool = data["drop"]
        self.mapping = mapping
        self.when = when
        self.suspect = False
        self.ready = False
        self.constants: dict[str, str] = {}
        self.parts: list[Part] = []  # those that are templates
        self.live: list[Part] = []  # and not quarantined
        self.fused: Template | None = None  # the live ones
        self._given = parts
        self._compiler = compiler

    def prepare(self, bad: Container[int]) -> None:
        """Tell texts from templates and compile these."""
        for part in self._given:
            text = self._compiler.constant(part)
            if text is None:
                self.parts.append(part)
            else:
                self.constants[part.name] = text
        self.fuse(bad)
        self.ready = True

    def fuse(self, bad: Container[int]) -> None:
        """Compile what is not quarantined into one template."""
        self.live = [part for part in self.parts if part.place not in bad]
        self.fused = self._compiler.fused(self.live) if self.live else None


def build(data: Mapping[str, Any], compiler: Compiler) -> list[Rule]:
    """The rules of all files, none of them prepared."""
    place = 0
    rules = []
    for number, file in enumerate(data["files"]):
        for rule in file["rules"]:
            when = None if rule["when"] is None else Part(place, WHEN, rule["when"], number)
            fields = rule["fields"].items()
            parts = [Part(place + n, name, source, number) for n, (name, source) in enumerate(fields, 1)]
            place += 1 + len(parts)
            rules.append(Rule(rule, file["name"], when, parts, compiler))
    return rules


def base_names(data: Mapping[str, Any], compiler: Compiler) -> dict[str, Any]:
    """The names that are the same for every alert."""
    tables = {lookup_of(number): lookup_names(file["lookup"]) for number, file in enumerate(data["files"])}
    return {**compiler.env.globals, **tables}


def lookup_of(file: int) -> str:
    """What `lookup` is called in the templates of one file, so that one context serves all files."""
    return f"lookup_{file}"
